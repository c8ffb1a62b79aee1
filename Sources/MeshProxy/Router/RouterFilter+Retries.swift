import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// What becomes of an attempt that fails: another one, or an answer on the upstream's behalf.
extension RouterFilter {
    func attemptReset(
        _ attempt: UpstreamRequest,
        _ reason: StreamResetReason,
        transportFailure: String
    ) {
        guard self.attempt === attempt, let accounts else { return }
        if !transportFailure.isEmpty {
            stream.info.upstreamTransportFailureReason = LocalReply.underscored(transportFailure)
        }
        if attempt.isResponseEnded, reason == .remoteReset {
            // The upstream of a tunnel has said all it will, and hears no more.
            return stream.abortResponse(.localReset)
        }
        if isResponseStarted {
            count(outcome.end(nil), attempt)
            stream.info.flags.formUnion(reason.upstreamFlag)
            stream.info.responseCodeDetails =
                "upstream_reset_after_response_started{\(reason.detail)}"
            return stream.abortResponse(reason)
        }
        count(.requestsError, attempt)
        // What a server has refused unseen is first the policy's to try again.
        if reason != .remoteRefused, repeatsLostRace(reason, attempt) { return }
        let decision = retry?.reset(
            reason,
            requestStarted: attempt.hasRequestBegun,
            random: stream.worker.random.next()
        )
        if let decision, retries(decision, replacing: attempt) { return }
        if reason == .remoteRefused, decision ?? .no == .no, repeatsLostRace(reason, attempt) {
            return
        }
        accounts.record(code: reason == .protocolError ? 502 : 503)
        sendUpstreamReply(
            .upstreamReset(
                reason,
                transportFailure: transportFailure,
                attempts: stream.info.attemptCount,
                flags: reason.upstreamFlag
            )
        )
    }

    func attemptTimedOut(_ attempt: UpstreamRequest, _ timeout: UpstreamTimeout) {
        guard self.attempt === attempt, let cluster else { return }
        switch timeout {
        case .perTryIdle: cluster.stats.upstreamRqPerTryIdleTimeout.add()
        case .streamDuration: cluster.stats.upstreamRqMaxDurationReached.add()
        case .perTry, .route: cluster.stats.upstreamRqPerTryTimeout.add()
        }
        if timeout != .streamDuration {
            count(.requestsTimeout, attempt)
            timeouts?.hasAttemptTimedOut = true
        }
        count(.requestsError, attempt)
        attempt.abandon()
        if !isResponseStarted,
            let decision = retry?.reset(
                .localReset,
                requestStarted: true,
                random: stream.worker.random.next()
            ),
            retries(decision, replacing: attempt)
        {
            return
        }
        answerTimeout(timeout)
    }

    private func routeTimedOut() {
        guard let accounts else { return }
        accounts.timedOut()
        count(.requestsTimeout, attempt)
        count(.requestsError, attempt)
        attempt?.abandon()
        answerTimeout(.route)
    }

    private func answerTimeout(_ timeout: UpstreamTimeout) {
        var reply = LocalReply.upstreamTimeout(timeout)
        if isResponseStarted {
            stream.info.flags.formUnion(reply.flags)
            stream.info.responseCodeDetails = reply.detailsText
            return stream.abortResponse(.localReset)
        }
        // Not the upstream's fault, to Envoy: no code is counted.
        if timeout == .streamDuration { return sendUpstreamReply(reply) }
        if timeouts?.answersNoContent == true {
            reply.status = 204
            reply.body = ""
        }
        accounts?.record(code: reply.status)
        sendUpstreamReply(reply)
    }

    // MARK: Retries

    /// Acts on a decision; true where another attempt will be made.
    func retries(_ decision: RetryDecision, replacing attempt: UpstreamRequest) -> Bool {
        guard let cluster, let action else { return false }
        if wasRetried, decision == .no { accounts?.retrySucceeded() }
        releaseRetrySlot()
        switch decision {
        case .no:
            return false
        case .limitExceeded:
            accounts?.retryLimitExceeded()
            stream.info.flags.insert(.upstreamRetryLimitExceeded)
            return false
        case .retry(let delay, let kind):
            guard isKeptWhole else { return false }
            guard cluster.vitals[action.priority].tryAcquireRetry() else {
                accounts?.retryOverflowed()
                stream.info.flags.insert(.upstreamOverflow)
                return false
            }
            holdsRetrySlot = true
            wasRetried = true
            accounts?.retried()
            switch kind {
            case .exponential: cluster.stats.upstreamRqRetryBackoffExponential.add()
            case .rateLimited: cluster.stats.upstreamRqRetryBackoffRatelimited.add()
            }
            attempt.abandon()
            self.attempt = nil
            stream.info.timing?.use { $0.attemptFailed() }
            backoffTimer = loop.arm(self, Timer.backoff, after: delay)
            return true
        }
    }

    /// A kept-alive connection that ended as the request met it: sent again at once, elsewhere, where
    /// that is safe. Needs no policy, and says so in the log.
    private func repeatsLostRace(_ reason: StreamResetReason, _ attempt: UpstreamRequest) -> Bool {
        guard
            IdleConnectionRace.allowsRepeat(
                reason,
                method: stream.request[.method],
                isReused: attempt.isConnectionReused,
                requestStarted: attempt.hasRequestBegun,
                responseStarted: attempt.hasResponseBegun,
                isReplayable: isKeptWhole && (retry != nil || !attempt.hasBodyBegun),
                repeats: raceRepeats
            )
        else { return false }
        raceRepeats += 1
        stream.worker.log.debug(
            .router,
            "request repeated: cluster=\(stream.info.clusterName): the idle connection to"
                + " \(stream.info.upstreamHost.map { "\($0)" } ?? "-") ended as the request was sent"
        )
        self.attempt = nil
        startAnotherAttempt()
        return true
    }

    func releaseRetrySlot() {
        guard holdsRetrySlot, let cluster, let action else { return }
        holdsRetrySlot = false
        cluster.vitals[action.priority].releaseRetry()
    }

    package func timerFired(_ kind: UInt8) {
        if kind == Timer.backoff {
            backoffTimer = .none
            startAnotherAttempt()
        } else {
            timer = .none
            routeTimedOut()
        }
    }
}
