import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// What a session that tunnels hears of its tunnel.
extension TCPProxySession {
    /// Tries once more; see ``tunnelFailed(_:)`` for what comes of it.
    func startTunnel() {
        guard let tunneling = settings.tunneling, let target else { return }
        info.attemptCount += 1
        let tunnel = TCPTunnel(tunneling, worker, for: self)
        opening = tunnel
        tunnel.start(target.cluster, target.selection)
    }

    var formatContext: FormatContext { worker.context(of: info, .notSet) }

    /// The request goes out on this connection.
    func tunnelAsks(on connection: UpstreamConnection) {
        info.upstreamHost = connection.remoteAddress
        info.upstreamRemoteAddress = connection.remoteAddress
        info.upstreamLocalAddress = connection.localAddress
        info.upstreamTLS = connection.tls
        info.upstreamConnectStart = connection.start
        info.upstreamConnectEnd = connection.connectedAt
        info.upstreamHandshakeEnd = connection.securedAt
        info.upstreamConnectionID = connection.id
    }

    func tunnelOpened(_ tunnel: TCPTunnel) {
        opening = nil
        guard let downstream else { return tunnel.abort() }
        upstream = tunnel
        downstream.resumeReading()
    }

    func tunnelFailed(_ failure: TunnelFailure) {
        opening = nil
        switch failure {
        case .noEndpoint:
            info.attemptCount -= 1
            info.flags.insert(.noHealthyUpstream)
        case .overflow(let endpoint):
            info.upstreamHost = endpoint?.address
            info.flags.insert(.upstreamOverflow)
        case .notConnected(let endpoint, let reason):
            info.upstreamHost = endpoint?.address
            info.upstreamTransportFailureReason = LocalReply.underscored(reason)
            if info.attemptCount < settings.config.maxConnectAttempts, downstream != nil {
                return startTunnel()
            }
            target?.cluster.stats.upstreamCxConnectAttemptsExceeded.add()
            info.flags.insert(.upstreamConnectionFailure)
            info.flags.insert(.upstreamRetryLimitExceeded)
        }
        downstream?.close()
    }

    /// What one stream has carried, its heads and frames included.
    func tunnelCarried(received: UInt64, sent: UInt64) {
        info.upstreamWireBytesReceived &+= received
        info.upstreamWireBytesSent &+= sent
    }

    /// Leaves a response's fields for logs, as Envoy writes a `HeaderMap` message.
    func propagate(_ fields: HeaderMap, as key: String) {
        var json = JSONWriter()
        json.beginObject()
        json.key("headers")
        json.beginArray()
        fields.forEach { name, value in
            json.beginObject()
            json.member("key", name)
            json.member("value", value)
            json.endObject()
        }
        json.endArray()
        json.endObject()
        let written = json.finish()
        info.filterState[key] = FilterStateObject("", json: String(bytes: written.bytes))
    }
}
