/// Stats of one HTTP connection manager (envoy: `http.<stat_prefix>.`). Managers of the same prefix
/// share them.
package struct HTTPConnectionManagerStats {
    package let downstreamCxDelayedCloseTimeout: Counter
    package let downstreamCxDestroy: Counter
    package let downstreamCxDestroyActiveRq: Counter
    package let downstreamCxDestroyLocal: Counter
    package let downstreamCxDestroyLocalActiveRq: Counter
    package let downstreamCxDestroyRemote: Counter
    package let downstreamCxDestroyRemoteActiveRq: Counter
    package let downstreamCxDrainClose: Counter
    package let downstreamCxHttp1Total: Counter
    package let downstreamCxHttp2Total: Counter
    package let downstreamCxIdleTimeout: Counter
    package let downstreamCxMaxDurationReached: Counter
    package let downstreamCxMaxRequestsReached: Counter
    package let downstreamCxOverloadDisableKeepalive: Counter
    package let downstreamCxProtocolError: Counter
    package let downstreamCxRxBytesTotal: Counter
    package let downstreamCxSslTotal: Counter
    package let downstreamCxTotal: Counter
    package let downstreamCxTxBytesTotal: Counter
    package let downstreamCxUpgradesTotal: Counter
    package let downstreamFlowControlPausedReadingTotal: Counter
    package let downstreamFlowControlResumedReadingTotal: Counter
    package let downstreamRq1xx: Counter
    package let downstreamRq2xx: Counter
    package let downstreamRq3xx: Counter
    package let downstreamRq4xx: Counter
    package let downstreamRq5xx: Counter
    package let downstreamRqCompleted: Counter
    package let downstreamRqFailedPathNormalization: Counter
    package let downstreamRqHeaderTimeout: Counter
    package let downstreamRqHttp1Total: Counter
    package let downstreamRqHttp2Total: Counter
    package let downstreamRqIdleTimeout: Counter
    package let downstreamRqMaxDurationReached: Counter
    package let downstreamRqNonRelativePath: Counter
    package let downstreamRqOverloadClose: Counter
    package let downstreamRqRedirectedWithNormalizedPath: Counter
    package let downstreamRqRejectedViaIpDetection: Counter
    package let downstreamRqResponseBeforeRqComplete: Counter
    package let downstreamRqRxReset: Counter
    package let downstreamRqTimeout: Counter
    package let downstreamRqTooLarge: Counter
    package let downstreamRqTooManyPrematureResets: Counter
    package let downstreamRqTotal: Counter
    package let downstreamRqTxReset: Counter
    package let downstreamRqWsOnNonWsRoute: Counter
    package let downstreamCxActive: Gauge
    package let downstreamCxHttp1Active: Gauge
    package let downstreamCxHttp2Active: Gauge
    package let downstreamCxRxBytesBuffered: Gauge
    package let downstreamCxSslActive: Gauge
    package let downstreamCxTxBytesBuffered: Gauge
    package let downstreamCxUpgradesActive: Gauge
    package let downstreamRqActive: Gauge
    package let downstreamCxLengthMs: Histogram
    package let downstreamRqTime: Histogram

    /// - Parameter isAdmin: the administration port traces nothing.
    package init(_ stats: WorkerStats, statPrefix: String, isAdmin: Bool = false) {
        let scope = StatsScope(stats, "http.\(statPrefix).")
        downstreamCxDelayedCloseTimeout = scope.counter("downstream_cx_delayed_close_timeout")
        downstreamCxDestroy = scope.counter("downstream_cx_destroy")
        downstreamCxDestroyActiveRq = scope.counter("downstream_cx_destroy_active_rq")
        downstreamCxDestroyLocal = scope.counter("downstream_cx_destroy_local")
        downstreamCxDestroyLocalActiveRq = scope.counter("downstream_cx_destroy_local_active_rq")
        downstreamCxDestroyRemote = scope.counter("downstream_cx_destroy_remote")
        downstreamCxDestroyRemoteActiveRq = scope.counter("downstream_cx_destroy_remote_active_rq")
        downstreamCxDrainClose = scope.counter("downstream_cx_drain_close")
        downstreamCxHttp1Total = scope.counter("downstream_cx_http1_total")
        downstreamCxHttp2Total = scope.counter("downstream_cx_http2_total")
        downstreamCxIdleTimeout = scope.counter("downstream_cx_idle_timeout")
        downstreamCxMaxDurationReached = scope.counter("downstream_cx_max_duration_reached")
        downstreamCxMaxRequestsReached = scope.counter("downstream_cx_max_requests_reached")
        downstreamCxOverloadDisableKeepalive = scope.counter(
            "downstream_cx_overload_disable_keepalive"
        )
        downstreamCxProtocolError = scope.counter("downstream_cx_protocol_error")
        downstreamCxRxBytesTotal = scope.counter("downstream_cx_rx_bytes_total")
        downstreamCxSslTotal = scope.counter("downstream_cx_ssl_total")
        downstreamCxTotal = scope.counter("downstream_cx_total")
        downstreamCxTxBytesTotal = scope.counter("downstream_cx_tx_bytes_total")
        downstreamCxUpgradesTotal = scope.counter("downstream_cx_upgrades_total")
        downstreamFlowControlPausedReadingTotal = scope.counter(
            "downstream_flow_control_paused_reading_total"
        )
        downstreamFlowControlResumedReadingTotal = scope.counter(
            "downstream_flow_control_resumed_reading_total"
        )
        downstreamRq1xx = scope.counter("downstream_rq_1xx")
        downstreamRq2xx = scope.counter("downstream_rq_2xx")
        downstreamRq3xx = scope.counter("downstream_rq_3xx")
        downstreamRq4xx = scope.counter("downstream_rq_4xx")
        downstreamRq5xx = scope.counter("downstream_rq_5xx")
        downstreamRqCompleted = scope.counter("downstream_rq_completed")
        downstreamRqFailedPathNormalization = scope.counter(
            "downstream_rq_failed_path_normalization"
        )
        downstreamRqHeaderTimeout = scope.counter("downstream_rq_header_timeout")
        downstreamRqHttp1Total = scope.counter("downstream_rq_http1_total")
        downstreamRqHttp2Total = scope.counter("downstream_rq_http2_total")
        downstreamRqIdleTimeout = scope.counter("downstream_rq_idle_timeout")
        downstreamRqMaxDurationReached = scope.counter("downstream_rq_max_duration_reached")
        downstreamRqNonRelativePath = scope.counter("downstream_rq_non_relative_path")
        downstreamRqOverloadClose = scope.counter("downstream_rq_overload_close")
        downstreamRqRedirectedWithNormalizedPath = scope.counter(
            "downstream_rq_redirected_with_normalized_path"
        )
        downstreamRqRejectedViaIpDetection = scope.counter(
            "downstream_rq_rejected_via_ip_detection"
        )
        downstreamRqResponseBeforeRqComplete = scope.counter(
            "downstream_rq_response_before_rq_complete"
        )
        downstreamRqRxReset = scope.counter("downstream_rq_rx_reset")
        downstreamRqTimeout = scope.counter("downstream_rq_timeout")
        downstreamRqTooLarge = scope.counter("downstream_rq_too_large")
        downstreamRqTooManyPrematureResets = scope.counter(
            "downstream_rq_too_many_premature_resets"
        )
        downstreamRqTotal = scope.counter("downstream_rq_total")
        downstreamRqTxReset = scope.counter("downstream_rq_tx_reset")
        downstreamRqWsOnNonWsRoute = scope.counter("downstream_rq_ws_on_non_ws_route")
        downstreamCxActive = scope.gauge("downstream_cx_active")
        downstreamCxHttp1Active = scope.gauge("downstream_cx_http1_active")
        downstreamCxHttp2Active = scope.gauge("downstream_cx_http2_active")
        downstreamCxRxBytesBuffered = scope.gauge("downstream_cx_rx_bytes_buffered")
        downstreamCxSslActive = scope.gauge("downstream_cx_ssl_active")
        downstreamCxTxBytesBuffered = scope.gauge("downstream_cx_tx_bytes_buffered")
        downstreamCxUpgradesActive = scope.gauge("downstream_cx_upgrades_active")
        downstreamRqActive = scope.gauge("downstream_rq_active")
        downstreamCxLengthMs = scope.histogram("downstream_cx_length_ms")
        downstreamRqTime = scope.histogram("downstream_rq_time")
        scope.keepAtZero(
            counters: [
                "downstream_cx_http3_total",
                "downstream_rq_http3_total",
                "rs_too_large",
            ],
            gauges: [
                "downstream_cx_http1_soft_drain",
                "downstream_cx_http3_active",
            ]
        )
        guard !isAdmin else { return }
        scope.keepAtZero(
            counters: [
                "tracing.client_enabled",
                "tracing.health_check",
                "tracing.not_traceable",
                "tracing.random_sampling",
                "tracing.service_forced",
            ])
    }

    /// A response head goes to the client.
    package func countResponse(_ status: Int) {
        downstreamRqCompleted.add()
        switch status / 100 {
        case 1: downstreamRq1xx.add()
        case 2: downstreamRq2xx.add()
        case 3: downstreamRq3xx.add()
        case 4: downstreamRq4xx.add()
        default: downstreamRq5xx.add()
        }
    }
}

