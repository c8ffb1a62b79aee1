import MeshNet

/// Time that moves only when the simulation says so.
package final class VirtualClock {
    /// Starts an hour after the origin, so that nothing mistakes a small number for "never".
    package private(set) var now = Instant(nanoseconds: 3_600_000_000_000)
    /// 2026-01-01T00:00:00Z at the start; may be set to test jumps of wall time.
    package var wallOffset: Int64 = 1_767_225_600_000_000_000 - 3_600_000_000_000

    package init() {}

    package var wall: WallTime {
        WallTime(nanoseconds: Int64(now.nanoseconds) &+ wallOffset)
    }

    /// Never goes back.
    package func advance(to instant: Instant) { now = max(now, instant) }
}
