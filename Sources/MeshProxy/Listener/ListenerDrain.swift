import MeshNet

/// A listener's connections are asked to go elsewhere, more and more of them as time passes (envoy:
/// `--drain-strategy gradual`): all of them once the drain's time is over.
package struct ListenerDrain {
    let start: Instant
    let span: Nanoseconds

    /// Whether the response that is about to be sent is the connection's last.
    ///
    /// - Parameter random: any number.
    func isDecided(at now: Instant, random: UInt64) -> Bool {
        let passed = (now - start).count
        guard passed < span.count else { return true }
        return random % UInt64(span.count) < UInt64(max(0, passed))
    }
}
