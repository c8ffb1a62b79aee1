/// Stats of one `tcp_proxy` (envoy: `tcp.<stat_prefix>.`).
package struct TCPProxyStats {
    package let downstreamCxDrainClose: Counter
    package let downstreamCxNoRoute: Counter
    package let downstreamCxRxBytesTotal: Counter
    package let downstreamCxTotal: Counter
    package let downstreamCxTxBytesTotal: Counter
    package let downstreamFlowControlPausedReadingTotal: Counter
    package let downstreamFlowControlResumedReadingTotal: Counter
    package let idleTimeout: Counter
    package let maxDownstreamConnectionDuration: Counter
    package let upstreamFlushTotal: Counter
    package let downstreamCxRxBytesBuffered: Gauge
    package let downstreamCxTxBytesBuffered: Gauge
    package let upstreamFlushActive: Gauge

    package init(_ stats: WorkerStats, statPrefix: String) {
        let scope = StatsScope(stats, "tcp.\(statPrefix).")
        downstreamCxDrainClose = scope.counter("downstream_cx_drain_close")
        downstreamCxNoRoute = scope.counter("downstream_cx_no_route")
        downstreamCxRxBytesTotal = scope.counter("downstream_cx_rx_bytes_total")
        downstreamCxTotal = scope.counter("downstream_cx_total")
        downstreamCxTxBytesTotal = scope.counter("downstream_cx_tx_bytes_total")
        downstreamFlowControlPausedReadingTotal = scope.counter(
            "downstream_flow_control_paused_reading_total"
        )
        downstreamFlowControlResumedReadingTotal = scope.counter(
            "downstream_flow_control_resumed_reading_total"
        )
        idleTimeout = scope.counter("idle_timeout")
        maxDownstreamConnectionDuration = scope.counter("max_downstream_connection_duration")
        upstreamFlushTotal = scope.counter("upstream_flush_total")
        downstreamCxRxBytesBuffered = scope.gauge("downstream_cx_rx_bytes_buffered")
        downstreamCxTxBytesBuffered = scope.gauge("downstream_cx_tx_bytes_buffered")
        upstreamFlushActive = scope.gauge("upstream_flush_active")
        scope.keepAtZero(
            counters: [
                "downstream_cx_overload_close",
                "early_data_received_count_total",
                "route_delayed_total",
            ])
    }
}
