import Synchronization

/// One worker's counts of one series of labels. The worker writes, any thread reads; every addition is
/// a load and a store, no locked instruction.
///
/// `@unchecked Sendable`: the pointer is constant and what it points at are atomics.
final class TrafficCells: @unchecked Sendable {
    private let cells: UnsafeMutablePointer<Atomic<UInt64>>
    /// The registry has let go of these: what is counted here from now on, nobody reads.
    private let isRetired = Atomic(false)

    private static let openedAt = 0
    private static let sentAt = 1
    private static let receivedAt = 2
    private static let closedAt = 3
    private static let count = closedAt + FailureFlag.allCases.count

    init() {
        // Cache lines of their own: workers write all the time.
        let raw = UnsafeMutableRawPointer.allocate(
            byteCount: Self.count * MemoryLayout<Atomic<UInt64>>.stride,
            alignment: 64
        )
        cells = raw.bindMemory(to: Atomic<UInt64>.self, capacity: Self.count)
        for at in 0..<Self.count { (cells + at).initialize(to: Atomic(0)) }
    }

    deinit { cells.deallocate() }

    /// False where the registry may have let go of these cells before it could see the connection:
    /// then it has to be counted again, on cells that the registry knows.
    ///
    /// Sequentially consistent, as ``retire(_:)`` and ``Totals`` are: one of the two sees the other.
    func open() -> Bool {
        let cell = cells + Self.openedAt
        let opened = cell.pointee.load(ordering: .relaxed) &+ 1
        cell.pointee.store(opened, ordering: .sequentiallyConsistent)
        return !isRetired.load(ordering: .sequentiallyConsistent)
    }

    @inline(__always)
    func carry(sent: UInt64, received: UInt64) {
        add(sent, at: Self.sentAt)
        add(received, at: Self.receivedAt)
    }

    func close(_ flag: FailureFlag) { add(1, at: Self.closedAt + Int(flag.rawValue)) }

    @inline(__always)
    private func add(_ n: UInt64, at index: Int) {
        let cell = cells + index
        cell.pointee.store(cell.pointee.load(ordering: .relaxed) &+ n, ordering: .relaxed)
    }

    /// Marks the cells as let go of, or as in use after all.
    func retire(_ isRetired: Bool) {
        self.isRetired.store(isRetired, ordering: .sequentiallyConsistent)
    }

    private func value(_ at: Int) -> UInt64 { cells[at].load(ordering: .relaxed) }
    private var opened: UInt64 { cells[Self.openedAt].load(ordering: .sequentiallyConsistent) }
    private func closed(_ flag: FailureFlag) -> UInt64 { value(Self.closedAt + Int(flag.rawValue)) }

    /// The sum over workers at one moment.
    struct Totals: Hashable {
        var opened: UInt64 = 0
        var sent: UInt64 = 0
        var received: UInt64 = 0
        /// By ``FailureFlag``.
        var closed = Array(repeating: UInt64(0), count: FailureFlag.allCases.count)

        init(_ workers: [TrafficCells]) {
            for cells in workers {
                // Closed before opened: a connection never shows its end without its beginning.
                for flag in FailureFlag.allCases {
                    closed[Int(flag.rawValue)] &+= cells.closed(flag)
                }
                sent &+= cells.value(TrafficCells.sentAt)
                received &+= cells.value(TrafficCells.receivedAt)
                opened &+= cells.opened
            }
        }

        /// Whether no connection is open.
        var isIdle: Bool { opened == closed.reduce(0, &+) }
    }
}
