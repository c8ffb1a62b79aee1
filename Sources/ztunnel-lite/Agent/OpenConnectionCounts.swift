import Synchronization

/// What workers say they still have open, while the agent drains.
final class OpenConnectionCounts: Sendable {
    /// Nil: has not said yet.
    private let counts: Mutex<[Int?]>

    init(workers: Int) { counts = Mutex(Array(repeating: nil, count: workers)) }

    func report(_ worker: Int, _ count: Int) { counts.withLock { $0[worker] = count } }

    /// Of all workers; nil while one has not answered yet.
    var total: Int? {
        counts.withLock { counts in
            counts.reduce(0) { sum, count in
                guard let sum, let count else { return nil }
                return sum + count
            }
        }
    }
}
