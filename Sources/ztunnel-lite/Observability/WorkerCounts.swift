import Synchronization

/// One worker's counts that have no labels of peers. The worker writes, any thread reads.
final class WorkerCounts: Sendable {
    private let outboundSockets = Atomic(0)
    private let inboundSockets = Atomic(0)
    private let outboundRevocations = Atomic(0)
    private let inboundRevocations = Atomic(0)
    private let folded = Atomic(0)

    func addSocket(_ direction: ConnectionRecord.Direction, _ change: Int) {
        switch direction {
        case .outbound: outboundSockets.bump(change)
        case .inbound: inboundSockets.bump(change)
        }
    }

    func addRevocation(_ direction: ConnectionRecord.Direction) {
        switch direction {
        case .outbound: outboundRevocations.bump(1)
        case .inbound: inboundRevocations.bump(1)
        }
    }

    func addFolded() { folded.bump(1) }

    /// The sum over workers at one moment.
    struct Totals {
        var outboundSockets = 0
        var inboundSockets = 0
        var outboundRevocations = 0
        var inboundRevocations = 0
        /// Connections that were counted as of unknown peers for want of room.
        var folded = 0

        init(_ workers: [WorkerCounts]) {
            for worker in workers {
                outboundSockets += worker.outboundSockets.load(ordering: .relaxed)
                inboundSockets += worker.inboundSockets.load(ordering: .relaxed)
                outboundRevocations += worker.outboundRevocations.load(ordering: .relaxed)
                inboundRevocations += worker.inboundRevocations.load(ordering: .relaxed)
                folded += worker.folded.load(ordering: .relaxed)
            }
        }
    }
}

extension Atomic<Int> {
    /// For the one thread that writes.
    fileprivate borrowing func bump(_ change: Int) {
        store(load(ordering: .relaxed) &+ change, ordering: .relaxed)
    }
}
