import MeshConfig
import MeshHTTP
import MeshNet

/// Writes the `location` of a redirect (envoy: Http::Utility::newUri).
package struct RedirectLocation {
    private enum Path {
        case replaced([UInt8], hasQuery: Bool)
        case prefix([UInt8])
        case regex(Regex, [UInt8])
    }

    package let status: Int
    private let scheme: String?
    private let host: String?
    private let port: UInt16?
    private let path: Path?
    private let stripsQuery: Bool

    init(_ config: RedirectConfig) {
        status = config.code.status
        scheme = config.scheme
        host = config.host
        port = config.port
        stripsQuery = config.stripsQuery
        switch config.pathRule {
        case .path(let text):
            path = .replaced(Array(text.utf8), hasQuery: text.utf8.contains(UInt8(ascii: "?")))
        case .prefix(let text): path = .prefix(Array(text.utf8))
        case .regex(let rule): path = rule.regex.map { .regex($0, Array(rule.substitution.utf8)) }
        case nil: path = nil
        }
    }

    /// The same URL over TLS (envoy: require_tls).
    package static func appendSecure(_ head: HeaderMap, to location: inout ByteBuffer) {
        location.append("https://")
        if let host = head[.authority] { location.append(host) }
        if let path = head[.path] { location.append(path) }
    }

    /// The URL of the request itself, for direct responses whose status asks for a location.
    package static func appendSame(_ head: HeaderMap, to location: inout ByteBuffer) {
        if let scheme = head[.scheme] { location.append(scheme) }
        location.append("://")
        if let host = head[.authority] { location.append(host) }
        if let path = head[.path] { location.append(path) }
    }

    /// - Parameter matchedSize: how much of the path the route's rule matched.
    func append(_ head: HeaderMap, matchedSize: Int, to location: inout ByteBuffer) {
        let requestScheme = head[.scheme] ?? Bytes(start: nil, count: 0)
        if let scheme { location.append(scheme) } else { location.append(requestScheme) }
        location.append("://")
        if let host {
            location.append(host)
        } else if let host = head[.authority] {
            location.append(Bytes(rebasing: host[..<hostSize(host, head)]))
        }
        if let port {
            location.append(byte: UInt8(ascii: ":"))
            location.append(decimal: Int(port))
        }
        appendPath(head, matchedSize, &location)
    }

    /// How much of the request's host is kept: a port goes where another comes, or where it is the
    /// default port of the scheme that changes.
    private func hostSize(_ host: Bytes, _ head: HeaderMap) -> Int {
        guard let colon = HostHeader.portStart(host) else { return host.count }
        if port != nil { return colon }
        let forwarded = head[.forwardedProto]
        let isSame =
            scheme.map { forwarded?.equals($0) ?? false }
            ?? (head[.scheme].flatMap { scheme in forwarded.map { $0.equals(scheme) } } ?? false)
        if isSame { return host.count }
        let text = Bytes(rebasing: host[colon...])
        let isDefault =
            forwarded?.equals("https") == true && text.equals(":443")
            || forwarded?.equals("http") == true && text.equals(":80")
        return isDefault ? colon : host.count
    }

    private func appendPath(_ head: HeaderMap, _ matchedSize: Int, _ location: inout ByteBuffer) {
        guard let request = head[.path] else { return }
        let size = PathNormalization.querylessSize(request)
        switch path {
        case .replaced(let text, let hasQuery):
            text.withUnsafeBytes { location.append($0) }
            // A query of its own wins over the request's, and is not stripped.
            if !hasQuery, !stripsQuery { location.append(Bytes(rebasing: request[size...])) }
            return
        case .prefix(let text):
            let start = min(matchedSize, request.count)
            var whole = ByteBuffer()
            text.withUnsafeBytes { whole.append($0) }
            whole.append(Bytes(rebasing: request[start...]))
            append(whole.bytes, &location)
        case .regex(let regex, let substitution):
            var whole = ByteBuffer()
            PathAndHostRewrite.substitute(regex, substitution, in: request, &whole)
            append(whole.bytes, &location)
        case nil: append(request, &location)
        }
    }

    private func append(_ path: Bytes, _ location: inout ByteBuffer) {
        let size = stripsQuery ? PathNormalization.querylessSize(path) : path.count
        location.append(Bytes(rebasing: path[..<size]))
    }
}

extension UnsafeRawBufferPointer {
    func equals(_ text: String) -> Bool {
        var text = text
        return text.withUTF8 { equals(UnsafeRawBufferPointer($0)) }
    }
}
