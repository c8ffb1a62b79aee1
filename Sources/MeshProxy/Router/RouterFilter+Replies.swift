import MeshConfig
import MeshRuntime

extension RouterFilter {
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
