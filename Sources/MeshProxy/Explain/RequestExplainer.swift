import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// Follows one request through what was compiled for its connection manager, and says what every part
/// decides: the route table, the filters, the cluster. Uses the evaluators of the data path and changes
/// nothing: no counter, no metadata, no turn of a load balancer. Cold.
package struct RequestExplainer {
    let routes: RouteTable
    let filters: [any HTTPFilterFactory]
    let clusters: (String) -> ClusterPlan?

    package init(
        routes: RouteTable,
        filters: [any HTTPFilterFactory],
        clusters: @escaping (String) -> ClusterPlan?
    ) {
        self.routes = routes
        self.filters = filters
        self.clusters = clusters
    }

    /// - Parameters:
    ///   - head: prepared as for the filters: path and host normalized, forwarded fields made trustworthy.
    ///   - stream: its route metadata are set.
    ///   - random: decides shares of traffic.
    package func explain(_ head: HeaderMap, _ stream: StreamInfo, random: UInt64) -> Explanation {
        let decision = routes.route(head, stream, random: random)
        var explanation = Explanation(outcome: outcome(decision, head))
        explanation.request = Explanation.Request(head, stream)
        explanation.chain.listener = stream.connection.listenerName
        explanation.chain.name = stream.connection.filterChainName
        explanation.route = routes.explain(head, stream, random: random)
        var settings = Array(repeating: FilterSetting.chain, count: filters.count)
        if case .route(let selection) = decision {
            stream.route = selection.route.labels
            settings = selection.settings
        }
        for (filter, setting) in zip(filters, settings) {
            guard let explained = filter.explain(head, stream, setting) else { continue }
            explanation.httpFilters.append(explained)
            guard let details = explained.details else { continue }
            explanation.outcome = Explanation.Outcome(
                action: "reply",
                status: 403,
                details: details,
                summary: "403 by \(explained.name): \(explained.enforced?.summary ?? "denied")"
            )
            return explanation
        }
        guard case .route(let selection) = decision,
            case .forward(let action) = selection.route.action
        else { return explanation }
        let target = action.cluster(head, split: selection.split) { _ in nil }
        explanation.follow(
            target.name,
            clusters(target.name),
            criteria: selection.criteria,
            statusIfUnknown: action.clusterNotFoundStatus
        )
        return explanation
    }

    /// What the route alone would have become of the request.
    private func outcome(_ decision: RouteDecision, _ head: HeaderMap) -> Explanation.Outcome {
        switch decision {
        case .notFound(nil):
            return Explanation.Outcome(
                action: "reply",
                status: 404,
                details: "route_not_found",
                summary: "404: no virtual host has a domain for this authority"
            )
        case .notFound(.some(let host)):
            return Explanation.Outcome(
                action: "reply",
                status: 404,
                details: "route_not_found",
                summary: "404: no route of virtual host \"\(host.name)\" matches"
            )
        case .demandTLS(let host):
            return Explanation.Outcome(
                action: "reply",
                status: 301,
                details: "direct_response",
                summary: "301: virtual host \"\(host.name)\" requires TLS"
            )
        case .route(let selection):
            switch selection.route.action {
            case .redirect(let redirect):
                return Explanation.Outcome(
                    action: "reply",
                    status: redirect.status,
                    details: "direct_response",
                    summary: "\(redirect.status): the route redirects"
                )
            case .respond(let response):
                return Explanation.Outcome(
                    action: "reply",
                    status: response.status,
                    details: "direct_response",
                    summary: "\(response.status): the route answers by itself"
                )
            case .forward:
                return Explanation.Outcome(
                    action: "forward",
                    status: nil,
                    details: nil,
                    summary: "forwarded"
                )
            }
        }
    }
}

extension Explanation {
    /// What becomes of traffic that goes to this cluster.
    mutating func follow(
        _ name: String,
        _ plan: ClusterPlan?,
        criteria: SubsetCriteria?,
        statusIfUnknown: Int?
    ) {
        guard let plan else {
            outcome = Outcome(
                action: statusIfUnknown == nil ? "close" : "reply",
                status: statusIfUnknown,
                details: "cluster_not_found",
                summary: "there is no cluster \"\(name)\""
            )
            return
        }
        let upstream = Upstream(plan, criteria: criteria)
        self.upstream = upstream
        let eligible = upstream.endpoints.filter { $0.passedOverBecause == nil }
        if eligible.isEmpty {
            outcome = Outcome(
                action: statusIfUnknown == nil ? "close" : "reply",
                status: statusIfUnknown == nil ? nil : 503,
                details: "no_healthy_upstream",
                summary: "no endpoint of cluster \"\(name)\" is eligible"
            )
        } else {
            let target =
                eligible.count == 1
                ? "to \(eligible[0].address)"
                : "to one of \(eligible.count) endpoints by \(upstream.policy)"
            outcome = Outcome(
                action: "forward",
                status: nil,
                details: nil,
                summary: "forwarded to cluster \"\(name)\", \(target)"
            )
        }
    }
}

extension Explanation.Request {
    init(_ head: HeaderMap, _ stream: StreamInfo) {
        self.init(stream.connection)
        method = head.string(.method) ?? ""
        path = head.string(.path) ?? ""
        authority = head.string(.authority) ?? ""
        client = stream.remoteAddress.description
    }

    init(_ connection: ConnectionInfo) {
        peer = connection.directRemoteAddress.description
        client = connection.remoteAddress.description
        localAddress = connection.localAddress.description
        serverName = connection.requestedServerName
        principals = connection.tls.map { tls in
            guard let peer = tls.peer else { return [] }
            return peer.uriSANs + peer.dnsSANs + (peer.subject.isEmpty ? [] : [peer.subject])
        }
    }
}

extension Explanation.Upstream {
    /// The endpoints as they are now. Which of the eligible ones is next is not asked, since asking
    /// would move the balancer.
    init(_ plan: ClusterPlan, criteria: SubsetCriteria?) {
        cluster = plan.options.name
        switch plan.options.balancing.policy {
        case .roundRobin: policy = "round robin"
        case .leastRequest: policy = "least request"
        case .random: policy = "random"
        }
        let all = plan.vitals.endpoints.endpoints
        let wanted = plan.options.subsets == nil ? nil : criteria
        let first = all.filter { $0.vitals.health.availability != .unavailable }.map(\.priority)
            .min()
        endpoints = all.map { endpoint in
            var reason: String?
            if let missing = wanted?.entries.first(where: {
                !Self.has(endpoint.loadBalancingMetadata[$0.key], $0.value)
            }) {
                reason = "its metadata \"\(missing.key)\" is not what the route asks for"
            } else if endpoint.vitals.health.availability == .unavailable {
                reason = "it is \(endpoint.vitals.health)"
            } else if let first, endpoint.priority > first {
                reason =
                    "priority \(endpoint.priority) waits until priority \(first) is short of endpoints"
            }
            return Explanation.Endpoint(
                address: endpoint.address.description,
                health: "\(endpoint.vitals.health)",
                weight: endpoint.weight,
                passedOverBecause: reason
            )
        }
    }

    private static func has(_ value: MetadataValue?, _ wanted: MetadataValue) -> Bool {
        if case .list(let elements)? = value, elements.contains(wanted) { return true }
        return value == wanted
    }
}
