import MeshConfig
import MeshRuntime

/// Makes the filters of a connection manager, but for the router, which ends every chain.
enum HTTPFilterChain {
    static func make(
        _ config: HTTPConnectionManagerConfig,
        stats: WorkerStats,
        formats: FormatEnvironment
    ) -> [any HTTPFilterFactory] {
        var filters: [any HTTPFilterFactory] = []
        for filter in config.filters {
            switch filter.kind {
            case .router: break
            case .rbac(let rbac):
                filters.append(
                    RBACFilter(
                        rbac,
                        name: filter.name,
                        position: filters.count,
                        isDisabled: filter.isDisabled,
                        managerStatPrefix: config.statPrefix,
                        stats: stats
                    )
                )
            case .grpcStats(let counted):
                filters.append(
                    GRPCStatsFilterFactory(
                        counted,
                        name: filter.name,
                        isDisabled: filter.isDisabled,
                        stats: stats
                    )
                )
            case .setFilterState(let config):
                filters.append(
                    SetFilterStateFilter(
                        config,
                        name: filter.name,
                        isDisabled: filter.isDisabled,
                        formats: formats
                    )
                )
            case .grpcWeb:
                filters.append(
                    GRPCWebFilterFactory(
                        name: filter.name,
                        isDisabled: filter.isDisabled,
                        stats: stats
                    )
                )
            }
        }
        return filters
    }
}

extension HTTPConnectionManagerConfig {
    /// Options of the router, which ends every chain.
    var router: RouterConfig {
        for filter in filters { if case .router(let config) = filter.kind { return config } }
        return RouterConfig()
    }
}
