import MeshNet
import MeshRuntime

/// One listening socket: makes of each accepted connection what its port is for.
final class CapturePort: ListenerDelegate {
    private unowned let worker: ZtunnelWorker
    private let purpose: ZtunnelSocket.Purpose
    private var listener: Listener?

    init(_ socket: ZtunnelSocket, _ worker: ZtunnelWorker) throws(SystemError) {
        self.worker = worker
        purpose = socket.purpose
        listener = try Listener(socket: socket.socket, loop: worker.loop, delegate: self)
    }

    func close() {
        listener?.close()
        listener = nil
    }

    func acceptExhausted(_ error: SystemError) {
        worker.log.warning(.connection, "accept failed: \(error.reason)")
    }

    func accepted(_ socket: Socket, from source: SocketAddress) {
        let system = worker.loop.system
        var options = SocketOptions()
        options.keepAlive = worker.options.keepAlive
        system.apply(options, to: socket)
        guard let local = system.localAddress(of: socket) else { return system.close(socket) }
        worker.observer.socketOpened(direction)
        switch purpose {
        case .outbound:
            let destination = system.originalDestination(of: socket) ?? local
            start(socket, OutboundConnection(worker, from: source, to: destination))
        case .inboundPlaintext:
            let destination = system.originalDestination(of: socket) ?? local
            guard let workload = worker.workload(servedAt: destination) else {
                return refuse(socket, source, destination)
            }
            start(
                socket,
                InboundPassthrough(worker, to: workload, from: source, destination: destination)
            )
        case .inbound:
            acceptTunnels(socket, source, local)
        case .socks5:
            start(socket, SOCKS5Handshake(worker, from: source))
        }
    }

    private var direction: ConnectionRecord.Direction {
        switch purpose {
        case .outbound, .socks5: .outbound
        case .inbound, .inboundPlaintext: .inbound
        }
    }

    private func acceptTunnels(_ socket: Socket, _ source: SocketAddress, _ local: SocketAddress) {
        guard let workload = worker.workload(servedAt: local),
            let credentials = worker.identities.credentials[workload.identity]
        else { return refuse(socket, source, local) }
        let connection = InboundConnection(
            worker,
            to: workload,
            credentials: credentials,
            from: source,
            at: local
        )
        connection.start(socket)
    }

    private func start(_ socket: Socket, _ delegate: any ConnectionDelegate) {
        let connection = Connection(
            accepted: socket,
            loop: worker.loop,
            secure: nil,
            delegate: delegate
        )
        do throws(SystemError) { try connection.start() } catch {
            // Lost before it began.
            worker.observer.socketClosed(direction)
        }
    }

    private func refuse(_ socket: Socket, _ source: SocketAddress, _ destination: SocketAddress) {
        worker.observer.refusedEarly(
            source: source,
            destination: destination,
            direction: .inbound,
            error: "failed to fetch information about local workload: \(destination)"
        )
        worker.observer.socketClosed(direction)
        worker.loop.system.abort(socket)
    }
}
