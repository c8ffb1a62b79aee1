import MeshConfig
import MeshNet
import MeshRuntime

/// One worker's lines of scope `access`: ztunnel's, key by key (docs/ztunnel-observability.md).
package final class TrafficLog {
    private let settings: LogSettings
    private let loop: EventLoop
    private let lines: LogLines

    /// - Parameter stats: the worker's, where lines are counted that could not be written.
    package init(
        _ settings: LogSettings,
        writer: LogWriter,
        loop: EventLoop,
        stats: WorkerStats
    ) {
        self.settings = settings
        self.loop = loop
        lines = LogLines(.standardOutput, writer: writer, loop: loop, stats: stats)
    }

    /// Hands over what has gathered. The last thing a worker does.
    package func flush() { lines.flush() }

    func opened(_ record: ConnectionRecord) {
        write(.debug, "connection opened") { line, buffer in
            line.peers(&buffer, record)
        }
    }

    func finished(_ record: ConnectionRecord) {
        let took = max(0, (loop.now - record.start).milliseconds)
        // The counts are a server's view; a line is the view of the side that reports.
        let isOutbound = record.direction == .outbound
        write(record.error.isEmpty ? .info : .error, "connection complete") { line, buffer in
            line.peers(&buffer, record)
            line.field(
                &buffer,
                "bytes_sent",
                isOutbound ? record.bytesReceived : record.bytesSent
            )
            line.field(
                &buffer,
                "bytes_recv",
                isOutbound ? record.bytesSent : record.bytesReceived
            )
            line.field(&buffer, "duration", "\(took)ms")
            if !record.error.isEmpty { line.field(&buffer, "error", record.error) }
        }
    }

    func refusedEarly(
        source: SocketAddress,
        destination: SocketAddress,
        direction: ConnectionRecord.Direction,
        error: String
    ) {
        write(.warning, "connection failed") { line, buffer in
            line.bareField(&buffer, "src.addr", source.description)
            line.bareField(&buffer, "dst.addr", destination.description)
            line.field(&buffer, "direction", direction.text)
            line.field(&buffer, "error", error)
        }
    }

    private func write(
        _ level: LogLevel,
        _ message: StaticString,
        _ fields: (inout IstioLogLine, inout ByteBuffer) -> Void
    ) {
        guard settings.isAccessEnabled(level) else { return }
        lines.write { buffer in
            var line = IstioLogLine(isJSON: settings.isJSON)
            line.begin(&buffer, level, "access", message: message, at: loop.system.wallClock())
            fields(&line, &buffer)
            line.end(&buffer)
        }
    }
}

extension IstioLogLine {
    /// Who connects to whom, and which side says so.
    fileprivate mutating func peers(_ buffer: inout ByteBuffer, _ record: ConnectionRecord) {
        bareField(&buffer, "src.addr", record.source.description)
        let source = record.sourceWorkload
        let claimed = source == nil ? record.claimedSource : nil
        known(&buffer, "src.workload", source.map(\.logName) ?? claimed?.app)
        known(&buffer, "src.namespace", source?.namespace ?? claimed?.namespace)
        if record.isMutualTLS {
            known(&buffer, "src.identity", record.sourceIdentity?.description)
        }
        bareField(&buffer, "dst.addr", record.destination.description)
        if let hbone = record.hboneAddress { bareField(&buffer, "dst.hbone_addr", hbone) }
        known(&buffer, "dst.service", record.service?.hostname)
        let destination = record.destinationWorkload
        known(&buffer, "dst.workload", destination?.logName)
        known(&buffer, "dst.namespace", destination?.namespace)
        if record.isMutualTLS {
            let identity = record.destinationIdentity ?? destination?.identity
            known(&buffer, "dst.identity", identity?.description)
        }
        field(&buffer, "direction", record.direction.text)
    }

    /// Keys without a value are left out.
    private mutating func known(
        _ buffer: inout ByteBuffer,
        _ key: StaticString,
        _ value: String?
    ) {
        if let value, !value.isEmpty { field(&buffer, key, value) }
    }
}

extension Workload {
    /// The pod's name, or what it is an instance of.
    fileprivate var logName: String { name.isEmpty ? canonicalName : name }
}
