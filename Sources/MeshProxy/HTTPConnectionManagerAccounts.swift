import MeshHTTP
import MeshNet
import MeshRuntime

/// What a connection manager counts, by event (envoy: `http.<stat_prefix>.downstream_*`).
extension HTTPConnectionManagerSettings {
    // MARK: Connections

    func connectionOpened() {
        stats.downstreamCxTotal.add()
        stats.downstreamCxActive.add()
        guard isTLS else { return }
        stats.downstreamCxSslTotal.add()
        stats.downstreamCxSslActive.add()
    }

    /// The first bytes have told what the connection speaks.
    func connectionSpeaks(_ version: HTTPVersion) {
        if version == .http2 {
            stats.downstreamCxHttp2Total.add()
            stats.downstreamCxHttp2Active.add()
        } else {
            stats.downstreamCxHttp1Total.add()
            stats.downstreamCxHttp1Active.add()
        }
    }

    func connectionClosed(
        _ connection: Connection,
        _ info: ConnectionInfo,
        _ reason: ConnectionCloseReason,
        _ version: HTTPVersion?,
        activeStreams: Int,
        peerHasEnded: Bool,
        now: Instant
    ) {
        if connection.hasTimedOutClosing { stats.downstreamCxDelayedCloseTimeout.add() }
        stats.downstreamCxDestroy.add()
        stats.downstreamCxActive.subtract()
        switch version {
        case nil: break
        case .http2: stats.downstreamCxHttp2Active.subtract()
        case .http10, .http11: stats.downstreamCxHttp1Active.subtract()
        }
        if isTLS { stats.downstreamCxSslActive.subtract() }
        if case .local = reason, !peerHasEnded {
            stats.downstreamCxDestroyLocal.add()
            if activeStreams > 0 { stats.downstreamCxDestroyLocalActiveRq.add() }
        } else {
            stats.downstreamCxDestroyRemote.add()
            if activeStreams > 0 { stats.downstreamCxDestroyRemoteActiveRq.add() }
        }
        if activeStreams > 0 { stats.downstreamCxDestroyActiveRq.add() }
        stats.downstreamCxLengthMs.record(UInt64(max(0, (now - info.start).milliseconds)))
    }

    /// Counts what has passed since the last call: a connection may live for days.
    func countBytes(of connection: Connection, since counted: inout (in: UInt64, out: UInt64)) {
        stats.downstreamCxRxBytesTotal.add(connection.bytesReceived &- counted.in)
        stats.downstreamCxTxBytesTotal.add(connection.bytesSent &- counted.out)
        counted = (connection.bytesReceived, connection.bytesSent)
    }

    // MARK: Requests

    func requestBegan(_ version: HTTPVersion) {
        stats.downstreamRqTotal.add()
        stats.downstreamRqActive.add()
        if version == .http2 {
            stats.downstreamRqHttp2Total.add()
        } else {
            stats.downstreamRqHttp1Total.add()
        }
    }

    func requestEnded(_ stream: HTTPStream) {
        stats.downstreamRqActive.subtract()
        if stream.isUpgrade { stats.downstreamCxUpgradesActive.subtract() }
        let took = stream.loop.now - stream.info.start
        stats.downstreamRqTime.record(UInt64(max(0, took.milliseconds)))
    }

    /// The request may have the other protocol it asks for; the upstream may still refuse.
    func upgradeAllowed() {
        stats.downstreamCxUpgradesTotal.add()
        stats.downstreamCxUpgradesActive.add()
    }

    /// A response head goes to the client.
    func responseBegan(_ status: Int) {
        stats.countResponse(status)
        listenerStats.countResponse(status)
    }
}
