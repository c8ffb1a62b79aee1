/// The way in: from a socket, or an address, to a connection.
extension Connection {
    /// Begins to connect; the delegate hears `connectionEstablished` or `connectionClosed`, never from
    /// inside this call.
    ///
    /// - Parameters:
    ///   - passed: what the acceptor of an address inside the process gets; nobody else sees it.
    ///   - timeout: of TCP and TLS together (envoy: connect_timeout).
    package static func connect(
        to address: SocketAddress,
        options: SocketOptions,
        loop: EventLoop,
        secure: (any SecureTransport)?,
        timeout: Nanoseconds?,
        passing passed: AnyObject? = nil,
        delegate: any ConnectionDelegate
    ) throws(SystemError) -> Connection {
        let sockets: any Sockets
        let socket: Socket
        if case .internal = address {
            socket = try loop.internalNetwork.connect(to: address, passing: passed)
            sockets = loop.internalNetwork
        } else {
            socket = try loop.system.connect(to: address, options: options)
            sockets = loop.system
        }
        let connection = Connection(
            connecting: socket,
            of: sockets,
            loop: loop,
            secure: secure,
            delegate: delegate
        )
        try connection.watch()
        if let timeout { connection.timer = loop.arm(connection, Timer.establish, after: timeout) }
        return connection
    }

    /// Registers an accepted connection and begins its handshake, or reports it established.
    ///
    /// - Parameters:
    ///   - received: bytes taken from the socket before, by a listener filter; delivered first.
    ///   - timeout: for the TLS handshake (envoy: transport_socket_connect_timeout).
    package func start(
        received: Bytes = Bytes(start: nil, count: 0),
        timeout: Nanoseconds? = nil
    ) throws(SystemError) {
        try watch()
        if secure == nil {
            input.append(received)
            delegate?.connectionEstablished(self)
            if !input.isEmpty { deferTurn() }
            return
        }
        if let timeout { timer = loop.arm(self, Timer.establish, after: timeout) }
        secure?.start(output: &ciphertext)
        if !received.isEmpty { receive(ciphertext: received) }
        if !ciphertext.isEmpty { markDirty() }
    }

    private func watch() throws(SystemError) {
        do throws(SystemError) {
            registration = try loop.register(self, for: socket, of: sockets)
        } catch {
            state = .closed
            sockets.close(socket)
            throw error
        }
    }
}
