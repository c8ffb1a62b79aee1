import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

extension RouterFilter {
    /// Of each attempt; zero means none.
    var perTryTimeout: Nanoseconds { timeouts?.perTry ?? .zero }

    /// The request has no end, but its client sends nothing more before it has an answer: timeouts run as
    /// after a complete request, until the protocol is switched. Not for CONNECT, as in Envoy.
    var awaitsUpgrade: Bool {
        stream.isUpgrade && stream.request[.method]?.equals("CONNECT") == false
    }

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
