import MeshNet

/// A raw TCP server: each connection it accepts follows the next script; the last one repeats.
package final class ScriptedServer: SimulationActor {
    /// In the order of acceptance.
    package private(set) var connections: [ScriptedPeer] = []
    package let address: SocketAddress

    private let system: SimulatedSystem
    private let socket: Socket
    private let scripts: [[ScriptedPeer.Step]]
    private var peersByToken: [UInt64: ScriptedPeer] = [:]

    package init(
        in simulation: Simulation,
        port: UInt16,
        scripts: [[ScriptedPeer.Step]]
    ) throws(SystemError) {
        system = simulation.makeSystem()
        let wanted = SocketAddress.ip(system.address, port: port)
        socket = try system.listen(on: wanted, options: ListenOptions())
        address = system.localAddress(of: socket) ?? wanted
        self.scripts = scripts
        system.network.watch(socket.descriptor, token: UInt64(socket.descriptor))
        simulation.add(self)
    }

    package var isRunnable: Bool { system.isReady }

    package var nextDeadline: Instant? {
        connections.compactMap(\.nextDeadline).min()
    }

    package func step() {
        var touched: [ScriptedPeer] = []
        withUnsafeTemporaryAllocation(of: ReadyEvent.self, capacity: 64) { events in
            let count = system.poll(for: .zero, into: events)
            for at in 0..<count {
                if events[at].token == UInt64(socket.descriptor) {
                    accept()
                } else if let peer = peersByToken[events[at].token] {
                    peer.note(events[at].readiness)
                    touched.append(peer)
                }
            }
        }
        for peer in touched { peer.play() }
        for peer in connections
        where (peer.nextDeadline ?? .init(nanoseconds: .max)) <= system.now() {
            peer.play()
        }
    }

    /// Stops listening; connections carry on.
    package func stopListening() { system.close(socket) }

    private func accept() {
        while case .accepted(let accepted, _) = system.accept(from: socket) {
            let script = scripts[min(connections.count, scripts.count - 1)]
            let peer = ScriptedPeer(
                socket: accepted,
                system: system,
                script: script,
                isConnecting: false
            )
            connections.append(peer)
            peersByToken[UInt64(accepted.descriptor)] = peer
            peer.play()
        }
    }
}
