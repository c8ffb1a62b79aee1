import MeshConfig
import MeshHTTP
import MeshRuntime

extension RouterFilter {
    /// An informational head of the upstream goes to the client; both sides count it as a response
    /// (envoy: upstream_rq_1xx).
    func responseInformational(_ head: HeaderMap) {
        accounts?.record(code: HTTPStream.status(of: head))
        stream.sendInformational(head)
    }

    /// Answers for an upstream that did not.
    func sendUpstreamReply(_ reply: LocalReply) {
        var reply = reply
        if selection?.host.includesAttemptCountInResponse == true {
            reply.attemptCount = stream.info.attemptCount
        }
        if stream.settings.router.suppressesEnvoyHeaders { reply.isOverloaded = false }
        stream.sendLocalReply(reply)
    }
}
