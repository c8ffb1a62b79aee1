/// Stats of one listener (envoy: `listener.<address>.`, or `listener.<stat_prefix>.`).
package struct ListenerStats {
    package let downstreamCxDestroy: Counter
    package let downstreamCxOverflow: Counter
    package let downstreamCxTotal: Counter
    package let downstreamCxTransportSocketConnectTimeout: Counter
    package let downstreamGlobalCxOverflow: Counter
    package let downstreamListenerFilterError: Counter
    package let downstreamListenerFilterRemoteClose: Counter
    package let downstreamPreCxTimeout: Counter
    package let noFilterChainMatch: Counter
    package let downstreamCxActive: Gauge
    package let downstreamPreCxActive: Gauge
    package let connectionsAcceptedPerSocketEvent: Histogram
    package let downstreamCxLengthMs: Histogram

    /// - Parameter isAdmin: the administration port is not discovered.
    package init(_ stats: WorkerStats, listener: String, isAdmin: Bool = false) {
        let scope = StatsScope(stats, "listener.\(listener).")
        downstreamCxDestroy = scope.counter("downstream_cx_destroy")
        downstreamCxOverflow = scope.counter("downstream_cx_overflow")
        downstreamCxTotal = scope.counter("downstream_cx_total")
        downstreamCxTransportSocketConnectTimeout = scope.counter(
            "downstream_cx_transport_socket_connect_timeout"
        )
        downstreamGlobalCxOverflow = scope.counter("downstream_global_cx_overflow")
        downstreamListenerFilterError = scope.counter("downstream_listener_filter_error")
        downstreamListenerFilterRemoteClose = scope.counter(
            "downstream_listener_filter_remote_close"
        )
        downstreamPreCxTimeout = scope.counter("downstream_pre_cx_timeout")
        noFilterChainMatch = scope.counter("no_filter_chain_match")
        downstreamCxActive = scope.gauge("downstream_cx_active")
        downstreamPreCxActive = scope.gauge("downstream_pre_cx_active")
        connectionsAcceptedPerSocketEvent = scope.histogram(
            "connections_accepted_per_socket_event",
            unit: .unspecified
        )
        downstreamCxLengthMs = scope.histogram("downstream_cx_length_ms")
        scope.keepAtZero(counters: ["downstream_cx_overload_reject"])
        guard !isAdmin else { return }
        scope.keepAtZero(
            counters: ["extension_config_missing", "network_extension_config_missing"]
        )
    }
}

/// What one worker has of a listener (envoy: `listener.<address>.worker_<n>.`).
package struct ListenerWorkerStats {
    package let downstreamCxTotal: Counter
    package let downstreamCxActive: Gauge

    package init(_ stats: WorkerStats, listener: String) {
        let scope = StatsScope(stats, "listener.\(listener).\(stats.threadName).")
        downstreamCxTotal = scope.counter("downstream_cx_total")
        downstreamCxActive = scope.gauge("downstream_cx_active")
    }
}

/// Stats of the set of listeners (envoy: `listener_manager.`).
package struct ListenerManagerStats {
    package let listenerAdded: Counter
    package let listenerCreateFailure: Counter
    package let listenerCreateSuccess: Counter
    package let listenerModified: Counter
    package let listenerRemoved: Counter
    package let listenerStopped: Counter
    package let totalFilterChainsDraining: Gauge
    package let totalListenersActive: Gauge
    package let totalListenersDraining: Gauge
    package let totalListenersWarming: Gauge
    package let workersStarted: Gauge

    package init(_ stats: WorkerStats) {
        let scope = StatsScope(stats, "listener_manager.")
        listenerAdded = scope.counter("listener_added")
        listenerCreateFailure = scope.counter("listener_create_failure")
        listenerCreateSuccess = scope.counter("listener_create_success")
        listenerModified = scope.counter("listener_modified")
        listenerRemoved = scope.counter("listener_removed")
        listenerStopped = scope.counter("listener_stopped")
        totalFilterChainsDraining = scope.gauge("total_filter_chains_draining")
        totalListenersActive = scope.gauge("total_listeners_active")
        totalListenersDraining = scope.gauge("total_listeners_draining")
        totalListenersWarming = scope.gauge("total_listeners_warming")
        workersStarted = scope.gauge("workers_started")
        scope.keepAtZero(
            counters: [
                "listener_in_place_updated"
            ],
            gauges: [
                "workers_pinned"
            ]
        )
    }
}
