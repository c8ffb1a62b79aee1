import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// Points a request at the URL of a redirect and chooses its route anew.
enum InternalRedirect {
    /// Puts headers of the redirect into the next request, in place of the ones it has; those that the
    /// redirect lacks are taken out (envoy: response_headers_to_copy).
    static func copyHeaders(
        _ policy: InternalRedirectConfig,
        from response: HeaderMap,
        to request: HeaderMap
    ) {
        for text in policy.responseHeadersToCopy {
            let name = HeaderName(text)
            request.remove(name)
            response.forEachValue(name) { request.append(name, $0) }
        }
    }

    /// False, with the request as it was, where the policy or the URL does not allow it.
    static func apply(
        _ location: String,
        _ policy: InternalRedirectConfig,
        status: Int,
        to stream: HTTPStream,
        from previous: RouteSelection?
    ) -> Bool {
        let stats = stream.settings.routerStats
        guard let target = Target(location, relativeTo: stream.request) else {
            stats.passthroughInternalRedirectBadLocation.add()
            return false
        }
        let head = stream.request
        let wasSecure = head[.scheme]?.equals("https") ?? false
        let isSecure = target.scheme == "https"
        if wasSecure != isSecure {
            let keepsSafe = policy.predicates.contains {
                if case .safeCrossScheme = $0 { true } else { false }
            }
            guard policy.allowsCrossScheme else {
                stats.passthroughInternalRedirectUnsafeScheme.add()
                return false
            }
            // A request that came in the clear is not taken for one that did not.
            guard !(keepsSafe && isSecure) else {
                stats.passthroughInternalRedirectPredicate.add()
                return false
            }
        }
        let before = (
            authority: head.string(.authority) ?? "", path: head.string(.path) ?? "",
            scheme: head.string(.scheme) ?? "", method: head.string(.method) ?? ""
        )
        func restore() {
            head.set(.authority, before.authority)
            head.set(.path, before.path)
            head.set(.scheme, before.scheme)
            head.set(.method, before.method)
        }
        head.set(.authority, target.authority)
        head.set(.path, target.path)
        head.set(.scheme, target.scheme)
        // RFC 9110 §15.4.4: the answer to a POST lies elsewhere and is fetched.
        if status == 303, before.method != "HEAD" { head.set(.method, "GET") }
        let decision = stream.settings.routes.route(
            head,
            stream.info,
            random: stream.worker.random.next()
        )
        guard case .route(let next) = decision else {
            stats.passthroughInternalRedirectNoRoute.add()
            restore()
            return false
        }
        guard passes(policy.predicates, next, previous, stream) else {
            stats.passthroughInternalRedirectPredicate.add()
            restore()
            return false
        }
        // The next upstream learns what the client had asked for.
        if status == 303 { head.remove(.contentLength) }
        let original = "\(before.scheme)://\(before.authority)\(before.path)"
        head.set(HeaderName("x-envoy-original-url"), original)
        stream.redirected(to: next)
        return true
    }

    private static func passes(
        _ predicates: [InternalRedirectConfig.Predicate],
        _ next: RouteSelection,
        _ previous: RouteSelection?,
        _ stream: HTTPStream
    ) -> Bool {
        predicates.allSatisfy { predicate in
            switch predicate {
            case .previousRoutes: !stream.hasVisited(next.route)
            case .allowListedRoutes(let names): names.contains(next.route.labels.name)
            case .safeCrossScheme: true
            }
        }
    }

    /// An absolute URL, or an absolute path on the same host.
    private struct Target {
        var scheme: String
        var authority: String
        var path: String

        init?(_ location: String, relativeTo head: HeaderMap) {
            if location.hasPrefix("/") {
                scheme = head.string(.scheme) ?? "http"
                authority = head.string(.authority) ?? ""
                path = Self.withoutFragment(location)
                return
            }
            guard let separator = location.range(of: "://") else { return nil }
            scheme = location[..<separator.lowerBound].lowercased()
            guard scheme == "http" || scheme == "https" else { return nil }
            let rest = location[separator.upperBound...]
            let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
            authority = String(rest[..<end])
            guard !authority.isEmpty else { return nil }
            path = rest[end...].hasPrefix("/") ? String(rest[end...]) : "/" + rest[end...]
            path = Self.withoutFragment(path)
        }

        private static func withoutFragment(_ path: String) -> String {
            path.firstIndex(of: "#").map { String(path[..<$0]) } ?? path
        }
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