/// Stats of the router filter under one connection manager (envoy: `http.<stat_prefix>.`).
package struct HTTPRouterStats {
    package let noCluster: Counter
    package let noRoute: Counter
    package let passthroughInternalRedirectBadLocation: Counter
    package let passthroughInternalRedirectNoRoute: Counter
    package let passthroughInternalRedirectPredicate: Counter
    package let passthroughInternalRedirectTooManyRedirects: Counter
    package let passthroughInternalRedirectUnsafeScheme: Counter
    package let rqDirectResponse: Counter
    package let rqOverloadLocalReply: Counter
    package let rqRedirect: Counter
    package let rqResetAfterDownstreamResponseStarted: Counter
    package let rqTotal: Counter

    package init(_ stats: WorkerStats, statPrefix: String) {
        let scope = StatsScope(stats, "http.\(statPrefix).")
        noCluster = scope.counter("no_cluster")
        noRoute = scope.counter("no_route")
        passthroughInternalRedirectBadLocation = scope.counter(
            "passthrough_internal_redirect_bad_location"
        )
        passthroughInternalRedirectNoRoute = scope.counter("passthrough_internal_redirect_no_route")
        passthroughInternalRedirectPredicate = scope.counter(
            "passthrough_internal_redirect_predicate"
        )
        passthroughInternalRedirectTooManyRedirects = scope.counter(
            "passthrough_internal_redirect_too_many_redirects"
        )
        passthroughInternalRedirectUnsafeScheme = scope.counter(
            "passthrough_internal_redirect_unsafe_scheme"
        )
        rqDirectResponse = scope.counter("rq_direct_response")
        rqOverloadLocalReply = scope.counter("rq_overload_local_reply")
        rqRedirect = scope.counter("rq_redirect")
        rqResetAfterDownstreamResponseStarted = scope.counter(
            "rq_reset_after_downstream_response_started"
        )
        rqTotal = scope.counter("rq_total")
    }
}

