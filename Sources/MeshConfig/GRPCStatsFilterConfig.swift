/// The filter that counts gRPC calls and messages by cluster (envoy: filters.http.grpc_stats.v3.FilterConfig).
package struct GRPCStatsFilterConfig: Hashable, Sendable {
    /// Which calls have counters of their own method.
    package enum Methods: Hashable, Sendable {
        /// None: all count together.
        case none
        case all
        /// These; others count together.
        case listed([Method])
    }

    package struct Method: Hashable, Sendable {
        /// With its package: `shop.v1.Cart`.
        package let service: String
        package let method: String
    }

    package let methods: Methods
    /// Logs may ask for the number of messages: `%FILTER_STATE(envoy.filters.http.grpc_stats)%`.
    package let emitsFilterState: Bool
    /// Records `upstream_rq_time`.
    package let recordsUpstreamTime: Bool
    /// `shop_v1_Cart` instead of `shop.v1.Cart`, under ``Methods/all``.
    package let replacesDots: Bool

    package init(_ object: ConfigObject) {
        emitsFilterState = object.bool("emit_filter_state", default: false)
        recordsUpstreamTime = object.bool("enable_upstream_stats", default: false)
        replacesDots = object.bool("replace_dots_in_grpc_service_name", default: false)
        let field = object.atMostOne(
            of: "individual_method_stats_allowlist",
            "stats_for_all_methods"
        )
        let all = object.bool("stats_for_all_methods", default: false)
        let listed = object.object("individual_method_stats_allowlist")?.objects("services")
            .flatMap { service in
                let name = service.requiredString("name")
                return service.strings("method_names").map { Method(service: name, method: $0) }
            }
        if field == "individual_method_stats_allowlist" {
            methods = .listed(listed ?? [])
        } else {
            methods = all ? .all : .none
        }
    }
}
