import MeshNet

/// When each request of an open loop is due: request i at `start + i / rate`, whatever happened to
/// those before it.
package struct LoadSchedule {
    private let start: Instant
    private let interval: Double
    private var index = 0

    /// - Parameter rate: requests a second.
    package init(start: Instant, rate: Double) {
        self.start = start
        interval = 1e9 / rate
    }

    /// When the next request is due.
    package var next: Instant {
        // A double counts whole nanoseconds exactly for a hundred days.
        Instant(nanoseconds: start.nanoseconds &+ UInt64(Double(index) * interval))
    }

    package mutating func advance() { index += 1 }
}

/// Requests that are due and wait for a free connection, oldest first.
package struct WaitingRequests {
    private var due: [Instant] = []
    private var head = 0
    package private(set) var count = 0

    /// Some seconds at any rate one generator can make; what is due beyond that is dropped, and counted.
    package static let countMax = 1 << 17

    package init() {}

    package var isEmpty: Bool { count == 0 }

    /// False where the queue is full.
    package mutating func append(_ instant: Instant) -> Bool {
        guard count < Self.countMax else { return false }
        reserve()
        due[(head &+ count) & (Self.countMax &- 1)] = instant
        count &+= 1
        return true
    }

    /// Puts back what was just taken.
    package mutating func putBack(_ instant: Instant) {
        reserve()
        head = (head &- 1) & (Self.countMax &- 1)
        due[head] = instant
        count &+= 1
    }

    package mutating func take() -> Instant? {
        guard count > 0 else { return nil }
        defer {
            head = (head &+ 1) & (Self.countMax &- 1)
            count &-= 1
        }
        return due[head]
    }

    /// The megabyte is allocated when the first request has to wait.
    private mutating func reserve() {
        guard due.isEmpty else { return }
        due = Array(repeating: Instant(nanoseconds: 0), count: Self.countMax)
    }
}
