import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// One condition of a route, for saying which of them a request failed first.
package enum RouteCondition: Equatable {
    case path
    case runtimeFraction
    case grpc
    /// Place in the configuration's list.
    case header(Int)
    case queryParameter(Int)
    case cookie(Int)
    case clientCertificatePresented
    case clientCertificateValidated
    case metadata(Int)
    case filterState(Int)
}

/// A request as routes look at it: taken apart once, borrowed for one decision.
struct RoutedRequest {
    let head: HeaderMap
    let stream: StreamInfo
    /// Without query, and without parameters where the table ignores them. Empty where there is none.
    let path: Bytes
    /// What follows the question mark.
    let query: Bytes
    let random: UInt64

    init(_ head: HeaderMap, _ stream: StreamInfo, random: UInt64, ignoresParameters: Bool) {
        self.head = head
        self.stream = stream
        self.random = random
        let whole = head[.path] ?? Bytes(start: nil, count: 0)
        var end = PathNormalization.querylessSize(whole)
        query =
            end < whole.count ? Bytes(rebasing: whole[(end + 1)...]) : Bytes(start: nil, count: 0)
        if ignoresParameters {
            var semicolon = 0
            while semicolon < end, whole[semicolon] != UInt8(ascii: ";") { semicolon &+= 1 }
            end = semicolon
        }
        path = Bytes(rebasing: whole[..<end])
    }
}

/// Decides whether a route is for a request. Allocates nothing.
package final class RouteMatcher {
    package let config: RouteMatchConfig
    private let text: [UInt8]
    private let fraction: FractionalPercent?
    private let headers: [HeaderMatcher]

    /// - Parameter share: what the runtime says of a share it may override.
    init(_ config: RouteMatchConfig, share: (RuntimeFractionalPercent) -> FractionalPercent) {
        self.config = config
        switch config.pathRule {
        case .prefix(let text), .path(let text), .separatedPrefix(let text):
            self.text = Array(text.utf8)
        case .regex, .template, .connect: text = []
        }
        fraction = config.runtimeFraction.map(share)
        headers = config.headers.map { HeaderMatcher($0) }
    }

    /// The first condition that does not hold; nil where the route is for this request.
    func mismatch(_ request: RoutedRequest) -> RouteCondition? {
        guard matchesPath(request) else { return .path }
        if let fraction, !fraction.contains(random: request.random) { return .runtimeFraction }
        if config.isGRPCOnly, !GRPC.isRequest(request.head) { return .grpc }
        for at in headers.indices where !headers[at].matches(request.head) { return .header(at) }
        for at in config.queryParameters.indices
        where !config.queryParameters[at].matches(query: request.query) {
            return .queryParameter(at)
        }
        for at in config.cookies.indices where !matches(config.cookies[at], request.head) {
            return .cookie(at)
        }
        return connectionMismatch(request.stream)
    }

    /// How much of the path a prefix rewrite replaces: what the rule names, or the whole path.
    func matchedSize(_ path: Bytes) -> Int {
        switch config.pathRule {
        case .prefix, .path, .separatedPrefix: min(text.count, path.count)
        case .regex, .template, .connect: PathNormalization.querylessSize(path)
        }
    }

    // MARK: Path

    private func matchesPath(_ request: RoutedRequest) -> Bool {
        let path = request.path
        switch config.pathRule {
        case .prefix: return begins(path)
        case .path: return path.count == text.count && begins(path)
        case .separatedPrefix:
            return begins(path)
                && (path.count == text.count || path[text.count] == UInt8(ascii: "/"))
        case .regex(let regex): return !path.isEmpty && regex.fullMatch(path)
        case .template(let template): return !path.isEmpty && template.matches(path)
        case .connect: return request.head[.method]?.equals("CONNECT") ?? false
        }
    }

    private func begins(_ path: Bytes) -> Bool {
        guard path.count >= text.count, !path.isEmpty else { return false }
        return text.withUnsafeBytes { wanted in
            let start = Bytes(rebasing: path[..<wanted.count])
            if config.isCaseSensitive { return start.equals(wanted) }
            for at in 0..<wanted.count where Self.lower(start[at]) != Self.lower(wanted[at]) {
                return false
            }
            return true
        }
    }

    private static func lower(_ byte: UInt8) -> UInt8 { byte &- 0x41 < 26 ? byte | 0x20 : byte }

    // MARK: Cookies

    /// RFC 6265 §4.2.1: `name=value` pairs with semicolons between. The first of a name counts.
    private func matches(_ cookie: CookieMatchConfig, _ head: HeaderMap) -> Bool {
        var name = cookie.name
        let found: Bool? = name.withUTF8 { wanted in
            var result: Bool?
            head.forEachValue(.cookie) { value in
                if result != nil { return }
                result = Self.value(of: Bytes(wanted), in: value) { cookie.match.matches($0) }
            }
            return result
        }
        // A missing cookie fails, inverted or not... unless it is to be absent.
        guard let found else { return cookie.isInverted }
        return found != cookie.isInverted
    }

    private static func value(of name: Bytes, in list: Bytes, _ body: (Bytes) -> Bool) -> Bool? {
        var at = 0
        while at < list.count {
            while at < list.count, list[at] == 0x20 || list[at] == UInt8(ascii: ";") { at &+= 1 }
            var end = at
            while end < list.count, list[end] != UInt8(ascii: ";") { end &+= 1 }
            let pair = Bytes(rebasing: list[at..<end])
            at = end
            guard let equals = pair.firstIndex(of: UInt8(ascii: "=")),
                Bytes(rebasing: pair[..<equals]).equals(name)
            else { continue }
            var value = pair[(equals + 1)...]
            while let last = value.last, last == 0x20 { value = value.dropLast() }
            if value.count >= 2, value.first == UInt8(ascii: "\""), value.last == UInt8(ascii: "\"")
            {
                value = value.dropFirst().dropLast()
            }
            return body(Bytes(rebasing: value))
        }
        return nil
    }

    // MARK: Connection and stream

    private func connectionMismatch(_ stream: StreamInfo) -> RouteCondition? {
        if config.certificatePresented != nil || config.certificateValidated != nil {
            let tls = stream.connection.tls
            if let wanted = config.certificatePresented, (tls?.peer != nil) != wanted {
                return .clientCertificatePresented
            }
            if let wanted = config.certificateValidated, (tls?.isPeerVerified ?? false) != wanted {
                return .clientCertificateValidated
            }
        }
        for at in config.dynamicMetadata.indices
        where !config.dynamicMetadata[at].matches(stream.dynamicMetadata) {
            return .metadata(at)
        }
        for at in config.filterState.indices
        where !config.filterState[at].matches(stream.filterStateObject(config.filterState[at].key))
        {
            return .filterState(at)
        }
        return nil
    }
}
