import MeshConfig
import MeshNet
import MeshRuntime

/// What `/explain` is asked: would this connection come about?
struct ConnectionQuestion {
    /// Port 0 where none is given.
    let source: SocketAddress
    /// Whom the source claims to be, instead of what the mesh says of its address.
    let identity: SPIFFEID?
    let destination: IPAddress
    let port: UInt16

    struct Problem: Error, CustomStringConvertible {
        let description: String
    }

    init(source: SocketAddress, identity: SPIFFEID?, destination: IPAddress, port: UInt16) {
        self.source = source
        self.identity = identity
        self.destination = destination
        self.port = port
    }

    init(_ request: AdminRequest, _ state: MeshState) throws(Problem) {
        let source = request["src"] ?? ""
        if let address = IPAddress(source) {
            self.source = .ip(address, port: 0)
        } else if let parts = Self.hostAndPort(source), let address = IPAddress(parts.host) {
            self.source = .ip(address, port: parts.port)
        } else {
            throw Problem(description: "src: not IP or IP:PORT: \"\(source)\"")
        }
        let destination = request["dst"] ?? ""
        guard let parts = Self.hostAndPort(destination) else {
            throw Problem(description: "dst: not IP:PORT or HOSTNAME:PORT: \"\(destination)\"")
        }
        port = parts.port
        if let address = IPAddress(parts.host) {
            self.destination = address
        } else if let service = state.service(hostname: parts.host) {
            guard let vip = service.vips.first(where: { $0.network == state.network }) else {
                throw Problem(description: "dst: \(parts.host) has no address in our network")
            }
            self.destination = vip.address
        } else {
            throw Problem(description: "dst: no service has the hostname \(parts.host)")
        }
        let name = request["src_identity"] ?? ""
        if name.isEmpty {
            identity = nil
        } else {
            identity = SPIFFEID(name)
            if identity == nil {
                throw Problem(
                    description: "src_identity: not spiffe://<td>/ns/<ns>/sa/<sa>: \"\(name)\""
                )
            }
        }
    }

    /// `host:port` and `[v6]:port`.
    private static func hostAndPort(_ text: String) -> (host: String, port: UInt16)? {
        guard let colon = text.lastIndex(of: ":"),
            let port = UInt16(text[text.index(after: colon)...])
        else { return nil }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        return host.isEmpty ? nil : (String(host), port)
    }
}
