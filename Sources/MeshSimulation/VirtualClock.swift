import MeshNet
import Synchronization

/// Time that moves only when the simulation says so.
package final class VirtualClock {
    /// Starts an hour after the origin, so that nothing mistakes a small number for "never".
    package private(set) var now = Instant(nanoseconds: 3_600_000_000_000) {
        didSet { face.show(wall) }
    }
    /// 2026-01-01T00:00:00Z at the start; may be set to test jumps of wall time.
    package var wallOffset: Int64 = 1_767_225_600_000_000_000 - 3_600_000_000_000 {
        didSet { face.show(wall) }
    }

    /// What may be read from any thread, TLS contexts among them.
    private final class Face: Sendable {
        private let nanoseconds = Atomic<Int64>(0)

        func show(_ time: WallTime) { nanoseconds.store(time.nanoseconds, ordering: .relaxed) }
        var wall: WallTime { WallTime(nanoseconds: nanoseconds.load(ordering: .relaxed)) }
    }

    private let face = Face()

    package init() { face.show(wall) }

    package var wall: WallTime {
        WallTime(nanoseconds: Int64(now.nanoseconds) &+ wallOffset)
    }

    package var sharedWall: @Sendable () -> WallTime { { [face] in face.wall } }

    /// Never goes back.
    package func advance(to instant: Instant) { now = max(now, instant) }
}
