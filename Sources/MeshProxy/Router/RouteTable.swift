import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// What a route table says of a request.
package enum RouteDecision {
    case route(RouteSelection)
    /// 301 to the same URL over TLS; see ``RedirectLocation/appendSecure(_:to:)``.
    case demandTLS(VirtualHost)
    /// No virtual host, or none of its routes is for it: 404, response flag NR.
    case notFound(VirtualHost?)
}

/// The route of a request and the share of its split the request fell into.
///
/// A class, and made in advance where there is no split: a request holds one reference instead of three.
package final class RouteSelection {
    /// Copied: a selection outlives its table where the runtime replaces that meanwhile.
    package let host: VirtualHostFacts
    package let route: Route
    package let split: WeightedTarget?
    /// What the route does with the request, where it forwards it.
    package let forward: ForwardAction?

    init(host: VirtualHost, route: Route, split: WeightedTarget?) {
        self.host = host.facts
        self.route = route
        self.split = split
        if case .forward(let action) = route.action { forward = action } else { forward = nil }
    }

    /// By place in the filter chain.
    package var settings: [FilterSetting] { split?.settings ?? route.settings }

    /// Metadata an endpoint must have.
    package var criteria: SubsetCriteria? {
        if let split { return split.criteria }
        return forward?.criteria
    }
}

/// The routes of one connection manager, compiled for one worker. Immutable.
package final class RouteTable {
    package let config: RouteConfig
    package let hosts: [VirtualHost]
    private let index: VirtualHostIndex

    package init(_ config: RouteConfig, _ environment: RouteEnvironment) {
        self.config = config
        hosts = config.virtualHosts.map { host in
            VirtualHost(
                host,
                routes: host.routes.map { Route($0, host: host, table: config, environment) },
                stats: environment.stats
            )
        }
        index = VirtualHostIndex(config.virtualHosts)
    }

    /// The virtual host of the request's authority.
    package func host(_ head: HeaderMap) -> VirtualHost? {
        guard var authority = head[.authority] else { return nil }
        if config.ignoresPortInHost, let colon = HostHeader.portStart(authority) {
            authority = Bytes(rebasing: authority[..<colon])
        }
        return index.find(authority).map { hosts[$0] }
    }

    /// The first route that is for this request.
    ///
    /// - Parameter random: decides shares of traffic; the same number for one request always.
    package func route(_ head: HeaderMap, _ stream: StreamInfo, random: UInt64) -> RouteDecision {
        guard let host = host(head), head[.forwardedProto]?.isEmpty == false else {
            return .notFound(nil)
        }
        if host.demandsTLS(head) { return .demandTLS(host) }
        let request = RoutedRequest(
            head,
            stream,
            random: random,
            ignoresParameters: config.ignoresPathParameters
        )
        for at in host.routes.indices where host.routes[at].matcher.mismatch(request) == nil {
            let plain = host.selections[at]
            guard let split = plain.forward?.split(head, random: random) else {
                return .route(plain)
            }
            return .route(RouteSelection(host: host, route: plain.route, split: split))
        }
        return .notFound(host)
    }
}
