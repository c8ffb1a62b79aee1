import MeshConfig
import MeshHTTP
import MeshNet

/// `x-forwarded-client-cert`: what the proxy that ended a client's TLS tells of its certificate.
enum ForwardedClientCertificate {
    /// Sets, extends, keeps or removes the field (envoy: forward_client_cert_details).
    static func apply(
        _ config: ForwardClientCertConfig,
        to head: HeaderMap,
        tls: TLSConnectionInfo?
    ) {
        if config.mode == .alwaysForwardOnly { return }
        guard config.mode != .sanitize, let tls, let peer = tls.peer else {
            head.remove(.forwardedClientCert)
            return
        }
        if config.mode == .forwardOnly { return }
        var element = ByteBuffer()
        append(config, tls: tls, peer: peer, to: &element)
        if element.isEmpty { return }
        if config.mode == .appendForward, let before = head[.forwardedClientCert], !before.isEmpty {
            var joined = ByteBuffer()
            head.forEachValue(.forwardedClientCert) { value in
                if !joined.isEmpty { joined.append(byte: UInt8(ascii: ",")) }
                joined.append(value)
            }
            joined.append(byte: UInt8(ascii: ","))
            joined.append(element.bytes)
            head.set(.forwardedClientCert, joined.bytes)
        } else {
            head.set(.forwardedClientCert, element.bytes)
        }
    }

    private static func append(
        _ config: ForwardClientCertConfig,
        tls: TLSConnectionInfo,
        peer: CertificateInfo,
        to element: inout ByteBuffer
    ) {
        func add(_ key: StaticString, _ value: String, quoted: Bool = false) {
            if !element.isEmpty { element.append(byte: UInt8(ascii: ";")) }
            element.append(key)
            element.append(byte: UInt8(ascii: "="))
            if quoted { element.append(byte: UInt8(ascii: "\"")) }
            element.append(value)
            if quoted { element.append(byte: UInt8(ascii: "\"")) }
        }
        for uri in tls.local?.uriSANs ?? [] { add("By", uri) }
        if !peer.sha256.isEmpty { add("Hash", peer.sha256) }
        if config.includesCertificate { add("Cert", escaped(peer.pem), quoted: true) }
        if config.includesChain { add("Chain", escaped(peer.chainPEM), quoted: true) }
        // Names are RFC 2253 text, in which a quotation mark is escaped already. The keys stand there
        // even where there is no value.
        if config.includesSubject { add("Subject", peer.subject, quoted: true) }
        if config.includesURI {
            if peer.uriSANs.isEmpty { add("URI", "") }
            for uri in peer.uriSANs { add("URI", uri) }
        }
        if config.includesDNS { for name in peer.dnsSANs { add("DNS", name) } }
        if config.includesIssuer { add("Issuer", peer.issuer, quoted: true) }
    }

    /// PEM with the characters escaped that would break the field.
    private static func escaped(_ pem: String) -> String {
        var result = ""
        for character in pem {
            switch character {
            case "\n": result += "%0A"
            case " ": result += "%20"
            case "+": result += "%2B"
            case "/": result += "%2F"
            case "=": result += "%3D"
            default: result.append(character)
            }
        }
        return result
    }
}