/// Response classes by listener and connection manager (envoy: `listener.<address>.http.<prefix>.`).
package struct ListenerHTTPStats {
    package let downstreamRq1xx: Counter
    package let downstreamRq2xx: Counter
    package let downstreamRq3xx: Counter
    package let downstreamRq4xx: Counter
    package let downstreamRq5xx: Counter
    package let downstreamRqCompleted: Counter

    package init(_ stats: WorkerStats, listener: String, statPrefix: String) {
        let scope = StatsScope(stats, "listener.\(listener).http.\(statPrefix).")
        downstreamRq1xx = scope.counter("downstream_rq_1xx")
        downstreamRq2xx = scope.counter("downstream_rq_2xx")
        downstreamRq3xx = scope.counter("downstream_rq_3xx")
        downstreamRq4xx = scope.counter("downstream_rq_4xx")
        downstreamRq5xx = scope.counter("downstream_rq_5xx")
        downstreamRqCompleted = scope.counter("downstream_rq_completed")
    }

    /// A response head goes to the client.
    package func countResponse(_ status: Int) {
        downstreamRqCompleted.add()
        switch status / 100 {
        case 1: downstreamRq1xx.add()
        case 2: downstreamRq2xx.add()
        case 3: downstreamRq3xx.add()
        case 4: downstreamRq4xx.add()
        default: downstreamRq5xx.add()
        }
    }
}
