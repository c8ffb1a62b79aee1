import MeshNet

extension TrafficMetrics {
    /// What other parts of the process have counted, for a scrape.
    package struct Process: Sendable {
        /// `istio_build{tag}`
        package var version: String
        /// Lines that no reader of the log took in time.
        package var droppedLogLines: UInt64

        package init(version: String, droppedLogLines: UInt64 = 0) {
            self.version = version
            self.droppedLogLines = droppedLogLines
        }
    }

    /// All metrics at this moment. Control thread; workers go on counting.
    package func text(_ process: Process) -> ByteBuffer {
        var text = MetricsText()
        text.begin(.gauge, "istio_build", "Istio component build info")
        text.sample(1) { buffer in
            buffer.append("component=\"ztunnel\",tag=\"" as StaticString)
            TrafficLabels.appendEscaped(process.version, to: &buffer)
            buffer.append("\"" as StaticString)
        }
        let series = series
        // Read once, so that the families agree with each other.
        let totals = series.map { TrafficCells.Totals($0.workers.map(\.cells)) }
        Self.append(
            "istio_tcp_connections_opened",
            "The total number of TCP connections opened",
            series,
            totals,
            to: &text
        ) { $0.opened }
        Self.appendClosed(
            "istio_tcp_connections_closed",
            "The total number of TCP connections closed",
            series,
            totals,
            FailureFlag.allCases,
            to: &text
        )
        Self.append(
            "istio_tcp_received_bytes",
            "The size of total bytes received during request in case of a TCP connection",
            series,
            totals,
            to: &text
        ) { $0.received }
        Self.append(
            "istio_tcp_sent_bytes",
            "The size of total bytes sent during response in case of a TCP connection",
            series,
            totals,
            to: &text
        ) { $0.sent }
        Self.appendClosed(
            "istio_tcp_connections_failed",
            "The total number of TCP connections that failed to establish (unstable)",
            series,
            totals,
            FailureFlag.allCases.filter { $0 != .none },
            to: &text
        )
        appendCounts(process, to: &text)
        return text.finish()
    }

    private func appendCounts(_ process: Process, to text: inout MetricsText) {
        let counts = counts
        text.begin(
            .gauge,
            "istio_tcp_sockets_open",
            "The current number of open TCP sockets (unstable)"
        )
        text.sample(counts.outboundSockets, .outbound)
        text.sample(counts.inboundSockets, .inbound)
        if counts.outboundRevocations + counts.inboundRevocations > 0 {
            text.begin(
                .counter,
                "istio_crl_policy_rejections",
                """
                The total number of connections rejected due to CRL certificate revocation \
                (unstable)
                """
            )
            text.sample(counts.outboundRevocations, .outbound)
            text.sample(counts.inboundRevocations, .inbound)
        }
        text.begin(
            .counter,
            "ztunnel_lite_unlabelled_connections",
            "Connections counted as of unknown peers because there are too many series"
        )
        text.sample(UInt64(counts.folded))
        text.begin(
            .counter,
            "ztunnel_lite_log_lines_dropped",
            "Lines of the log that were dropped because too many waited for their reader"
        )
        text.sample(process.droppedLogLines)
    }

    private static func append(
        _ name: StaticString,
        _ help: StaticString,
        _ series: [Series],
        _ totals: [TrafficCells.Totals],
        to text: inout MetricsText,
        _ value: (TrafficCells.Totals) -> UInt64
    ) {
        text.begin(.counter, name, help)
        for (series, totals) in zip(series, totals) {
            text.sample(value(totals)) { series.appendLabels(.none, to: &$0) }
        }
    }

    private static func appendClosed(
        _ name: StaticString,
        _ help: StaticString,
        _ series: [Series],
        _ totals: [TrafficCells.Totals],
        _ flags: [FailureFlag],
        to text: inout MetricsText
    ) {
        text.begin(.counter, name, help)
        for (series, totals) in zip(series, totals) {
            for flag in flags where totals.closed[Int(flag.rawValue)] > 0 {
                text.sample(totals.closed[Int(flag.rawValue)]) {
                    series.appendLabels(flag, to: &$0)
                }
            }
        }
    }
}

extension TrafficMetrics.Series {
    fileprivate func appendLabels(_ flag: FailureFlag, to buffer: inout ByteBuffer) {
        before.withUnsafeBytes { buffer.append($0) }
        buffer.append(flag.text)
        after.withUnsafeBytes { buffer.append($0) }
    }
}

extension MetricsText {
    fileprivate mutating func sample(_ value: Int, _ direction: ConnectionRecord.Direction) {
        sample(UInt64(max(0, value))) { buffer in
            buffer.append("reporter=\"" as StaticString)
            buffer.append(direction.reporter)
            buffer.append("\"" as StaticString)
        }
    }
}
