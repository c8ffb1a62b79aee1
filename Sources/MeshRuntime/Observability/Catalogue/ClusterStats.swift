/// Stats of one cluster (envoy: `cluster.<name>.`), but those by response code; see
/// ``ResponseCodeStats``, and those of circuit breakers; see ``CircuitBreakerGauge``.
package struct ClusterStats {
    package let bindErrors: Counter
    package let lbHealthyPanic: Counter
    package let lbSubsetsCreated: Counter
    package let lbSubsetsFallback: Counter
    package let lbSubsetsFallbackPanic: Counter
    package let lbSubsetsRemoved: Counter
    package let lbSubsetsSelected: Counter
    package let membershipChange: Counter
    package let retryOrShadowAbandoned: Counter
    package let updateAttempt: Counter
    package let updateEmpty: Counter
    package let updateFailure: Counter
    package let updateSuccess: Counter
    package let upstreamCxCloseNotify: Counter
    package let upstreamCxConnectAttemptsExceeded: Counter
    package let upstreamCxConnectFail: Counter
    package let upstreamCxConnectTimeout: Counter
    package let upstreamCxDestroy: Counter
    package let upstreamCxDestroyLocal: Counter
    package let upstreamCxDestroyLocalWithActiveRq: Counter
    package let upstreamCxDestroyRemote: Counter
    package let upstreamCxDestroyRemoteWithActiveRq: Counter
    package let upstreamCxDestroyWithActiveRq: Counter
    package let upstreamCxHttp1Total: Counter
    package let upstreamCxHttp2Total: Counter
    package let upstreamCxIdleTimeout: Counter
    package let upstreamCxMaxDurationReached: Counter
    package let upstreamCxMaxRequests: Counter
    package let upstreamCxNoneHealthy: Counter
    package let upstreamCxOverflow: Counter
    package let upstreamCxPoolOverflow: Counter
    package let upstreamCxProtocolError: Counter
    package let upstreamCxRxBytesTotal: Counter
    package let upstreamCxTotal: Counter
    package let upstreamCxTxBytesTotal: Counter
    package let upstreamFlowControlBackedUpTotal: Counter
    package let upstreamFlowControlDrainedTotal: Counter
    package let upstreamFlowControlPausedReadingTotal: Counter
    package let upstreamFlowControlResumedReadingTotal: Counter
    package let upstreamInternalRedirectFailedTotal: Counter
    package let upstreamInternalRedirectSucceededTotal: Counter
    package let upstreamRqActiveOverflow: Counter
    package let upstreamRqCancelled: Counter
    package let upstreamRqCompleted: Counter
    package let upstreamRqMaxDurationReached: Counter
    package let upstreamRqPendingFailureEject: Counter
    package let upstreamRqPendingOverflow: Counter
    package let upstreamRqPendingTotal: Counter
    package let upstreamRqPerTryIdleTimeout: Counter
    package let upstreamRqPerTryTimeout: Counter
    package let upstreamRqRetry: Counter
    package let upstreamRqRetryBackoffExponential: Counter
    package let upstreamRqRetryBackoffRatelimited: Counter
    package let upstreamRqRetryLimitExceeded: Counter
    package let upstreamRqRetryOverflow: Counter
    package let upstreamRqRetrySuccess: Counter
    package let upstreamRqRxReset: Counter
    package let upstreamRqRxResetNoError: Counter
    package let upstreamRqTimeout: Counter
    package let upstreamRqTotal: Counter
    package let upstreamRqTxReset: Counter
    /// Endpoints that got the cluster's own transport socket.
    package let defaultTransportMatches: Counter
    package let lbSubsetsActive: Gauge
    package let maxHostWeight: Gauge
    package let membershipDegraded: Gauge
    package let membershipExcluded: Gauge
    package let membershipHealthy: Gauge
    package let membershipTotal: Gauge
    package let upstreamCxActive: Gauge
    package let upstreamCxRxBytesBuffered: Gauge
    package let upstreamCxTxBytesBuffered: Gauge
    package let upstreamRqActive: Gauge
    package let upstreamRqPendingActive: Gauge
    package let warmingState: Gauge
    package let upstreamCxConnectMs: Histogram
    package let upstreamCxLengthMs: Histogram
    package let upstreamRqPerCx: Histogram

    package init(_ stats: WorkerStats, cluster: String) {
        let scope = StatsScope(stats, "cluster.\(cluster).")
        bindErrors = scope.counter("bind_errors")
        lbHealthyPanic = scope.counter("lb_healthy_panic")
        lbSubsetsCreated = scope.counter("lb_subsets_created")
        lbSubsetsFallback = scope.counter("lb_subsets_fallback")
        lbSubsetsFallbackPanic = scope.counter("lb_subsets_fallback_panic")
        lbSubsetsRemoved = scope.counter("lb_subsets_removed")
        lbSubsetsSelected = scope.counter("lb_subsets_selected")
        membershipChange = scope.counter("membership_change")
        retryOrShadowAbandoned = scope.counter("retry_or_shadow_abandoned")
        updateAttempt = scope.counter("update_attempt")
        updateEmpty = scope.counter("update_empty")
        updateFailure = scope.counter("update_failure")
        updateSuccess = scope.counter("update_success")
        upstreamCxCloseNotify = scope.counter("upstream_cx_close_notify")
        upstreamCxConnectAttemptsExceeded = scope.counter("upstream_cx_connect_attempts_exceeded")
        upstreamCxConnectFail = scope.counter("upstream_cx_connect_fail")
        upstreamCxConnectTimeout = scope.counter("upstream_cx_connect_timeout")
        upstreamCxDestroy = scope.counter("upstream_cx_destroy")
        upstreamCxDestroyLocal = scope.counter("upstream_cx_destroy_local")
        upstreamCxDestroyLocalWithActiveRq = scope.counter(
            "upstream_cx_destroy_local_with_active_rq"
        )
        upstreamCxDestroyRemote = scope.counter("upstream_cx_destroy_remote")
        upstreamCxDestroyRemoteWithActiveRq = scope.counter(
            "upstream_cx_destroy_remote_with_active_rq"
        )
        upstreamCxDestroyWithActiveRq = scope.counter("upstream_cx_destroy_with_active_rq")
        upstreamCxHttp1Total = scope.counter("upstream_cx_http1_total")
        upstreamCxHttp2Total = scope.counter("upstream_cx_http2_total")
        upstreamCxIdleTimeout = scope.counter("upstream_cx_idle_timeout")
        upstreamCxMaxDurationReached = scope.counter("upstream_cx_max_duration_reached")
        upstreamCxMaxRequests = scope.counter("upstream_cx_max_requests")
        upstreamCxNoneHealthy = scope.counter("upstream_cx_none_healthy")
        upstreamCxOverflow = scope.counter("upstream_cx_overflow")
        upstreamCxPoolOverflow = scope.counter("upstream_cx_pool_overflow")
        upstreamCxProtocolError = scope.counter("upstream_cx_protocol_error")
        upstreamCxRxBytesTotal = scope.counter("upstream_cx_rx_bytes_total")
        upstreamCxTotal = scope.counter("upstream_cx_total")
        upstreamCxTxBytesTotal = scope.counter("upstream_cx_tx_bytes_total")
        upstreamFlowControlBackedUpTotal = scope.counter("upstream_flow_control_backed_up_total")
        upstreamFlowControlDrainedTotal = scope.counter("upstream_flow_control_drained_total")
        upstreamFlowControlPausedReadingTotal = scope.counter(
            "upstream_flow_control_paused_reading_total"
        )
        upstreamFlowControlResumedReadingTotal = scope.counter(
            "upstream_flow_control_resumed_reading_total"
        )
        upstreamInternalRedirectFailedTotal = scope.counter(
            "upstream_internal_redirect_failed_total"
        )
        upstreamInternalRedirectSucceededTotal = scope.counter(
            "upstream_internal_redirect_succeeded_total"
        )
        upstreamRqActiveOverflow = scope.counter("upstream_rq_active_overflow")
        upstreamRqCancelled = scope.counter("upstream_rq_cancelled")
        upstreamRqCompleted = scope.counter("upstream_rq_completed")
        upstreamRqMaxDurationReached = scope.counter("upstream_rq_max_duration_reached")
        upstreamRqPendingFailureEject = scope.counter("upstream_rq_pending_failure_eject")
        upstreamRqPendingOverflow = scope.counter("upstream_rq_pending_overflow")
        upstreamRqPendingTotal = scope.counter("upstream_rq_pending_total")
        upstreamRqPerTryIdleTimeout = scope.counter("upstream_rq_per_try_idle_timeout")
        upstreamRqPerTryTimeout = scope.counter("upstream_rq_per_try_timeout")
        upstreamRqRetry = scope.counter("upstream_rq_retry")
        upstreamRqRetryBackoffExponential = scope.counter("upstream_rq_retry_backoff_exponential")
        upstreamRqRetryBackoffRatelimited = scope.counter("upstream_rq_retry_backoff_ratelimited")
        upstreamRqRetryLimitExceeded = scope.counter("upstream_rq_retry_limit_exceeded")
        upstreamRqRetryOverflow = scope.counter("upstream_rq_retry_overflow")
        upstreamRqRetrySuccess = scope.counter("upstream_rq_retry_success")
        upstreamRqRxReset = scope.counter("upstream_rq_rx_reset")
        upstreamRqRxResetNoError = scope.counter("upstream_rq_rx_reset_no_error")
        upstreamRqTimeout = scope.counter("upstream_rq_timeout")
        upstreamRqTotal = scope.counter("upstream_rq_total")
        upstreamRqTxReset = scope.counter("upstream_rq_tx_reset")
        defaultTransportMatches = scope.counter("default.total_match_count")
        lbSubsetsActive = scope.gauge("lb_subsets_active")
        maxHostWeight = scope.gauge("max_host_weight")
        membershipDegraded = scope.gauge("membership_degraded")
        membershipExcluded = scope.gauge("membership_excluded")
        membershipHealthy = scope.gauge("membership_healthy")
        membershipTotal = scope.gauge("membership_total")
        upstreamCxActive = scope.gauge("upstream_cx_active")
        upstreamCxRxBytesBuffered = scope.gauge("upstream_cx_rx_bytes_buffered")
        upstreamCxTxBytesBuffered = scope.gauge("upstream_cx_tx_bytes_buffered")
        upstreamRqActive = scope.gauge("upstream_rq_active")
        upstreamRqPendingActive = scope.gauge("upstream_rq_pending_active")
        warmingState = scope.gauge("warming_state")
        upstreamCxConnectMs = scope.histogram("upstream_cx_connect_ms")
        upstreamCxLengthMs = scope.histogram("upstream_cx_length_ms")
        upstreamRqPerCx = scope.histogram("upstream_rq_per_cx", unit: .unspecified)
        scope.keepAtZero(
            counters: [
                "assignment_stale",
                "assignment_timeout_received",
                "assignment_use_cached",
                "lb_local_cluster_not_ok",
                "lb_recalculate_zone_structures",
                "lb_zone_cluster_too_small",
                "lb_zone_no_capacity_left",
                "lb_zone_routing_all_directly",
                "lb_zone_routing_cross_zone",
                "lb_zone_routing_sampled",
                "original_dst_host_invalid",
                "update_no_rebuild",
                "upstream_cx_connect_with_0_rtt",
                "upstream_cx_http3_total",
                "upstream_cx_preconnect_skipped",
                "upstream_http3_broken",
                "upstream_rq_0rtt",
                "upstream_rq_maintenance_mode",
            ],
            gauges: [
                "upstream_queue_overloaded",
                "version",
            ]
        )
    }
}
