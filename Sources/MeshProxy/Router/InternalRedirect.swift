import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// What one request remembers of redirects that were followed for it.
struct FollowedRedirects {
    private(set) var count = 0
    /// Names of routes, whose predicates ask for them.
    private var steps: [(from: String, to: String)] = []

    func contains(from: String, to: String) -> Bool {
        steps.contains { $0.from == from && $0.to == to }
    }

    mutating func add(from: String, to: String) {
        count += 1
        steps.append((from, to))
    }
}

/// Points a request at the URL of a redirect and chooses its route anew
/// (envoy: Router::Filter::convertRequestHeadersForInternalRedirect).
struct InternalRedirect {
    private let policy: InternalRedirectConfig
    private let stream: HTTPStream
    /// RFC 9110 §15.4.4: the answer to a POST lies elsewhere and is fetched. Its body goes no further.
    let becomesGET: Bool
    private var head: HeaderMap { stream.request }
    private var stats: HTTPRouterStats { stream.settings.routerStats }

    init(_ policy: InternalRedirectConfig, status: Int, _ stream: HTTPStream) {
        self.policy = policy
        self.stream = stream
        let method = stream.request[.method]
        let fetches = method.map { $0.equals("GET") || $0.equals("HEAD") } ?? false
        becomesGET = status == 303 && !fetches
    }

    /// Where the request goes next; its head is then the next request's. Nil, with the head as it was,
    /// where the policy or the URL does not allow it.
    func apply(
        _ response: HeaderMap,
        from previous: Route,
        _ followed: inout FollowedRedirects
    ) -> RouteDecision? {
        guard let location = response.string(.location) else { return nil }
        guard let target = Target(location, relativeTo: head) else {
            stats.passthroughInternalRedirectBadLocation.add()
            return nil
        }
        let wasPlain = !(head[.scheme]?.equals("https") ?? false)
        let isPlain = target.scheme == "http"
        guard policy.allowsCrossScheme || wasPlain == isPlain else {
            stats.passthroughInternalRedirectUnsafeScheme.add()
            return nil
        }
        guard isPlain || target.scheme == "https" else {
            stats.passthroughInternalRedirectBadLocation.add()
            return nil
        }
        guard followed.count < policy.redirectsMax else {
            stats.passthroughInternalRedirectTooManyRedirects.add()
            return nil
        }
        let original = HeaderMap()
        original.copy(from: head)
        // The next upstream learns what the client had asked for.
        let url = [head.string(.scheme), "://", head.string(.authority), head.string(.path)]
            .reduce(into: "") { $0 += $1 ?? "" }
        copyHeaders(from: response)
        point(at: target)
        guard stream.settings.preparation.normalizeRedirected(stream, head),
            let decision = route(from: previous, followed, isUpgrade: wasPlain && !isPlain)
        else {
            head.swap(with: original)
            return nil
        }
        head.set(HeaderName("x-envoy-original-url"), url)
        followed.add(from: previous.labels.name, to: decision.routeName)
        return decision
    }

    /// Puts headers of the redirect into the next request, in place of the ones it has; those that the
    /// redirect lacks are taken out (envoy: response_headers_to_copy).
    private func copyHeaders(from response: HeaderMap) {
        for text in policy.responseHeadersToCopy {
            let name = HeaderName(text)
            head.remove(name)
            response.forEachValue(name) { head.append(name, $0) }
        }
    }

    private func point(at target: Target) {
        head.set(.authority, target.authority)
        head.set(.path, target.path)
        head.set(.scheme, target.scheme)
        guard becomesGET else { return }
        head.set(.method, "GET")
        head.remove(.contentLength)
    }

    private func route(
        from previous: Route,
        _ followed: FollowedRedirects,
        isUpgrade: Bool
    ) -> RouteDecision? {
        let random = stream.worker.random.next()
        let decision = stream.settings.routes.route(head, stream.info, random: random)
        if case .notFound = decision {
            stats.passthroughInternalRedirectNoRoute.add()
            return nil
        }
        let isAccepted = policy.predicates.allSatisfy { predicate in
            switch predicate {
            case .previousRoutes:
                !followed.contains(from: previous.labels.name, to: decision.routeName)
            case .allowListedRoutes(let names): names.contains(decision.routeName)
            // A request that came in the clear is not taken for one that did not.
            case .safeCrossScheme: !isUpgrade
            }
        }
        if isAccepted { return decision }
        stats.passthroughInternalRedirectPredicate.add()
        return nil
    }

    /// A URL, or an absolute path on the same host.
    private struct Target {
        var scheme: String
        var authority: String
        var path: String

        init?(_ location: String, relativeTo head: HeaderMap) {
            // It is to stand in a request line.
            guard location.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F }) else { return nil }
            if location.hasPrefix("/") {
                // Two slashes would begin an authority (RFC 3986 §4.2).
                guard !location.hasPrefix("//") else { return nil }
                scheme = head.string(.scheme) ?? "http"
                authority = head.string(.authority) ?? ""
                path = Self.withoutFragment(location)
                return
            }
            guard let separator = location.range(of: "://") else { return nil }
            scheme = location[..<separator.lowerBound].lowercased()
            guard !scheme.isEmpty else { return nil }
            let rest = location[separator.upperBound...]
            let end = rest.firstIndex { "/?#".contains($0) } ?? rest.endIndex
            let host = rest[..<end]
            // Who the user is has no place in a request's authority (RFC 9110 §4.2.4).
            let start = host.lastIndex(of: "@").map { host.index(after: $0) } ?? host.startIndex
            authority = String(host[start...])
            guard Self.isAuthority(authority) else { return nil }
            path = rest[end...].hasPrefix("/") ? String(rest[end...]) : "/" + rest[end...]
            path = Self.withoutFragment(path)
        }

        /// Whether there is a host, with a port that can be one or none.
        private static func isAuthority(_ text: String) -> Bool {
            var text = text
            return text.withUTF8 { bytes in
                let bytes = Bytes(bytes)
                guard let colon = HostHeader.portStart(bytes) else { return !bytes.isEmpty }
                return colon > 0 && HostHeader.port(bytes, after: colon) != nil
            }
        }

        private static func withoutFragment(_ path: String) -> String {
            path.firstIndex(of: "#").map { String(path[..<$0]) } ?? path
        }
    }
}

extension RouteDecision {
    /// Empty where it has none.
    fileprivate var routeName: String {
        if case .route(let selection) = self { selection.route.labels.name } else { "" }
    }
}

extension String {
    /// The first place of `text`; the standard library has this for collections of bytes only.
    fileprivate func range(of text: StaticString) -> Range<String.Index>? {
        let wanted = text.description
        var at = startIndex
        while at < endIndex {
            if self[at...].hasPrefix(wanted) { return at..<index(at, offsetBy: wanted.count) }
            at = index(after: at)
        }
        return nil
    }
}
