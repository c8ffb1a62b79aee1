import MeshNet

/// Why the agent could not start, in one sentence for the operator.
package struct ZtunnelError: Error, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}

/// The listening sockets of all workers, and what the system lets us do with sockets at all.
package struct ZtunnelSockets {
    /// By worker.
    package private(set) var sockets: [[ZtunnelSocket]] = []
    /// With the port the system chose where 0 was asked for.
    package private(set) var addresses: [(purpose: ZtunnelSocket.Purpose, address: SocketAddress)] =
        []
    /// Sockets may be bound to addresses that are not ours (CAP_NET_ADMIN).
    package private(set) var canBorrowSources = false
    /// Listeners take what a TPROXY rule sends them, whatever its address.
    private var isTransparent = false
    /// Somebody asked for marked packets.
    private var wasMarked = false
    private let system: any System
    private var options: ZtunnelOptions

    /// ztunnel's mark.
    private static let markDefault: UInt32 = 1337

    /// Opens one socket per port and worker (SO_REUSEPORT), so that the kernel spreads connections.
    package init(
        _ options: inout ZtunnelOptions,
        workers: Int,
        system: any System
    ) throws(ZtunnelError) {
        self.system = system
        self.options = options
        sockets = Array(repeating: [], count: workers)
        try decideMark(&options)
        isTransparent = isPermitted { $0.transparent = true }
        // Without marked packets no routing rule could bring the replies back.
        let wantsSources = options.usesOriginalSource ?? wasMarked
        canBorrowSources = wantsSources && isTransparent
        guard canBorrowSources || options.usesOriginalSource != true else {
            throw ZtunnelError(
                "ENABLE_ORIG_SRC is true, but the system does not let us use other addresses;"
                    + " it takes CAP_NET_ADMIN"
            )
        }
        self.options = options
        try open(.outbound, options.outboundAddress)
        try open(.inbound, options.inboundAddress)
        try open(.inboundPlaintext, options.inboundPlaintextAddress)
        if options.isSOCKS5Enabled { try open(.socks5, options.socks5Address) }
    }

    private func isPermitted(_ change: (inout ListenOptions) -> Void) -> Bool {
        var listening = ListenOptions()
        change(&listening)
        let anywhere = SocketAddress.ip(IPAddress(ipv4: 0x7F00_0001), port: 0)
        guard let probe = try? system.listen(on: anywhere, options: listening) else { return false }
        system.close(probe)
        return true
    }

    /// In shared mode packets are marked where that is permitted: others' rules know them by it.
    private mutating func decideMark(_ options: inout ZtunnelOptions) throws(ZtunnelError) {
        let wanted = options.packetMark
        wasMarked = wanted != nil
        let mark = wanted ?? (options.mode == .shared ? Self.markDefault : nil)
        options.packetMark = mark.flatMap { mark in isPermitted { $0.mark = mark } ? mark : nil }
        guard options.packetMark != nil || wanted == nil else {
            throw ZtunnelError(
                "PACKET_MARK: the system does not let us mark packets; it takes CAP_NET_ADMIN"
            )
        }
    }

    private mutating func open(
        _ purpose: ZtunnelSocket.Purpose,
        _ wanted: SocketAddress
    ) throws(ZtunnelError) {
        var listening = ListenOptions()
        listening.transparent = isTransparent
        listening.mark = options.packetMark
        listening.onlyIPv6 = false
        var bound = options.bindable(wanted)
        for worker in sockets.indices {
            do throws(SystemError) {
                let socket = try system.listen(on: bound, options: listening)
                bound = system.localAddress(of: socket) ?? bound
                sockets[worker].append(ZtunnelSocket(purpose: purpose, socket: socket))
            } catch {
                throw ZtunnelError(
                    "port failed: \(purpose) at \(bound): \(error.reason); is the address in use?"
                )
            }
        }
        addresses.append((purpose, bound))
    }
}

extension ZtunnelOptions {
    /// Without IPv6, `[::]` is 0.0.0.0.
    func bindable(_ address: SocketAddress) -> SocketAddress {
        guard !isIPv6Enabled, case .ip(let ip, let port) = address, ip.isIPv6, ip.high == 0,
            ip.low == 0
        else { return address }
        return .ip(IPAddress(ipv4: 0), port: port)
    }
}
