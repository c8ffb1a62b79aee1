import MeshConfig
import MeshHTTP
import MeshNet

/// What a route does to the path and host of a request it forwards.
struct PathAndHostRewrite {
    private enum Path {
        case prefix([UInt8])
        case regex(Regex, [UInt8])
    }

    private enum Host {
        case literal(String)
        case header(HeaderName)
        case pathRegex(Regex, [UInt8])
    }

    private let path: Path?
    private let host: Host?
    private let appendsForwardedHost: Bool
    /// Whether the host becomes the chosen endpoint's name (envoy: auto_host_rewrite).
    let usesUpstreamHost: Bool

    init(_ action: RouteActionConfig) {
        switch action.pathRewrite {
        case .prefix(let text): path = .prefix(Array(text.utf8))
        case .regex(let rule): path = rule.regex.map { .regex($0, Array(rule.substitution.utf8)) }
        case nil: path = nil
        }
        var usesUpstreamHost = false
        switch action.hostRewrite {
        case .literal(let text): host = .literal(text)
        case .header(let name): host = .header(HeaderName(name))
        case .pathRegex(let rule):
            host = rule.regex.map { .pathRegex($0, Array(rule.substitution.utf8)) }
        case .upstreamHost:
            usesUpstreamHost = true
            host = nil
        case nil: host = nil
        }
        self.usesUpstreamHost = usesUpstreamHost
        appendsForwardedHost = action.appendsForwardedHost
    }

    var isEmpty: Bool { path == nil && host == nil }

    /// Host first: its regex sees the path as it came.
    ///
    /// - Parameters:
    ///   - matchedSize: how much of the path the route's rule matched.
    ///   - literalHost: a host that wins over the route's own, from a weighted cluster.
    ///   - keepsOriginals: whether `x-envoy-original-path` and `-host` are set.
    func apply(
        to head: HeaderMap,
        matchedSize: Int,
        literalHost: String?,
        keepsOriginals: Bool
    ) {
        if let literalHost {
            Self.setHost(
                literalHost,
                head,
                appendsForwarded: false,
                keepsOriginal: false
            )
        }
        rewriteHost(head, keepsOriginal: keepsOriginals)
        rewritePath(head, matchedSize: matchedSize, keepsOriginal: keepsOriginals)
    }

    /// To be called for each attempt once its endpoint is known.
    func setUpstreamHost(_ name: String, _ head: HeaderMap, keepsOriginal: Bool) {
        guard usesUpstreamHost, !name.isEmpty else { return }
        Self.setHost(
            name,
            head,
            appendsForwarded: appendsForwardedHost,
            keepsOriginal: keepsOriginal
        )
    }

    private func rewriteHost(_ head: HeaderMap, keepsOriginal: Bool) {
        switch host {
        case .literal(let text):
            Self.setHost(
                text,
                head,
                appendsForwarded: appendsForwardedHost,
                keepsOriginal: keepsOriginal
            )
        case .header(let name):
            guard let value = head.first(name), !value.isEmpty else { return }
            Self.setHost(
                String(bytes: value),
                head,
                appendsForwarded: appendsForwardedHost,
                keepsOriginal: keepsOriginal
            )
        case .pathRegex(let regex, let substitution):
            guard let path = head[.path] else { return }
            let bare = Bytes(rebasing: path[..<PathNormalization.querylessSize(path)])
            let text = substitution.withUnsafeBytes { rewrite in
                regex.replaceAll(in: bare, with: rewrite) { String(bytes: $0) }
            }
            Self.setHost(
                text,
                head,
                appendsForwarded: appendsForwardedHost,
                keepsOriginal: keepsOriginal
            )
        case nil: break
        }
    }

    private static func setHost(
        _ name: String,
        _ head: HeaderMap,
        appendsForwarded: Bool,
        keepsOriginal: Bool
    ) {
        if let host = head[.authority], !host.isEmpty {
            if appendsForwarded, !isLastForwarded(host, head) {
                RequestSanitizer.appendListItem(
                    String(bytes: host),
                    to: .forwardedHost,
                    of: head,
                    separator: ","
                )
            }
            if keepsOriginal, let host = head[.authority] { head.set(.envoyOriginalHost, host) }
        }
        head.set(.authority, name)
    }

    /// Whether the host is the last item of `x-forwarded-host` already.
    private static func isLastForwarded(_ host: Bytes, _ head: HeaderMap) -> Bool {
        var isLast = false
        head.forEachValue(.forwardedHost) { list in
            let last = list.split(separator: UInt8(ascii: ",")).last
            isLast = last.map { Bytes(rebasing: $0).equals(host) } ?? isLast
        }
        return isLast
    }

    private func rewritePath(_ head: HeaderMap, matchedSize: Int, keepsOriginal: Bool) {
        guard let rule = path, let path = head[.path] else { return }
        if keepsOriginal { head.set(.envoyOriginalPath, path) }
        guard let path = head[.path] else { return }
        var result = ByteBuffer()
        switch rule {
        case .prefix(let text):
            text.withUnsafeBytes { result.append($0) }
            result.append(Bytes(rebasing: path[min(matchedSize, path.count)...]))
        case .regex(let regex, let substitution):
            Self.substitute(regex, substitution, in: path, &result)
        }
        head.set(.path, result.bytes)
    }

    /// The path substituted, the query kept.
    static func substitute(
        _ regex: Regex,
        _ substitution: [UInt8],
        in path: Bytes,
        _ result: inout ByteBuffer
    ) {
        let size = PathNormalization.querylessSize(path)
        substitution.withUnsafeBytes { rewrite in
            regex.replaceAll(in: Bytes(rebasing: path[..<size]), with: rewrite, into: &result)
        }
        result.append(Bytes(rebasing: path[size...]))
    }
}
