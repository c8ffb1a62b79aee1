import MeshNet

/// When to ask the peer for a sign of life, and when to give it up (envoy: connection_keepalive). Knows
/// no I/O and reads no clock.
struct HTTP2Keepalive {
    enum Action: Equatable { case none, ping, giveUp }

    private let settings: HTTP2Settings.Keepalive
    private var random: UInt64
    private var nextPing: Instant?
    /// A PING is under way and must be answered by then.
    private var deadline: Instant?
    private var lastReceived: Instant

    /// - Parameter seed: for the jitter.
    init(_ settings: HTTP2Settings.Keepalive, seed: UInt64, now: Instant) {
        self.settings = settings
        random = seed | 1
        lastReceived = now
        schedulePing(now)
    }

    private mutating func schedulePing(_ now: Instant) {
        guard settings.interval > .zero else { return }
        var delay = settings.interval.count
        let spread = Int64(Double(delay) * settings.intervalJitterPercent / 100)
        if spread > 0 {
            random ^= random << 13
            random ^= random >> 7
            random ^= random << 17
            delay += Int64(random >> 1) % spread
        }
        nextPing = now + Nanoseconds(delay)
    }

    /// Something arrived. Whatever it is, it shows that the peer lives: the answer may be stuck behind it.
    mutating func received(_ now: Instant) {
        lastReceived = now
        if deadline != nil { deadline = now + settings.timeout }
    }

    mutating func acknowledged(_ now: Instant) {
        deadline = nil
        schedulePing(now)
    }

    /// What is to be done now; a PING counts as sent.
    mutating func advance(to now: Instant) -> Action {
        if let deadline {
            return deadline <= now ? .giveUp : .none
        }
        guard let nextPing, nextPing <= now else { return .none }
        deadline = now + settings.timeout
        return .ping
    }

    /// A stream is about to be opened: whether to ask first (envoy: connection_idle_interval).
    mutating func streamOpens(_ now: Instant) -> Bool {
        guard settings.connectionIdleInterval > .zero, deadline == nil,
            now - lastReceived > settings.connectionIdleInterval
        else { return false }
        deadline = now + settings.timeout
        return true
    }

    /// When ``advance(to:)`` is wanted next. While an answer is awaited also after an interval: by then
    /// it may have come, and the next PING be due.
    func wakeUp(after now: Instant) -> Instant? {
        guard let deadline else { return nextPing }
        guard settings.interval > .zero else { return deadline }
        return min(deadline, now + settings.interval)
    }
}
