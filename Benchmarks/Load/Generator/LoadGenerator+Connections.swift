import MeshNet

/// Connections: opened a bounded number at a time, all of them before traffic starts.
extension LoadGenerator {
    /// Connections that are being established at once, at the start: fewer than a listener queues.
    private static let openingMax = 64

    func openLanes() {
        while lanesOpening < Self.openingMax, lanesStarted < lanes.count, phase != .done {
            lanesStarted += 1
            lanesOpening += 1
            lanes[lanesStarted - 1].open()
        }
    }

    /// A connection is there.
    func opened(_ lane: LoadLane) {
        tally.connectionsOpened += 1
        if lane.connection?.tls?.isResumed ?? false { tally.sessionsResumed += 1 }
        lastNews = loop.system.now()
        guard !lane.hasBeenUp, !isChurn else { return }
        lane.hasBeenUp = true
        lanesUp += 1
        settled(lane)
        if lanesUp == lanes.count, phase == .establishing, !isIdle { startTraffic() }
    }

    /// A lane's first attempt is over, well or not.
    func settled(_ lane: LoadLane) {
        guard !lane.hasSettled else { return }
        lane.hasSettled = true
        lanesOpening -= 1
        openLanes()
    }
}

/// Application bytes of connections, with those that have gone.
struct LaneBytes {
    var received: UInt64 = 0
    var sent: UInt64 = 0

    mutating func add(_ other: LaneBytes) {
        received &+= other.received
        sent &+= other.sent
    }

    func since(_ before: LaneBytes) -> (received: Int, sent: Int) {
        (Int(received &- before.received), Int(sent &- before.sent))
    }
}
