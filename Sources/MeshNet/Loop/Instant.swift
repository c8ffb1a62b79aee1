/// A point on the monotonic clock, in nanoseconds since an arbitrary origin.
///
/// Wall time appears only in logs, certificates and the `date` header; see ``WallTime``.
package struct Instant: Comparable, Hashable, Sendable {
    package var nanoseconds: UInt64

    package init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

    package static func < (left: Instant, right: Instant) -> Bool {
        left.nanoseconds < right.nanoseconds
    }

    /// Saturates at the end of time, so that "never" may be expressed as a very long duration.
    package static func + (left: Instant, right: Nanoseconds) -> Instant {
        let (sum, overflow) = left.nanoseconds.addingReportingOverflow(UInt64(max(0, right.count)))
        return Instant(nanoseconds: overflow ? .max : sum)
    }

    package static func - (left: Instant, right: Instant) -> Nanoseconds {
        Nanoseconds(Int64(bitPattern: left.nanoseconds &- right.nanoseconds))
    }
}

/// A span of time in nanoseconds: the data path's `Duration`, eight bytes instead of sixteen.
package struct Nanoseconds: Comparable, Hashable, Sendable {
    package var count: Int64

    package init(_ count: Int64) { self.count = count }

    /// Saturates: a configured duration may exceed the 292 years that fit.
    package init(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        let (sum, carried) = whole.addingReportingOverflow(attoseconds / 1_000_000_000)
        count = overflow || carried ? (seconds < 0 ? .min : .max) : sum
    }

    package static let zero = Nanoseconds(0)
    package static func microseconds(_ n: Int64) -> Nanoseconds { Nanoseconds(n * 1_000) }
    package static func milliseconds(_ n: Int64) -> Nanoseconds { Nanoseconds(n * 1_000_000) }
    package static func seconds(_ n: Int64) -> Nanoseconds { Nanoseconds(n * 1_000_000_000) }

    /// Whole milliseconds, rounded down, as Envoy reports durations.
    package var milliseconds: Int64 { count / 1_000_000 }
    package var microseconds: Int64 { count / 1_000 }

    package static func < (left: Nanoseconds, right: Nanoseconds) -> Bool {
        left.count < right.count
    }
}

/// Time of day, in nanoseconds since 1970-01-01T00:00:00Z.
package struct WallTime: Comparable, Hashable, Sendable {
    package var nanoseconds: Int64

    package init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }
    package var seconds: Int64 { nanoseconds / 1_000_000_000 }

    package static func < (left: WallTime, right: WallTime) -> Bool {
        left.nanoseconds < right.nanoseconds
    }
}
