import MeshNet

/// An application of `source` connects to `destination`.
package struct OutboundRequest: Sendable {
    package var source: Workload
    package var destination: IPAddress
    package var port: UInt16
    /// The application's own address: with the identity it tells a waypoint's own traffic.
    package var sourceAddress: IPAddress
    /// Where agents take HBONE, 15008.
    package var hbonePort: UInt16

    package init(
        source: Workload,
        destination: IPAddress,
        port: UInt16,
        sourceAddress: IPAddress,
        hbonePort: UInt16
    ) {
        self.source = source
        self.destination = destination
        self.port = port
        self.sourceAddress = sourceAddress
        self.hbonePort = hbonePort
    }
}

/// Where an outbound connection goes.
package enum OutboundRoute: Sendable {
    case tunnel(TunnelRoute)
    /// A known workload that speaks plain TCP.
    case direct(DirectRoute)
    /// Nobody we know: plain TCP to where the client meant.
    case passthrough
    /// As ztunnel words it, e.g. `no healthy upstream: 10.0.0.1:80`.
    case refused(String)
}

package struct TunnelRoute: Sendable {
    /// Where HBONE is spoken.
    package var gateway: SocketAddress
    /// `:authority` of the CONNECT.
    package var authority: String
    /// Sorted; the peer must present one of them.
    package var identities: [SPIFFEID]
    /// The peer: the waypoint's for waypoints.
    package var workload: Workload?
    /// What the client meant.
    package var service: Service?
    package var isWaypoint: Bool
    /// For `forwarded: host=`.
    package var forwardedHost: String?
}

package struct DirectRoute: Sendable {
    package var address: SocketAddress
    package var workload: Workload
    package var service: Service?
}

/// A CONNECT that came in.
package struct InboundRequest: Sendable {
    package var authority: String
    /// Where the HBONE connection came in.
    package var localAddress: SocketAddress
    /// Ours, at that address.
    package var workload: Workload
    /// Our own ports, which nothing may be forwarded to.
    package var illegalPorts: [UInt16]
    /// `host` of the `forwarded` header, which helps to tell the service; nobody is believed.
    package var forwardedHost: String?

    package init(
        authority: String,
        localAddress: SocketAddress,
        workload: Workload,
        illegalPorts: [UInt16],
        forwardedHost: String? = nil
    ) {
        self.authority = authority
        self.localAddress = localAddress
        self.workload = workload
        self.illegalPorts = illegalPorts
        self.forwardedHost = forwardedHost
    }
}

package enum InboundRoute: Sendable {
    case connect(InboundTarget)
    /// 400 or 503, in ztunnel's words.
    case refused(status: Int, reason: String)
}

package struct InboundTarget: Sendable {
    /// Where to connect to.
    package var address: SocketAddress
    /// What policies see as the destination: the workload's own address, also where ``address`` is the
    /// loopback's.
    package var destination: SocketAddress
    package var service: Service?
    /// PROXY v2 goes first.
    package var proxyProtocol: Bool
    /// What the client meant, for PROXY v2.
    package var tunnelTarget: SocketAddress
}
