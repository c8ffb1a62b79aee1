/// How a connection ends that its peer has broken.
extension HTTP2Codec {
    /// The peer has gone too far; the connection ends as soon as libnghttp2 has returned.
    func fail(_ fault: HTTP2Fault) {
        if failure == nil { failure = fault }
    }

    func goAwayWasWritten() { isGoAwayWritten = true }

    /// Says so to the peer, where that may still be read, and ends every stream.
    func fail() {
        guard let failure, !isDead else { return }
        isDead = true
        stats?.count(failure.counter)
        let closesNow =
            failure == .outboundFrames || failure == .outboundControlFrames || failure == .keepalive
        if !closesNow, !isGoAwayWritten { writeGoAway(failure.errorCode) }
        let open = streams
        streams.removeAll()
        stats?.change(.streamsActive, by: -open.count)
        connectionFailed(failure, open, closesNow: closesNow)
    }

    /// Ends without a fault: nobody is told but through the owner.
    func die() { isDead = true }
}
