import MeshConfig
import MeshNet

/// What the environment and the command line ask for. ztunnel's variables keep their names and meaning;
/// a flag beats its variable.
package struct ZtunnelOptions: Sendable {
    package enum Mode: String, CaseIterable, Sendable {
        /// Several workloads of this host, told apart by their addresses.
        case shared
        /// One workload, named by `PROXY_WORKLOAD_INFO`.
        case dedicated
    }

    package enum LogFormat: String, CaseIterable, Sendable { case plain, json }

    /// The one workload of dedicated mode.
    package struct WorkloadInfo: Hashable, Sendable {
        package var namespace: String
        package var name: String
        package var serviceAccount: String
    }

    /// Where the mesh is described.
    package enum Source: Hashable, Sendable {
        case file(String)
        case text(String)
    }

    package var mode = Mode.shared
    package var workload: WorkloadInfo?
    package var source: Source?
    package var checksOnly = false
    package var listsAddresses = false

    package var outboundAddress = Self.wildcard(15001)
    package var inboundPlaintextAddress = Self.wildcard(15006)
    package var inboundAddress = Self.wildcard(15008)
    package var adminAddress = Self.localhost(15000)
    package var statsAddress = Self.wildcard(15020)
    package var readinessAddress = Self.wildcard(15021)
    package var isSOCKS5Enabled = false
    package var socks5Address = Self.localhost(15080)
    package var isIPv6Enabled = true
    /// Where peers take HBONE.
    package var hbonePort: UInt16 = 15008

    package var network = ""
    package var clusterID = "Kubernetes"
    package var nodeName = ""

    package var streamWindowBytes: UInt32 = 4 << 20
    package var connectionWindowBytes: UInt32 = 16 << 20
    package var frameBytes: UInt32 = 1 << 20
    package var poolStreamsMax = 100
    package var poolUnusedRelease = Nanoseconds.seconds(300)

    package var workers: Int?
    package var terminationDeadline = Nanoseconds.seconds(5)
    package var packetMark: UInt32?
    /// Connect to local workloads from the client's own address; nil: where packets are marked, which is
    /// what brings the replies back.
    package var usesOriginalSource: Bool?
    package var allowsLocalhostTunnel = true
    /// Granted tunnels say who the workload is.
    package var sendsResponseBaggage = true
    package var keepAlive: SocketOptions.KeepAlive? = .init(
        probes: 9,
        idleSeconds: 180,
        intervalSeconds: 180
    )
    package var isUserTimeoutEnabled = false

    package var usesDevelopmentAuthority = false
    package var authorityDirectory: String?
    package var certificateDirectory: String?
    package var certificateLifetime = Nanoseconds.seconds(24 * 3600)
    package var allowsTLS12 = false
    package var revocationListPath: String?

    package var logFilter = LogFilter()
    package var logFormat = LogFormat.plain

    package init() {}

    /// Where certificates come from; the parser has made sure that there is one source.
    var identitySource: IdentitySource {
        if let certificateDirectory { return .directory(certificateDirectory) }
        return .developmentAuthority(lifetime: certificateLifetime, directory: authorityDirectory)
    }

    private static func wildcard(_ port: UInt16) -> SocketAddress {
        .ip(IPAddress(ipv6High: 0, low: 0), port: port)
    }

    private static func localhost(_ port: UInt16) -> SocketAddress {
        .ip(IPAddress(ipv4: 0x7F00_0001), port: port)
    }

    /// Ports nobody may be sent to through us: that would be a loop.
    package var ownPorts: [UInt16] {
        [outboundAddress, inboundPlaintextAddress, inboundAddress].compactMap(\.port)
            + (isSOCKS5Enabled ? [socks5Address.port].compactMap { $0 } : [])
    }
}
