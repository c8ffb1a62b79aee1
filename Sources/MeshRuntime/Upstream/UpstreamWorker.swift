import MeshHTTP
import MeshNet
import Synchronization

/// What the clusters of one worker share: its loop, its place in the process, its randomness.
package final class UpstreamWorker {
    package let loop: EventLoop
    /// `0..<workerCount`.
    package let index: Int
    package let stats: WorkerStats
    /// For codecs.
    package let headers: HeaderMapPool
    var random: FastRandom

    /// - Parameter seed: for balancing; from the system's entropy.
    package init(
        loop: EventLoop,
        stats: WorkerStats,
        headers: HeaderMapPool = HeaderMapPool(),
        seed: UInt64
    ) {
        self.loop = loop
        self.headers = headers
        index = stats.index
        self.stats = stats
        random = FastRandom(seed: seed)
    }
}

/// Names connections in logs, uniquely in the process (envoy: connection id).
package enum ConnectionID {
    private static let last = Atomic<UInt64>(0)

    package static func next() -> UInt64 { last.wrappingAdd(1, ordering: .relaxed).newValue }
}
