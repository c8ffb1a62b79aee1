/// Names that begin alike: `cluster.reviews.` and what follows.
package struct StatsScope {
    package let stats: WorkerStats
    package let prefix: String

    package init(_ stats: WorkerStats, _ prefix: String) {
        self.stats = stats
        self.prefix = prefix
    }

    package func counter(_ name: String) -> Counter { stats.counter(prefix + name) }
    package func gauge(_ name: String) -> Gauge { stats.gauge(prefix + name) }

    package func histogram(_ name: String, unit: HistogramUnit = .milliseconds) -> Histogram {
        stats.histogram(prefix + name, unit: unit)
    }

    /// Registers what Envoy counts and we have nothing to count for, so that dashboards and alerts
    /// written for Envoy find every name they ask for.
    package func keepAtZero(counters: [String] = [], gauges: [String] = []) {
        for name in counters { _ = counter(name) }
        for name in gauges { _ = gauge(name) }
    }
}

extension WorkerStats {
    /// As it stands in stat names: `worker_0`, or `main_thread` for the control thread.
    package var threadName: String {
        index == registry.workers ? "main_thread" : "worker_\(index)"
    }
}
