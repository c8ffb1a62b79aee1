import MeshNet

/// A parsed response head made fit for the stream: framing decided, fields of this hop taken off.
struct HTTP1ResponseHead {
    let framing: HTTP1Framing
    let keepsAlive: Bool

    /// A function and not an initialiser, which would retain the map for nothing.
    static func read(
        _ parser: HTTP1Parser,
        _ head: HeaderMap,
        request: HTTP1Method,
        isUpgrade: Bool,
        settings: HTTP1Settings
    ) throws(HTTP1Fault) -> HTTP1ResponseHead {
        let status = parser.status
        // Host means nothing in a response; under its other name it would become a pseudo-header.
        if parser.has(.authority) { head.remove(.authority) }
        let declared: HTTP1Framing?
        if status < 200 || status == 204 {
            // No body and nothing that announces one (RFC 9110 §8.6, RFC 9112 §6.1). A zero length is
            // a harmless habit of some servers (envoy: strict_1xx_and_204_response_headers).
            guard !parser.has(.transferEncoding) else { throw .transferCodingNotAllowed }
            if parser.has(.contentLength) {
                guard let value = head[.contentLength], value.equals("0"),
                    head.occurrences(.contentLength) == 1
                else { throw .contentLengthNotAllowed }
                head.remove(.contentLength)
            }
            declared = nil
        } else {
            declared = try HTTP1Framing.declared(
                parser,
                head,
                allowsChunkedLength: settings.allowChunkedLength
            )
        }

        let hop = try HTTP1HopByHop.take(parser, head, isRequest: false)
        let keepsAlive = !hop.wantsClose && (parser.version == .http11 || hop.wantsKeepAlive)
        if status == 101 {
            guard isUpgrade, hop.wantsUpgrade else { throw .unrequestedSwitch }
            return HTTP1ResponseHead(framing: .tunnel, keepsAlive: keepsAlive)
        }
        if hop.wantsUpgrade {
            head.remove(.connection)
            head.remove(.upgrade)
        }
        let framing: HTTP1Framing
        if status < 200 {
            framing = .none
        } else if request == .connect, status / 100 == 2 {
            // Framing fields of a granted CONNECT have no meaning (RFC 9110 §9.3.6).
            guard declared != .chunked else { throw .transferCodingNotAllowed }
            head.remove(.contentLength)
            framing = .tunnel
        } else if request == .head || status == 204 || status == 304 {
            framing = .none
        } else {
            framing = declared ?? .untilClose
        }
        return HTTP1ResponseHead(framing: framing, keepsAlive: keepsAlive)
    }
}
