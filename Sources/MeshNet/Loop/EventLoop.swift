import Glibc

/// Hears of the readiness of a socket it has registered.
package protocol ReadinessHandler: AnyObject {
    func becameReady(_ readiness: Readiness)
}

/// Work put off to the end of the current iteration, so that nobody is re-entered.
package protocol DeferredWork: AnyObject {
    func runDeferred()
}

/// One thread's loop: polls, dispatches, fires timers, flushes what was written. Everything that
/// happens to a connection happens here, on one thread, for the connection's whole life.
///
/// One iteration, in this order: poll · letters · readiness · timers · deferred work · flush · burial.
/// Flushing last means one `send` per connection and iteration, however often it was written to.
package final class EventLoop {
    package let system: any System
    package let mailbox: Mailbox
    /// Time of this iteration: read once after the poll, since reading costs more than using it.
    package private(set) var now: Instant
    /// Whoever owns this loop, for letters to find.
    package var owner: AnyObject?

    package let timers: TimerWheel
    /// Connections that begin and end on this loop.
    package var internalNetwork: InternalNetwork {
        if let internals { return internals }
        let network = InternalNetwork(loop: self)
        internals = network
        return network
    }
    /// Shared by all connections of the loop: received bytes live here only during a dispatch.
    let readWindow: UnsafeMutableRawBufferPointer
    /// Likewise for decrypted bytes and for bytes being encrypted.
    var plaintextScratch = ByteBuffer()
    var ciphertextScratch = ByteBuffer()
    var spareBlocks = SpareBlocks()

    private struct Slot {
        var handler: (any ReadinessHandler)?
        var generation: UInt32
        var nextFree: UInt32
    }

    private let slots: UnsafeMutablePointer<Slot>
    private var slotsUsed: UInt32 = 0
    private var firstFreeSlot = UInt32.max
    private let ready: UnsafeMutableBufferPointer<ReadyEvent>
    private var dirty: [Connection] = []
    private var flushing: [Connection] = []
    private var deferred: [any DeferredWork] = []
    private var buried: [AnyObject] = []
    private var internals: InternalNetwork?
    private var isStopped = false

    /// One read takes at most this much: the most one TLS record needs, four times over, and in cache.
    package static let readWindowBytes = 65_536
    /// Sockets of one loop; far above any descriptor limit. Reserved address space, not memory.
    private static let slotsMax: UInt32 = 1 << 22
    private static let eventsMax = 256

    package init(system: any System) {
        self.system = system
        mailbox = Mailbox(waker: system.waker)
        now = system.now()
        timers = TimerWheel(now: now)
        readWindow = .allocate(byteCount: Self.readWindowBytes, alignment: 64)
        slots = .allocate(capacity: Int(Self.slotsMax))
        ready = .allocate(capacity: Self.eventsMax)
    }

    deinit {
        slots.deinitialize(count: Int(slotsUsed))
        slots.deallocate()
        readWindow.deallocate()
        ready.deallocate()
    }

    // MARK: Running

    /// Runs until ``stop()``.
    package func run() {
        while !isStopped { runOnce() }
    }

    /// Ends ``run()`` after the current iteration.
    package func stop() { isStopped = true }

    /// One iteration. Waits for events unless work is at hand.
    package func runOnce() {
        let count = system.poll(for: patience, into: ready)
        now = system.now()
        for letter in mailbox.take() { letter(self) }
        // What the peer has closed goes first, so that no request of this batch is put on a connection
        // whose FIN arrived with it.
        for at in 0..<count where ready[at].readiness.tellsEnd { dispatch(ready[at]) }
        for at in 0..<count where !ready[at].readiness.tellsEnd { dispatch(ready[at]) }
        timers.advance(to: now) { target, kind in target.timerFired(kind) }
        runDeferred()
        flush()
        buried.removeAll(keepingCapacity: true)
    }

    /// How long the poll may sleep.
    private var patience: Nanoseconds? {
        if hasWork { return .zero }
        guard let deadline = timers.nextDeadline else { return nil }
        return max(.zero, deadline - system.now())
    }

    /// When this loop next has something to do by itself; for simulations, which jump to it.
    package var nextDeadline: Instant? { timers.nextDeadline }
    package var hasWork: Bool { !deferred.isEmpty || !dirty.isEmpty || hasNews }
    /// Ends inside the process have something to hear.
    private var hasNews: Bool { internals?.hasNews ?? false }

    private func runDeferred() {
        // Work deferred by deferred work waits for the next iteration: peers get their turn first.
        guard !deferred.isEmpty else { return }
        let batch = deferred
        deferred.removeAll(keepingCapacity: true)
        for work in batch { work.runDeferred() }
    }

    private func flush() {
        // Flushing may write to other connections (an upstream resumes), and into the process; what comes
        // of it follows in this turn, as far as others are not kept waiting.
        var rounds = 0
        while !dirty.isEmpty || hasNews, rounds < 4 {
            internals?.deliver()
            swap(&dirty, &flushing)
            for connection in flushing { connection.flush() }
            flushing.removeAll(keepingCapacity: true)
            rounds += 1
        }
    }

    // MARK: Registration

    /// A registered socket: slot in the low half, generation in the high half.
    package struct Registration: Sendable {
        fileprivate let token: UInt64
    }

    /// - Parameter sockets: whose socket it is; nil: the system's.
    package func register(
        _ handler: any ReadinessHandler,
        for socket: Socket,
        of sockets: (any Sockets)? = nil
    ) throws(SystemError) -> Registration {
        let index: UInt32
        if firstFreeSlot != .max {
            index = firstFreeSlot
            firstFreeSlot = slots[Int(index)].nextFree
            slots[Int(index)].handler = handler
        } else {
            precondition(slotsUsed < Self.slotsMax, "event loop: out of slots")
            index = slotsUsed
            slotsUsed += 1
            (slots + Int(index)).initialize(
                to: Slot(handler: handler, generation: 0, nextFree: .max)
            )
        }
        let token = UInt64(slots[Int(index)].generation) << 32 | UInt64(index)
        do throws(SystemError) {
            try (sockets ?? system).watch(socket, token: token)
        } catch {
            deregister(Registration(token: token))
            throw error
        }
        return Registration(token: token)
    }

    /// Forgets the handler. Events under way for it are dropped; closing the socket is the caller's.
    package func deregister(_ registration: Registration) {
        let index = Int(UInt32(truncatingIfNeeded: registration.token))
        guard slots[index].generation == UInt32(registration.token >> 32),
            let handler = slots[index].handler
        else { return }
        bury(handler)
        slots[index].handler = nil
        slots[index].generation &+= 1
        slots[index].nextFree = firstFreeSlot
        firstFreeSlot = UInt32(index)
    }

    func dispatch(_ event: ReadyEvent) {
        let index = Int(UInt32(truncatingIfNeeded: event.token))
        // A stale event of a closed socket finds another generation, or nobody.
        guard slots[index].generation == UInt32(event.token >> 32),
            let handler = slots[index].handler
        else { return }
        handler.becameReady(event.readiness)
    }

    // MARK: End of iteration

    /// Runs the work at the end of this iteration.
    package func deferWork(_ work: any DeferredWork) { deferred.append(work) }

    func markDirty(_ connection: Connection) { dirty.append(connection) }

    /// Keeps the object alive until the iteration ends: somebody up the stack may still be in it.
    package func bury(_ object: AnyObject) { buried.append(object) }

    // MARK: Time

    package func arm(
        _ target: any TimerTarget,
        _ kind: UInt8 = 0,
        after delay: Nanoseconds
    ) -> TimerID {
        timers.arm(target, kind, at: now + delay)
    }

    @inline(__always)
    package func cancel(_ timer: inout TimerID) { timers.cancel(&timer) }
}
