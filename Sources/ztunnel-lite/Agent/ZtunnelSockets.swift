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
    /// What was asked for and is not to be had, for the log.
    package private(set) var notes: [String] = []

    private let system: any System
    private let options: ZtunnelOptions

    /// Opens one socket per port and worker (SO_REUSEPORT), so that the kernel spreads connections.
    package init(
        _ options: inout ZtunnelOptions,
        workers: Int,
        system: any System
    ) throws(ZtunnelError) {
        self.system = system
        self.options = options
        sockets = Array(repeating: [], count: workers)
        let isMarked = try markIsPermitted(options)
        if !isMarked { options.packetMark = nil }
        if options.usesOriginalSource != false {
            canBorrowSources = isPermitted { $0.transparent = true }
            guard canBorrowSources || options.usesOriginalSource == nil else {
                throw ZtunnelError(
                    "ENABLE_ORIG_SRC is true, but the system does not let us use other addresses;"
                        + " it takes CAP_NET_ADMIN"
                )
            }
        }
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

    private mutating func markIsPermitted(_ options: ZtunnelOptions) throws(ZtunnelError) -> Bool {
        guard let mark = options.packetMark else { return true }
        if isPermitted({ $0.mark = mark }) { return true }
        throw ZtunnelError(
            "PACKET_MARK: the system does not let us mark packets; it takes CAP_NET_ADMIN"
        )
    }

    private mutating func open(
        _ purpose: ZtunnelSocket.Purpose,
        _ wanted: SocketAddress
    ) throws(ZtunnelError) {
        var listening = ListenOptions()
        // Accepts what a TPROXY rule sends here, whatever its address.
        listening.transparent = canBorrowSources
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
