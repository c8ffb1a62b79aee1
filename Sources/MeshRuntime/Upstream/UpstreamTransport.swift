import MeshNet

/// Which transport socket an endpoint's connections get.
package protocol UpstreamTransports: Sendable {
    /// Asked once per endpoint and update.
    func transport(for endpoint: EndpointSpec) -> any UpstreamTransport
}

/// Makes the transport of each new connection. Shared by all workers.
package protocol UpstreamTransport: AnyObject, Sendable {
    var isTLS: Bool { get }
    /// - Parameter usualALPN: what is spoken on the connection, where configuration does not say what to
    ///   offer.
    /// - Returns: nil for plain TCP.
    func makeSession(
        for endpoint: EndpointSpec,
        _ identity: ConnectionIdentity?,
        usualALPN: [String]
    ) -> (any SecureTransport)?
    /// What goes with a connection to a listener inside the process.
    func passed(to endpoint: EndpointSpec, _ identity: ConnectionIdentity?) -> PassedState?
}

extension UpstreamTransport {
    package func passed(to endpoint: EndpointSpec, _ identity: ConnectionIdentity?)
        -> PassedState?
    { nil }
}

/// Plain TCP (envoy: transport_sockets.raw_buffer).
package final class PlainTransport: UpstreamTransport {
    package init() {}
    package var isTLS: Bool { false }
    package func makeSession(
        for endpoint: EndpointSpec,
        _ identity: ConnectionIdentity?,
        usualALPN: [String]
    ) -> (any SecureTransport)? { nil }
}

/// The same for every endpoint.
package struct UniformTransports: UpstreamTransports {
    private let transport: any UpstreamTransport
    package init(_ transport: any UpstreamTransport = PlainTransport()) {
        self.transport = transport
    }
    package func transport(for endpoint: EndpointSpec) -> any UpstreamTransport { transport }
}

/// By the endpoint's metadata, the first match wins (envoy: transport_socket_matches).
package struct MatchedTransports: UpstreamTransports {
    private let matches: [(wanted: [String: MetadataValue], transport: any UpstreamTransport)]
    private let fallback: any UpstreamTransport

    package init(
        _ matches: [(wanted: [String: MetadataValue], transport: any UpstreamTransport)],
        fallback: any UpstreamTransport
    ) {
        self.matches = matches
        self.fallback = fallback
    }

    package func transport(for endpoint: EndpointSpec) -> any UpstreamTransport {
        let has = endpoint.metadata["envoy.transport_socket_match"] ?? [:]
        let match = matches.first { $0.wanted.allSatisfy { has[$0.key] == $0.value } }
        return match?.transport ?? fallback
    }
}

/// TLS towards an upstream. Its context may be exchanged while workers use it: new connections get the
/// new one.
package final class UpstreamTLSTransport: UpstreamTransport {
    /// Sent where neither the request nor the endpoint says otherwise; empty for none.
    private let serverName: String
    /// The endpoint's host name comes before ``serverName`` (envoy: auto_host_sni).
    private let prefersHostname: Bool
    private let slot: TLSContextSlot

    package init(_ slot: TLSContextSlot, serverName: String, prefersHostname: Bool) {

        self.slot = slot
        self.serverName = serverName
        self.prefersHostname = prefersHostname
    }

    package var isTLS: Bool { true }

    package func makeSession(
        for endpoint: EndpointSpec,
        _ identity: ConnectionIdentity?,
        usualALPN: [String]
    ) -> (any SecureTransport)? {
        var name = serverName
        if prefersHostname, !endpoint.hostname.isEmpty { name = endpoint.hostname }
        if let asked = identity?.serverName, !asked.isEmpty { name = asked }
        return TLSSession(
            client: slot.load(),
            serverName: name.isEmpty ? nil : name,
            peerName: identity?.verifiedNames.first,
            usualALPN: usualALPN
        )
    }
}
