import Glibc
import Synchronization
import Testing

@testable import MeshRuntime

/// Remembers what was posted to whom.
final class RecordingMailboxes: WorkerMailboxes {
    let workerCount: Int
    private let posted = Mutex<[(worker: Int, message: UpstreamMessage)]>([])

    init(workers: Int) { workerCount = workers }

    func post(worker: Int, _ message: UpstreamMessage) {
        posted.withLock { $0.append((worker, message)) }
    }

    func take() -> [(worker: Int, message: UpstreamMessage)] {
        posted.withLock { posted in
            defer { posted = [] }
            return posted
        }
    }

    /// Workers told that a slot was freed for them, in order.
    func takeFreed() -> [Int] {
        take().compactMap { if case .capacityFreed = $0.message { $0.worker } else { nil } }
    }
}

@Suite struct ClusterVitalsTests {
    static func vitals(
        connections: Int = 1,
        workers: Int = 2
    ) -> (ClusterVitals, RecordingMailboxes) {
        let mailboxes = RecordingMailboxes(workers: workers)
        var limits = CircuitBreakerLimits()
        limits.connections = connections
        let vitals = ClusterVitals(
            name: "c",
            default: limits,
            high: limits,
            endpoints: EndpointSet(),
            mailboxes: mailboxes
        )
        return (vitals, mailboxes)
    }

