import MeshNet

/// Place for one request at a time: an HTTP/1 or raw connection has one, an HTTP/2 connection several.
///
/// Made once and used for every request, so that a request costs no allocation. Owned by its lane.
package class RequestSlot {
    // Unchecked: it owns us.
    final unowned(unsafe) let lane: LoadLane

    /// When the request under way was due, and when it was sent.
    final var due = Instant(nanoseconds: 0)
    final var sent = Instant(nanoseconds: 0)
    /// A request could be sent now.
    final var isReady = false
    /// Among the generator's free slots; it stays there when it has ceased to be ready, until looked at.
    final var isListed = false
    final var isUnderWay = false
    /// Has had its exchange and stays open in silence.
    final var isStanding = false

    init(lane: LoadLane) { self.lane = lane }

    /// Keeps what it needs of its connection between requests: another one takes no room there.
    var holdsRoom: Bool { false }

    /// Writes the request to the lane's connection, which is open. False where it takes none just now.
    func send() -> Bool { false }
}
