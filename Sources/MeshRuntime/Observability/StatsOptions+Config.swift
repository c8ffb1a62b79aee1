import MeshConfig

extension StatsOptions {
    /// What `stats_config` asks for.
    package init(_ config: StatsConfig) {
        let matcher = config.matcher
        let buckets = config.histogramBuckets
        self.init(
            keeps: { name in
                switch matcher {
                case .acceptAll: true
                case .rejectAll: false
                case .exclude(let patterns): !patterns.contains { $0.matches(name) }
                case .include(let patterns): patterns.contains { $0.matches(name) }
                }
            },
            buckets: { name in
                buckets.first { $0.match.matches(name) }.map(\.buckets)
            },
            tags: StatsTagExtractor(config)
        )
    }
}
