import MeshConfig
import MeshHTTP
import MeshNet

/// A request to be explained that nobody has sent: the body of `POST /explain`.
package struct ExplainRequest {
    /// Name or address; empty where there is only one listener.
    package let listener: String
    /// The peer's name: a URI, or a DNS name. Nil: no client certificate.
    package let from: String?
    package let sourceAddress: IPAddress
    package let destination: IPAddress?
    package let destinationPort: UInt16?
    /// What came with the connection, by key.
    package let filterState: [String: String]
    package let isTLS: Bool
    package let serverName: String
    package let alpn: [String]
    package let method: String
    package let path: String
    package let authority: String
    package let headers: [(name: String, value: String)]
    /// Decides shares of traffic.
    package let random: UInt64

    package init(_ object: ConfigObject) {
        listener = object.string("listener", default: "")
        from = object.string("from")
        serverName = object.string("sni", default: "").lowercased()
        isTLS = object.bool("tls") ?? (from != nil || !serverName.isEmpty)
        if !isTLS, from != nil || !serverName.isEmpty {
            object.error("must not be false beside from or sni, which are of TLS", at: "tls")
        }
        alpn = object.strings("alpn")
        sourceAddress = Self.address(object, "source_ip") ?? IPAddress(ipv4: 0x7F00_0001)
        destination = Self.address(object, "destination_ip")
        let port = object.uint32("destination_port")
        if let port, port > 65_535 { object.error("\(port) is no port", at: "destination_port") }
        destinationPort = port.map { UInt16(clamping: $0) }
        filterState = Self.filterState(object)
        method = object.string("method", default: "GET")
        path = object.string("path", default: "/")
        authority = object.string("authority", default: "")
        headers = Self.headers(object)
        random = object.uint64("random", default: 0)
    }

    private static func address(_ object: ConfigObject, _ key: String) -> IPAddress? {
        guard let text = object.string(key) else { return nil }
        let address = IPAddress(text)
        if address == nil { object.error("\"\(text)\" is not an IP address", at: key) }
        return address
    }

    private static func filterState(_ object: ConfigObject) -> [String: String] {
        var state: [String: String] = [:]
        for (key, value) in object.entries("filter_state") {
            if case .string(let text) = value {
                state[key] = text
            } else {
                object.error("the value of \"\(key)\" must be a string", at: "filter_state")
            }
        }
        return state
    }

    /// Each value is a string, or a list of them for a field that is repeated.
    private static func headers(_ object: ConfigObject) -> [(name: String, value: String)] {
        var fields: [(name: String, value: String)] = []
        for (name, value) in object.entries("headers") {
            switch value {
            case .string(let text): fields.append((name, text))
            case .list(let values):
                for value in values {
                    guard case .string(let text) = value else {
                        object.error("the values of \"\(name)\" must be strings", at: "headers")
                        continue
                    }
                    fields.append((name, text))
                }
            default:
                object.error("the value of \"\(name)\" must be a string or a list", at: "headers")
            }
        }
        return fields
    }

    /// The head as a codec would have given it.
    package func makeHead() -> HeaderMap {
        let head = HeaderMap()
        head.append(.method, method)
        head.append(.path, path)
        if !authority.isEmpty { head.append(.authority, authority) }
        for (name, value) in headers { head.append(HeaderName(name), value) }
        return head
    }

    /// The certificate its peer would have presented.
    package var certificate: CertificateInfo? {
        guard let from else { return nil }
        return from.contains("://")
            ? CertificateInfo(uriSANs: [from]) : CertificateInfo(dnsSANs: [from])
    }
}
