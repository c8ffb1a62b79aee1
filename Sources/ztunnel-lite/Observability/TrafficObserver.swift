import MeshNet

/// One worker's way to metrics and log: what happens to its connections is told here.
package final class TrafficObserver {
    private let metrics: TrafficMetrics
    private let log: TrafficLog?
    private let worker: Int
    private let counts: WorkerCounts
    private var known: [Peers: Known] = [:]

    /// Peers that a worker remembers the cells of. Each keeps up to two workloads and a service of an
    /// older file alive, until ``peersChanged()``.
    private static let knownMax = 1024

    private struct Known {
        let cells: TrafficCells
        let isFolded: Bool
    }

    /// - Parameter log: nil for none.
    package init(metrics: TrafficMetrics, log: TrafficLog? = nil) {
        self.metrics = metrics
        self.log = log
        (worker, counts) = metrics.addWorker()
    }

    // MARK: Connections

    /// The context is complete: who connects to whom is known.
    package func opened(_ record: ConnectionRecord) {
        count(record)
        log?.opened(record)
    }

    /// Bytes have passed.
    ///
    /// - Parameters:
    ///   - sent: towards the client, whichever side reports.
    ///   - received: from the client.
    @inline(__always)
    package func carried(_ record: ConnectionRecord, sent: Int, received: Int) {
        let sent = UInt64(truncatingIfNeeded: sent)
        let received = UInt64(truncatingIfNeeded: received)
        record.bytesSent &+= sent
        record.bytesReceived &+= received
        record.cells?.carry(sent: sent, received: received)
    }

    /// The connection has ended; to be called once. An error without a flag is a `CONNECT`, as
    /// ztunnel has it.
    package func finished(_ record: ConnectionRecord) {
        if record.flags == .none, !record.error.isEmpty { record.flags = .connectionFailure }
        if record.cells == nil { count(record) }
        record.cells?.close(record.flags)
        log?.finished(record)
    }

    /// Refused before it was known who connects to whom: a line in the log and no metric, as ztunnel.
    package func refusedEarly(
        source: SocketAddress,
        destination: SocketAddress,
        direction: ConnectionRecord.Direction,
        error: String
    ) {
        log?.refusedEarly(
            source: source,
            destination: destination,
            direction: direction,
            error: error
        )
    }

    // MARK: Sockets

    /// A listener has accepted a socket: inbound for 15006 and 15008, outbound for 15001 and SOCKS5.
    package func socketOpened(_ direction: ConnectionRecord.Direction) {
        counts.addSocket(direction, 1)
    }

    /// It is closed.
    package func socketClosed(_ direction: ConnectionRecord.Direction) {
        counts.addSocket(direction, -1)
    }

    /// A handshake failed because the revocation list names the peer's certificate.
    package func certificateRefused(_ direction: ConnectionRecord.Direction) {
        counts.addRevocation(direction)
    }

    /// A new file is in force: lets go of the workloads of the old one.
    package func peersChanged() { known.removeAll() }

    // MARK: -

    private func count(_ record: ConnectionRecord) {
        let peers = Peers(record)
        var found = known[peers] ?? lookUp(record, peers)
        if found.isFolded { counts.addFolded() }
        while !found.cells.open() {
            let fresh = lookUp(record, peers)
            // The same cells: the registry has seen the connection and kept them.
            if fresh.cells === found.cells { break }
            found = fresh
        }
        record.cells = found.cells
    }

    private func lookUp(_ record: ConnectionRecord, _ peers: Peers) -> Known {
        let (cells, isFolded) = metrics.cells(TrafficLabels(record), worker: worker)
        if known.count >= Self.knownMax { known.removeAll(keepingCapacity: true) }
        let found = Known(cells: cells, isFolded: isFolded)
        known[peers] = found
        return found
    }
}

/// What the labels of a connection follow from, compared by identity where it can be.
private struct Peers: Hashable {
    let direction: ConnectionRecord.Direction
    let isMutualTLS: Bool
    let sourceWorkload: Workload?
    let claimedSource: ClaimedWorkload?
    let sourceIdentity: SPIFFEID?
    let destinationWorkload: Workload?
    let destinationIdentity: SPIFFEID?
    let service: Service?

    init(_ record: ConnectionRecord) {
        direction = record.direction
        isMutualTLS = record.isMutualTLS
        sourceWorkload = record.sourceWorkload
        claimedSource = record.sourceWorkload == nil ? record.claimedSource : nil
        sourceIdentity = record.sourceIdentity
        destinationWorkload = record.destinationWorkload
        destinationIdentity = record.destinationIdentity
        service = record.service
    }

    static func == (left: Peers, right: Peers) -> Bool {
        left.direction == right.direction && left.isMutualTLS == right.isMutualTLS
            && left.sourceWorkload === right.sourceWorkload
            && left.destinationWorkload === right.destinationWorkload
            && left.service === right.service
            && left.sourceIdentity == right.sourceIdentity
            && left.destinationIdentity == right.destinationIdentity
            && left.claimedSource == right.claimedSource
    }

    func hash(into hasher: inout Hasher) {
        hasher.combine(direction)
        hasher.combine(isMutualTLS)
        for object: AnyObject? in [sourceWorkload, destinationWorkload, service] as [AnyObject?] {
            hasher.combine(object.map(ObjectIdentifier.init))
        }
        // The rest follows from these but for peers that the file does not know.
        if sourceWorkload == nil { hasher.combine(claimedSource) }
        if sourceWorkload == nil { hasher.combine(sourceIdentity) }
    }
}