    /// Runs `body` on `count` threads and waits for all of them.
    static func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
        final class Start: Sendable {
            let index: Int
            let body: @Sendable (Int) -> Void
            init(_ index: Int, _ body: @escaping @Sendable (Int) -> Void) {
                self.index = index
                self.body = body
            }
        }
        let threads = (0..<count).map { index in
            var thread = pthread_t()
            let start = Unmanaged.passRetained(Start(index, body))
            pthread_create(
                &thread,
                nil,
                { argument in
                    guard let argument else { return nil }
                    let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                    start.body(start.index)
                    return nil
                },
                start.toOpaque()
            )
            return thread
        }
        for thread in threads { pthread_join(thread, nil) }
    }

    @Test func `a limit is never exceeded, whatever four threads try`() {
        final class Shared: Sendable {
            let limit = ResourceLimit(max: 3)
            let held = Atomic<Int>(0)
            let most = Atomic<Int>(0)
            let acquired = Atomic<Int>(0)
        }
        let shared = Shared()
        Self.onThreads(4) { _ in
            for _ in 0..<20_000 where shared.limit.tryAcquire() {
                let held = shared.held.wrappingAdd(1, ordering: .relaxed).newValue
                shared.most.max(held, ordering: .relaxed)
                shared.acquired.wrappingAdd(1, ordering: .relaxed)
                shared.held.wrappingSubtract(1, ordering: .relaxed)
                shared.limit.release()
            }
        }
        #expect(shared.most.load(ordering: .relaxed) <= 3)
        #expect(shared.acquired.load(ordering: .relaxed) > 0)
        #expect(shared.limit.count == 0)
        #expect(shared.limit.remaining == 3)
    }

    @Test func `a limit of zero admits nobody`() {
        let limit = ResourceLimit(max: 0)
        #expect(limit.tryAcquire() == false)
        #expect(limit.isOpen == true)
    }

    @Test(arguments: [(0, 3), (10, 3), (15, 3), (16, 3), (20, 4), (100, 20)])
    func `a retry budget is its share of the load but not less than its minimum`(
        load: Int,
        retries: Int
    ) {
        var limits = CircuitBreakerLimits()
        limits.retryBudget = .init()
        let vitals = PriorityVitals(limits)
        for index in 0..<load {
            let isActive = index % 2 == 0
            let isTaken =
                isActive ? vitals.requests.tryAcquire() : vitals.pendingRequests.tryAcquire()
            #expect(isTaken)
        }
        var acquired = 0
        while vitals.tryAcquireRetry() { acquired += 1 }
        #expect(acquired == retries)
        #expect(vitals.areRetriesOpen)
        vitals.releaseRetry()
        #expect(vitals.retriesRemaining == 1)
    }

    @Test func `a worker that waits asks the others, and the freed slot wakes it`() {
        let (vitals, mailboxes) = Self.vitals(workers: 3)
        #expect(vitals.default.connections.tryAcquire() == true)
        #expect(!vitals.waitForConnection(.default, worker: 2))
        #expect(mailboxes.take().map(\.worker) == [0, 1])
        #expect(vitals.default.waiting.contains(otherThan: 0) == true)
        #expect(vitals.default.waiting.contains(otherThan: 2) == false)
        // It has asked already: the mark still stands.
        #expect(!vitals.waitForConnection(.default, worker: 2))
        #expect(mailboxes.take().isEmpty)

        vitals.releaseConnection(.default)
        #expect(mailboxes.takeFreed() == [2])
        #expect(vitals.default.waiting.contains(otherThan: 0) == false)
    }

    @Test func `a slot that is freed just before waiting is taken, not missed`() {
        let (vitals, mailboxes) = Self.vitals()
        #expect(vitals.waitForConnection(.default, worker: 0))
        #expect(mailboxes.take().isEmpty)
        #expect(vitals.default.connections.count == 1)
    }

    @Test func `waiting workers are woken in turn, and who waits again comes last`() {
        let (vitals, mailboxes) = Self.vitals(connections: 1, workers: 4)
        #expect(vitals.default.connections.tryAcquire() == true)
        for worker in 0..<4 { #expect(!vitals.waitForConnection(.default, worker: worker)) }
        _ = mailboxes.take()
        var woken: [Int] = []
        for _ in 0..<8 {
            vitals.releaseConnection(.default)
            let freed = mailboxes.takeFreed()
            woken += freed
            #expect(vitals.default.connections.tryAcquire() == true)
            for worker in freed { #expect(!vitals.waitForConnection(.default, worker: worker)) }
            _ = mailboxes.take()
        }
        #expect(woken == [0, 1, 2, 3, 0, 1, 2, 3])
    }

    @Test func `priorities wait apart`() {
        let (vitals, mailboxes) = Self.vitals()
        #expect(vitals.default.connections.tryAcquire() == true)
        #expect(vitals.high.connections.tryAcquire() == true)
        #expect(!vitals.waitForConnection(.high, worker: 1))
        _ = mailboxes.take()
        vitals.releaseConnection(.default)
        #expect(mailboxes.takeFreed().isEmpty)
        vitals.releaseConnection(.high)
        #expect(mailboxes.takeFreed() == [1])
    }

    @Test func `beyond sixty-four workers those that share a mark are woken together`() {
        let (vitals, mailboxes) = Self.vitals(workers: 70)
        #expect(vitals.default.connections.tryAcquire() == true)
        #expect(!vitals.waitForConnection(.default, worker: 66))
        _ = mailboxes.take()
        vitals.releaseConnection(.default)
        #expect(mailboxes.takeFreed() == [2, 66])
    }

    @Test func `no slot is lost and no waiter forgotten between four threads`() {
        // Each thread takes the one slot many times; where it must wait, it waits for its letter.
        final class Shared: WorkerMailboxes, Sendable {
            let workerCount = 4
            let freed: [WakeCount] = (0..<4).map { _ in WakeCount() }
            func post(worker: Int, _ message: UpstreamMessage) {
                if case .capacityFreed = message {
                    freed[worker].count.wrappingAdd(1, ordering: .sequentiallyConsistent)
                }
            }
        }
        final class WakeCount: Sendable { let count = Atomic<Int>(0) }
        let shared = Shared()
        var limits = CircuitBreakerLimits()
        limits.connections = 1
        let vitals = ClusterVitals(
            name: "c",
            default: limits,
            high: limits,
            endpoints: EndpointSet(),
            mailboxes: shared
        )
        Self.onThreads(4) { worker in
            for _ in 0..<2_000 {
                var has = vitals.default.connections.tryAcquire()
                while !has {
                    has = vitals.waitForConnection(.default, worker: worker)
                    if has { break }
                    // A lost wake-up would hang here.
                    while shared.freed[worker].count.load(ordering: .sequentiallyConsistent) == 0 {
                        sched_yield()
                    }
                    shared.freed[worker].count.store(0, ordering: .sequentiallyConsistent)
                    has = vitals.default.connections.tryAcquire()
                }
                vitals.default.waiting.remove(worker)
                vitals.releaseConnection(.default)
            }
            // Done with waiting: pass on what may still be meant for us.
            vitals.default.waiting.remove(worker)
            vitals.wakeOne(.default)
        }
        #expect(vitals.default.connections.count == 0)
    }

    @Test func `counts of all workers add up per endpoint`() {
        let vitals = EndpointVitals(workers: 4)
        Self.onThreads(4) { worker in
            for _ in 0..<1_000 { vitals.add(1, to: .requestsActive, worker: worker) }
            vitals.add(-1, to: .requestsActive, worker: worker)
        }
        #expect(vitals.activeRequests == 3_996)
        #expect(vitals.sum(.requestsTotal) == 0)
    }

    @Test func `published endpoints reach every worker and keep their vitals`() {
        let (vitals, mailboxes) = Self.vitals(workers: 2)
        let first = EndpointSet([makeSpec(1), makeSpec(2)])
        vitals.publish(first)
        let second = EndpointSet([makeSpec(2), makeSpec(3)]).keepingVitals(of: first)
        vitals.publish(second)
        #expect(mailboxes.take().map(\.worker) == [0, 1, 0, 1])
        #expect(vitals.endpoints.endpoints[0].vitals === first.endpoints[1].vitals)
        #expect(vitals.endpoints.endpoints[1].vitals !== first.endpoints[0].vitals)
    }
}
