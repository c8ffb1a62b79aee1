import MeshNet

/// The floor of any proxy on this loop: each connection it accepts gets one of its own to the upstream, and
/// what comes on one leaves on the other. No protocol, no policy, no statistics, no log.
package final class Relay: ListenerDelegate {
    package let address: SocketAddress
    /// Connections under way.
    package internal(set) var sessions = 0

    let loop: EventLoop
    let upstream: SocketAddress
    let upstreamTLS: TLSContext?
    let serverName: String
    private let downstreamTLS: TLSContext?
    private var listener: Listener?

    /// - Parameters:
    ///   - address: port 0 leaves the choice to the kernel.
    ///   - upstreamTLS: and the name sent with it, or none.
    package init(
        loop: EventLoop,
        listen address: SocketAddress,
        upstream: SocketAddress,
        downstreamTLS: TLSContext? = nil,
        upstreamTLS: TLSContext? = nil,
        serverName: String = ""
    ) throws(LoadError) {
        self.loop = loop
        self.upstream = upstream
        self.downstreamTLS = downstreamTLS
        self.upstreamTLS = upstreamTLS
        self.serverName = serverName
        do throws(SystemError) {
            let socket = try loop.system.listen(on: address, options: ListenOptions())
            self.address = loop.system.localAddress(of: socket) ?? address
            listener = try Listener(socket: socket, loop: loop, delegate: self)
        } catch {
            throw LoadError("relay: \(address): cannot listen (\(error)); check --listen")
        }
    }

    package func accepted(_ socket: Socket, from address: SocketAddress) {
        let downstream = Connection(
            accepted: socket,
            loop: loop,
            secure: downstreamTLS.map { TLSSession(server: $0) },
            delegate: RelaySession(self)
        )
        // What fails here has closed itself.
        try? downstream.start()
    }

    package func acceptExhausted(_ error: SystemError) {}
}

/// Two connections that are one to their peers. An end that is full pauses the other, a direction that ends
/// goes on to end there, and what breaks here breaks there: nobody takes a cut stream for a whole one.
final class RelaySession: ConnectionDelegate {
    private let relay: Relay
    private var downstream: Connection?
    private var upstream: Connection?
    private var endedDirections = 0

    init(_ relay: Relay) {
        self.relay = relay
        relay.sessions += 1
    }

    deinit { relay.sessions -= 1 }

    private func other(_ connection: Connection) -> Connection? {
        connection === downstream ? upstream : downstream
    }

    func connectionEstablished(_ connection: Connection) {
        guard downstream == nil else {
            downstream?.resumeReading()
            return
        }
        downstream = connection
        // Until there is somewhere to go.
        connection.pauseReading()
        do throws(SystemError) {
            upstream = try Connection.connect(
                to: relay.upstream,
                options: SocketOptions(),
                loop: relay.loop,
                secure: relay.upstreamTLS.map {
                    TLSSession(client: $0, serverName: relay.serverName)
                },
                timeout: .seconds(5),
                delegate: self
            )
        } catch {
            connection.abort()
        }
    }

    func connection(_ connection: Connection, received bytes: Bytes) -> Int {
        other(connection)?.write(bytes)
        return bytes.count
    }

    func connectionReadEnded(_ connection: Connection) {
        endedDirections += 1
        other(connection)?.shutdownSending()
        guard endedDirections == 2 else { return }
        downstream?.closeAfterFlush()
        upstream?.closeAfterFlush()
    }

    func connectionOutputBlocked(_ connection: Connection) { other(connection)?.pauseReading() }
    func connectionOutputUnblocked(_ connection: Connection) { other(connection)?.resumeReading() }

    func connectionClosed(_ connection: Connection, _ reason: ConnectionCloseReason) {
        let other = other(connection)
        if connection === downstream { downstream = nil } else { upstream = nil }
        if endedDirections < 2 { other?.abort() }
    }
}
