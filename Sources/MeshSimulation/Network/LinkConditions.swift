import MeshNet

/// How one simulated connection behaves, chosen when it is opened.
package struct LinkConditions: Sendable {
    package enum Opening: Sendable {
        case accepted
        case refused
        /// No answer ever: only a connect timeout ends it.
        case blackhole
    }

    package enum Direction: Sendable { case toServer, toClient }

    package var opening = Opening.accepted
    /// One-way latency of each segment, drawn anew per segment.
    package var latency: ClosedRange<Int64> = 0...0
    /// Segments carry between one byte and this many.
    package var segmentBytesMax = Int.max
    /// Bytes the sender's kernel holds before it would block.
    package var sendBufferBytes = 1 << 18
    /// Bytes the receiver's kernel holds before the sender's pile up.
    package var receiveBufferBytes = 1 << 18
    /// In how many of a thousand calls a socket says it would block although it need not.
    package var wouldBlockPerMille = 0
    /// RST to both sides once so many bytes have arrived in that direction.
    package var resetAfter: (direction: Direction, bytes: Int)?

    package init() {}

    /// A perfect link: whole writes arrive at once.
    package static let calm = LinkConditions()

    /// Every byte travels alone.
    package static var bytewise: LinkConditions {
        var conditions = LinkConditions()
        conditions.segmentBytesMax = 1
        conditions.sendBufferBytes = 1
        return conditions
    }

    /// Everything a network may do short of breaking the connection, in amounts drawn by chance.
    package static func rough(using generator: inout SeededGenerator) -> LinkConditions {
        var conditions = LinkConditions()
        conditions.segmentBytesMax =
            [1, 2, 7, 100, 1460, .max].randomElement(using: &generator) ?? 1
        conditions.sendBufferBytes = [1, 16, 1000, 1 << 18].randomElement(using: &generator) ?? 1
        conditions.receiveBufferBytes = [64, 4096, 1 << 18].randomElement(using: &generator) ?? 64
        conditions.latency = 0...(Int64.random(in: 0...3, using: &generator) * 1_000_000)
        conditions.wouldBlockPerMille = [0, 100, 500].randomElement(using: &generator) ?? 0
        return conditions
    }
}
