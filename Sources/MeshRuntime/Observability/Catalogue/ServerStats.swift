/// Stats of the process that the control thread keeps (envoy: `server.`).
package struct ServerStats {
    package let live: Gauge
    package let state: Gauge
    package let concurrency: Gauge
    package let uptime: Gauge
    package let version: Gauge
    package let totalConnections: Gauge
    package let daysUntilFirstCertExpiring: Gauge
    package let memoryAllocated: Gauge
    package let memoryHeapSize: Gauge
    package let memoryPhysicalSize: Gauge
    package let initializationTimeMs: Histogram

    package init(_ stats: WorkerStats) {
        let scope = StatsScope(stats, "server.")
        live = scope.gauge("live")
        state = scope.gauge("state")
        concurrency = scope.gauge("concurrency")
        uptime = scope.gauge("uptime")
        version = scope.gauge("version")
        totalConnections = scope.gauge("total_connections")
        daysUntilFirstCertExpiring = scope.gauge("days_until_first_cert_expiring")
        memoryAllocated = scope.gauge("memory_allocated")
        memoryHeapSize = scope.gauge("memory_heap_size")
        memoryPhysicalSize = scope.gauge("memory_physical_size")
        initializationTimeMs = scope.histogram("initialization_time_ms")
        scope.keepAtZero(
            counters: [
                "debug_assertion_failures", "dropped_stat_flushes", "dynamic_unknown_fields",
                "envoy_bug_failures", "envoy_notifications", "static_unknown_fields", "wip_protos",
            ],
            gauges: [
                "compilation_settings.fips_mode", "hot_restart_epoch", "parent_connections",
                "seconds_until_first_ocsp_response_expiring", "stats_recent_lookups",
            ]
        )
        // There is no watchdog.
        for thread in ["main_thread"] + (0..<stats.registry.workers).map({ "worker_\($0)" }) {
            scope.keepAtZero(counters: [
                "\(thread).watchdog_mega_miss", "\(thread).watchdog_miss",
            ])
        }
        for threads in ["main_thread", "workers"] {
            StatsScope(stats, threads + ".").keepAtZero(
                counters: ["watchdog_mega_miss", "watchdog_miss"]
            )
        }
    }
}

/// Stats of the set of clusters (envoy: `cluster_manager.`).
package struct ClusterManagerStats {
    package let clusterAdded: Counter
    package let clusterModified: Counter
    package let clusterRemoved: Counter
    package let clusterUpdated: Counter
    package let activeClusters: Gauge
    package let warmingClusters: Gauge

    package init(_ stats: WorkerStats) {
        let scope = StatsScope(stats, "cluster_manager.")
        clusterAdded = scope.counter("cluster_added")
        clusterModified = scope.counter("cluster_modified")
        clusterRemoved = scope.counter("cluster_removed")
        clusterUpdated = scope.counter("cluster_updated")
        activeClusters = scope.gauge("active_clusters")
        warmingClusters = scope.gauge("warming_clusters")
        scope.keepAtZero(counters: [
            "cluster_updated_via_merge", "update_merge_cancelled", "update_out_of_merge_window",
        ])
    }
}

/// Stats of the runtime layers (envoy: `runtime.`).
package struct RuntimeStats {
    package let loadError: Counter
    package let loadSuccess: Counter
    /// Grows with every load: there are no layers on disk, hence no override directory.
    package let overrideDirNotExists: Counter
    package let adminOverridesActive: Gauge
    package let numKeys: Gauge
    package let numLayers: Gauge

    package init(_ stats: WorkerStats) {
        let scope = StatsScope(stats, "runtime.")
        loadError = scope.counter("load_error")
        loadSuccess = scope.counter("load_success")
        overrideDirNotExists = scope.counter("override_dir_not_exists")
        adminOverridesActive = scope.gauge("admin_overrides_active")
        numKeys = scope.gauge("num_keys")
        numLayers = scope.gauge("num_layers")
        scope.keepAtZero(
            counters: ["deprecated_feature_use", "override_dir_exists"],
            gauges: ["deprecated_feature_seen_since_process_start"]
        )
    }
}

/// What happens to log files (envoy: `filesystem.`).
package struct FilesystemStats: Sendable {
    package let flushedByTimer: Counter
    package let reopenFailed: Counter
    /// Lines taken.
    package let writeBuffered: Counter
    /// Writes done.
    package let writeCompleted: Counter
    /// Writes that the system refused, e.g. on a full disk; their bytes are lost.
    package let writeFailed: Counter
    /// Bytes taken and not yet written.
    package let writeTotalBuffered: Gauge
    /// Lines lost because too many bytes were waiting. Not one of Envoy's.
    package let writeDropped: Counter

    package init(_ stats: WorkerStats) {
        let scope = StatsScope(stats, "filesystem.")
        flushedByTimer = scope.counter("flushed_by_timer")
        reopenFailed = scope.counter("reopen_failed")
        writeBuffered = scope.counter("write_buffered")
        writeCompleted = scope.counter("write_completed")
        writeFailed = scope.counter("write_failed")
        writeTotalBuffered = scope.gauge("write_total_buffered")
        writeDropped = scope.counter("write_dropped")
    }
}

/// What HTTP/1 codecs refuse (envoy: `http1.` for downstream, `cluster.<name>.http1.` for upstream).
package struct HTTP1CodecStats {
    package let underscores: UnderscoreStats

    /// `prefix` is empty, or ends in a dot.
    package init(_ stats: WorkerStats, prefix: String = "") {
        let scope = StatsScope(stats, prefix + "http1.")
        underscores = UnderscoreStats(scope)
        scope.keepAtZero(counters: ["metadata_not_supported_error", "response_flood"])
    }
}

/// What became of header names with underscores (envoy: `http1.` and `http2.`).
package struct UnderscoreStats {
    /// Fields, not requests.
    package let dropped: Counter
    package let rejected: Counter

    package init(_ scope: StatsScope) {
        dropped = scope.counter("dropped_headers_with_underscores")
        rejected = scope.counter("requests_rejected_with_underscores_in_headers")
    }
}
