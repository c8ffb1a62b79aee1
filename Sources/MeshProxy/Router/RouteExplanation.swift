import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// Why a request takes the route it takes, in words: for the debug header and `POST /explain`.
package struct RouteExplanation {
    /// One route that was looked at.
    package struct Candidate {
        /// Its name, or its place in the file where it has none.
        package let route: String
        package let line: Int
        /// Nil for the route that was taken.
        package let passedOverBecause: String?
    }

    /// Nil where no domain fits.
    package let virtualHost: String?
    /// The domain of that host that fitted best, as configured.
    package let domain: String?
    package let authority: String
    package let demandsTLS: Bool
    /// In the table's order, up to the route taken.
    package let candidates: [Candidate]
    /// The cluster by name, or what else becomes of the request; empty where there is no route.
    package let outcome: String
}

extension RouteTable {
    /// Goes the way of ``route(_:_:random:)`` with the same matchers and says what they said. Cold.
    package func explain(
        _ head: HeaderMap,
        _ stream: StreamInfo,
        random: UInt64
    ) -> RouteExplanation {
        let authority = head.string(.authority) ?? ""
        guard let host = host(head) else {
            return RouteExplanation(
                virtualHost: nil,
                domain: nil,
                authority: authority,
                demandsTLS: false,
                candidates: [],
                outcome: ""
            )
        }
        let domain = Self.domain(
            of: host,
            for: authority,
            ignoresPort: config.ignoresPortInHost
        )
        if host.demandsTLS(head) {
            return RouteExplanation(
                virtualHost: host.name,
                domain: domain,
                authority: authority,
                demandsTLS: true,
                candidates: [],
                outcome: "redirect to https"
            )
        }
        let request = RoutedRequest(
            head,
            stream,
            random: random,
            ignoresParameters: config.ignoresPathParameters
        )
        var candidates: [RouteExplanation.Candidate] = []
        var outcome = ""
        for (at, route) in host.routes.enumerated() {
            let mismatch = route.matcher.mismatch(request)
            candidates.append(
                RouteExplanation.Candidate(
                    route: route.labels.name.isEmpty ? "routes[\(at)]" : route.labels.name,
                    line: route.config.position.line,
                    passedOverBecause: mismatch.map { route.matcher.describe($0, request) }
                )
            )
            if mismatch == nil {
                outcome = Self.outcome(of: route, head, random)
                break
            }
        }
        return RouteExplanation(
            virtualHost: host.name,
            domain: domain,
            authority: authority,
            demandsTLS: false,
            candidates: candidates,
            outcome: outcome
        )
    }

    /// The pattern that makes this host the one: the index has told the host, this tells why.
    private static func domain(
        of host: VirtualHost,
        for authority: String,
        ignoresPort: Bool
    ) -> String? {
        var name = authority.lowercased()
        if ignoresPort {
            let size = name.withUTF8 { HostHeader.portStart(Bytes($0)) }
            if let size { name = String(decoding: Array(name.utf8.prefix(size)), as: UTF8.self) }
        }
        let fitting = host.config.domains.filter { domain in
            let longer = name.utf8.count > domain.fixedPart.utf8.count
            return switch domain.kind {
            case .exact: domain.text == name
            case .suffix: longer && name.hasSuffix(domain.fixedPart)
            case .prefix: longer && name.hasPrefix(domain.fixedPart)
            case .any: true
            }
        }
        func isBetter(_ left: VirtualHostConfig.Domain, _ right: VirtualHostConfig.Domain) -> Bool {
            if left.kind != right.kind { return left.kind.rawValue < right.kind.rawValue }
            return left.text.utf8.count > right.text.utf8.count
        }
        return fitting.min(by: isBetter)?.text
    }

    private static func outcome(of route: Route, _ head: HeaderMap, _ random: UInt64) -> String {
        switch route.action {
        case .forward(let action):
            let split = action.split(head, random: random)
            return "cluster \(action.cluster(head, split: split) { _ in nil }.name)"
        case .redirect(let redirect):
            var location = ByteBuffer()
            route.appendLocation(redirect, for: head, to: &location)
            return "redirect \(redirect.status) to \(String(bytes: location.bytes))"
        case .respond(let response): return "direct response \(response.status)"
        }
    }
}

extension RouteMatcher {
    /// One condition that failed: what was wanted and what was there.
    func describe(_ condition: RouteCondition, _ request: RoutedRequest) -> String {
        let head = request.head
        switch condition {
        case .path:
            return "path \"\(String(bytes: request.path))\" is not \(pathRuleText)"
        case .runtimeFraction: return "not in the share of runtime_fraction"
        case .grpc: return "not a gRPC request"
        case .header(let at):
            let wanted = config.headers[at]
            let value = head.joined(HeaderName(wanted.name))
            return "\(wanted): \(value.map { "it is \"\($0)\"" } ?? "it is absent")"
        case .queryParameter(let at):
            return "\(config.queryParameters[at]): the query is \"\(String(bytes: request.query))\""
        case .cookie(let at):
            let cookie = config.cookies[at]
            return "cookie \(cookie.name) \(cookie.isInverted ? "not " : "")\(cookie.match)"
        case .clientCertificatePresented:
            return config.certificatePresented == true
                ? "no client certificate was presented" : "a client certificate was presented"
        case .clientCertificateValidated:
            return config.certificateValidated == true
                ? "the client certificate was not validated"
                : "the client certificate was validated"
        case .metadata(let at): return "\(config.dynamicMetadata[at])"
        case .filterState(let at): return "\(config.filterState[at])"
        }
    }

    private var pathRuleText: String {
        let text =
            switch config.pathRule {
            case .prefix(let text): "prefix \"\(text)\""
            case .path(let text): "exactly \"\(text)\""
            case .separatedPrefix(let text): "\"\(text)\" or below it"
            case .regex(let regex): "matched by \(regex)"
            case .template(let template): "matched by \(template)"
            case .connect: "of a CONNECT request"
            }
        return config.isCaseSensitive ? text : text + " in any case"
    }
}
