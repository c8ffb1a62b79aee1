import MeshConfig

/// Points in a stream's life at which the clock is to be read.
package struct TimePoints: OptionSet, Sendable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }

    package static let requestHeadEnd = Self(rawValue: 1 << 0)
    package static let requestEnd = Self(rawValue: 1 << 1)
    package static let authorized = Self(rawValue: 1 << 2)
    package static let routed = Self(rawValue: 1 << 3)
    package static let poolReady = Self(rawValue: 1 << 4)
    package static let upstreamRequestBegin = Self(rawValue: 1 << 5)
    package static let upstreamRequestEnd = Self(rawValue: 1 << 6)
    package static let requestFlushed = Self(rawValue: 1 << 7)
    package static let upstreamResponseBegin = Self(rawValue: 1 << 8)
    package static let upstreamResponseBodyBegin = Self(rawValue: 1 << 9)
    package static let upstreamResponseEnd = Self(rawValue: 1 << 10)
    package static let responseBegin = Self(rawValue: 1 << 11)
    package static let responseEnd = Self(rawValue: 1 << 12)

    /// Those of connections: read in any case, once each. What is set against them must be as precise.
    private static let connections = Self(rawValue: 1 << 13)

    /// Those at which one phase of a request ends and the next begins. The others where phases meet need
    /// no reading: there the loop has just read the clock.
    package static let phases: Self = [
        .requestHeadEnd, .authorized, .routed, .poolReady, .requestFlushed,
    ]
    /// Those that nobody keeps unless they are asked for.
    fileprivate static let special: Self = [
        .requestHeadEnd, .authorized, .routed, .poolReady, .requestFlushed,
        .upstreamResponseBodyBegin, .connections,
    ]

    /// Empty for points that the loop's time serves at any precision.
    init(_ point: FormatTimePoint) {
        switch point {
        case .downstreamConnectionBegin, .downstreamConnectionEnd, .requestBegin: self = []
        case .downstreamHandshakeBegin, .downstreamHandshakeEnd, .upstreamConnectBegin,
            .upstreamConnectEnd, .upstreamHandshakeEnd:
            self = .connections
        case .requestHeadEnd: self = .requestHeadEnd
        case .requestEnd: self = .requestEnd
        case .authorized: self = .authorized
        case .routed: self = .routed
        case .poolReady: self = .poolReady
        case .upstreamRequestBegin: self = .upstreamRequestBegin
        case .upstreamRequestEnd: self = .upstreamRequestEnd
        case .requestFlushed: self = .requestFlushed
        case .upstreamResponseBegin: self = .upstreamResponseBegin
        case .upstreamResponseBodyBegin: self = .upstreamResponseBodyBegin
        case .upstreamResponseEnd: self = .upstreamResponseEnd
        case .responseBegin: self = .responseBegin
        case .responseEnd: self = .responseEnd
        }
    }
}

/// Which points the formats of one connection manager ask for, noted as they are compiled.
///
/// `@unchecked Sendable`: made, filled and read on the thread of the worker that compiles.
package final class TimePointDemand: @unchecked Sendable {
    private var asked: TimePoints = []
    private var isPrecise = false

    package init() {}

    func note(_ from: FormatTimePoint, _ to: FormatTimePoint, _ unit: FormatTimeUnit) {
        let points = TimePoints(from).union(TimePoints(to))
        asked.formUnion(points)
        if unit != .milliseconds || !points.isDisjoint(with: .special) { isPrecise = true }
    }

    /// At which the clock is to be read. None where milliseconds do: the loop's time serves them, which is
    /// read once per iteration.
    package var points: TimePoints { isPrecise ? asked : [] }
}
