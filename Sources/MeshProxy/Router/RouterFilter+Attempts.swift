import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// From an endpoint to a request on its connection.
extension RouterFilter {
    func startAttempt() {
        guard let cluster, let action else { return }
        var wanted = UpstreamSelection()
        wanted.priority = action.priority
        wanted.payload = action.payload(of: stream.request, stream.info.httpVersion)
        wanted.criteria = selection?.criteria
        wanted.identity = cluster.options.identitySource?.identity(of: stream.request)
        if cluster.options.passesState, let shared = stream.info.sharedState {
            var identity = wanted.identity ?? ConnectionIdentity()
            identity.shared = shared
            wanted.identity = identity
        }
        if let retry, retry.avoidsPreviousHosts, !previousHosts.isEmpty {
            wanted.rejected = previousHosts
            wanted.attemptsMax = retry.hostSelectionAttemptsMax + 1
        }
        let attempt = UpstreamRequest(
            self,
            stream: stream,
            idleTimeout: timeouts?.perTryIdle ?? .zero,
            duration: timeouts?.streamDuration ?? .zero
        )
        self.attempt = attempt
        stream.info.timing?.use { $0.poolAsked() }
        switch cluster.openStream(for: attempt, wanted) {
        case .underWay(let ticket):
            if let ticket { attempt.isQueued(as: ticket) }
        case .noEndpoint:
            self.attempt = nil
            accounts?.record(code: 503)
            sendUpstreamReply(.noHealthyUpstream)
        }
    }

    /// After the first: its head says which one it is, and what time is left.
    func startAnotherAttempt() {
        guard let action, let selection else { return }
        stream.info.attemptCount += 1
        let elapsed = requestCompleteTime.map { loop.now - $0 } ?? .zero
        timeouts?.setRetryHeaders(stream, selection.host, action, config, elapsed: elapsed)
        startAttempt()
    }

    /// An attempt goes to this endpoint, or failed to.
    func attempted(_ endpoint: Endpoint) {
        stream.info.upstreamHost = endpoint.address
        stream.info.upstreamHostName = endpoint.spec.hostname
        stream.info.upstreamHostMetadata = endpoint.spec.metadata
        if let retry, retry.avoidsPreviousHosts { previousHosts.append(endpoint) }
    }

    /// The attempt has its stream: it sends what there is of the request.
    func attemptReady(_ attempt: UpstreamRequest, _ connection: UpstreamConnection) {
        accounts?.attemptBegan()
        let endpoint = connection.endpoint
        attempted(endpoint)
        // The name of a logical endpoint may lead elsewhere by now.
        stream.info.upstreamHost = connection.remoteAddress
        stream.info.upstreamRemoteAddress = connection.remoteAddress
        stream.info.upstreamHTTPVersion = attempt.connection?.version
        if let action, action.usesUpstreamHost, !endpoint.spec.hostname.isEmpty {
            action.setUpstreamHost(
                endpoint.spec.hostname,
                stream.request,
                keepsOriginal: !config.suppressesEnvoyHeaders
            )
        }
        for _ in 0..<responsePauses { attempt.pauseResponse() }
        let ends = isRequestComplete && trailers == nil
        attempt.send(head: stream.request, endStream: ends && kept.isEmpty)
        if !kept.isEmpty, self.attempt === attempt {
            attempt.send(kept.bytes, endStream: ends)
            if !mayNeedBodyAgain {
                abandonRepeats()
                kept.release()
            }
        }
        if let trailers, self.attempt === attempt { attempt.send(trailers: trailers) }
        if isRequestComplete || awaitsUpgrade, self.attempt === attempt {
            if !isRequestComplete { attempt.requestWritten() }
            attempt.requestComplete(perTryTimeout: perTryTimeout)
        }
        if isRequestPaused {
            isRequestPaused = false
            stream.resumeRequestReading()
        }
    }
}
