import MeshNet

/// A raw TCP peer that follows a script and notes what it received.
package final class ScriptedPeer: SimulationActor {
    package enum Step {
        case send([UInt8])
        /// Waits until this much has arrived in all.
        case awaitBytes(Int)
        /// Waits until what has arrived since the last such step contains this text.
        case awaitText(String)
        /// Waits for the other side's FIN or RST.
        case awaitEnd
        case wait(Nanoseconds)
        /// FIN; reading goes on.
        case halfClose
        case close
        /// Closes with RST.
        case abort
        /// Stops reading: the other side's bytes pile up.
        case pauseReading
        case resumeReading

        package static func send(_ text: String) -> Step { .send(Array(text.utf8)) }
    }

    package enum Ending: Sendable { case open, finished, reset, refused }

    /// All bytes received, in order.
    package private(set) var received: [UInt8] = []
    /// How the other side ended the connection, if it has.
    package private(set) var ending = Ending.open
    package var receivedText: String { String(decoding: received, as: UTF8.self) }
    /// Every step is done.
    package var isDone: Bool { script.isEmpty }
    package var isClosed: Bool { socket == nil }

    private let system: SimulatedSystem
    private var socket: Socket?
    private var script: ArraySlice<Step>
    private var unsent: ArraySlice<UInt8> = []
    private var searchFrom = 0
    private var wakeAt: Instant?
    private var isConnecting: Bool
    private var isReading = true
    private var isReadable = false
    private var isWritable = false

    /// A client: connects at once.
    package convenience init(
        connectingTo address: SocketAddress,
        in simulation: Simulation,
        script: [Step]
    ) {
        let system = simulation.makeSystem()
        let socket = system.network.connect(to: address, from: nil, system: system)
        self.init(socket: socket, system: system, script: script, isConnecting: true)
        simulation.add(self)
    }

    init(socket: Socket, system: SimulatedSystem, script: [Step], isConnecting: Bool) {
        self.system = system
        self.socket = socket
        self.script = script[...]
        self.isConnecting = isConnecting
        system.network.watch(socket.descriptor, token: UInt64(socket.descriptor))
    }

    package var isRunnable: Bool { socket != nil && system.isReady }
    package var nextDeadline: Instant? { wakeAt }

    package func step() {
        // A server's connections share one system; its server hands out their events.
        withUnsafeTemporaryAllocation(of: ReadyEvent.self, capacity: 8) { events in
            let count = system.poll(for: .zero, into: events)
            for at in 0..<count { note(events[at].readiness) }
        }
        play()
    }

    func note(_ readiness: Readiness) {
        if readiness.contains(.read) || readiness.contains(.error) { isReadable = true }
        if readiness.contains(.write) || readiness.contains(.error) { isWritable = true }
    }

    /// Does what can be done now.
    func play() {
        guard let socket else { return }
        if isConnecting {
            if system.connectOutcome(of: socket) != nil {
                ending = .refused
                return finish()
            }
            guard isWritable else { return }
            isConnecting = false
        }
        read()
        while let step = script.first, perform(step) { script = script.dropFirst() }
        read()
    }

    /// False where the step is not done yet.
    private func perform(_ step: Step) -> Bool {
        guard let socket else { return true }
        switch step {
        case .send(let bytes):
            if unsent.isEmpty { unsent = bytes[...] }
            return sendRest(on: socket)
        case .awaitBytes(let count):
            return received.count >= count || ending != .open
        case .awaitText(let text):
            return find(Array(text.utf8)) || ending != .open
        case .awaitEnd:
            return ending != .open
        case .wait(let duration):
            guard let wakeAt else {
                self.wakeAt = system.now() + duration
                return false
            }
            guard wakeAt <= system.now() else { return false }
            self.wakeAt = nil
            return true
        case .halfClose:
            system.shutdownSending(socket)
            return true
        case .close:
            system.close(socket)
            finish()
            return true
        case .abort:
            system.abort(socket)
            finish()
            return true
        case .pauseReading:
            isReading = false
            return true
        case .resumeReading:
            isReading = true
            isReadable = true
            read()
            return true
        }
    }

    private func sendRest(on socket: Socket) -> Bool {
        while !unsent.isEmpty {
            switch unsent.withUnsafeBytes({ system.send($0, to: socket) }) {
            case .bytes(let count): unsent = unsent.dropFirst(count)
            case .wouldBlock, .endOfStream: return false
            case .failed:
                unsent = []
                return true
            }
        }
        return true
    }

    private func read() {
        guard let socket, isReadable, isReading else { return }
        withUnsafeTemporaryAllocation(byteCount: 65_536, alignment: 16) { buffer in
            while ending == .open {
                switch system.receive(from: socket, into: buffer) {
                case .bytes(let count): received += Bytes(rebasing: buffer[..<count])
                case .wouldBlock:
                    isReadable = false
                    return
                case .endOfStream: ending = .finished
                case .failed: ending = .reset
                }
            }
        }
    }

    private func find(_ text: [UInt8]) -> Bool {
        var start = searchFrom
        while start + text.count <= received.count {
            if received[start..<start + text.count].elementsEqual(text) {
                searchFrom = start + text.count
                return true
            }
            start += 1
        }
        return false
    }

    private func finish() {
        socket = nil
        script = []
        wakeAt = nil
    }
}
