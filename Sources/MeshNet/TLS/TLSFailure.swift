/// Why a handshake or connection failed, told from both sides: what was wanted, what was got, who
/// refused.
package struct TLSFailure: Error, Sendable, Equatable {
    /// Where it went wrong; each has its counter in Envoy's `ssl.*` stats.
    package enum Stage: String, Sendable {
        /// `fail_verify_no_cert`.
        case noCertificate = "no peer certificate"
        /// `fail_verify_error`.
        case chain = "certificate verification"
        /// `fail_verify_san`.
        case name = "subject alternative name"
        /// `fail_verify_error`; only where a ``RevocationRegister`` is asked.
        case revoked = "certificate revoked"
        /// `fail_verify_cert_hash`.
        case hash = "certificate hash"
        /// `connection_error`, as in Envoy, where the TLS library refuses before verification is told.
        case usage = "key usage"
        /// `connection_error`: versions, ciphers, bytes that are not TLS, alerts.
        case negotiation = "negotiation"
        /// `connection_error`: after the handshake.
        case record = "record"
    }

    package enum Refuser: String, Sendable {
        case local = "we"
        case peer = "the peer"
    }

    package var stage: Stage
    package var refuser: Refuser
    /// The reason in one phrase.
    package var reason: String
    /// What our configuration wanted; empty where there is nothing to say.
    package var wanted: String
    /// What the peer presented; empty where there is nothing to say.
    package var got: String
    /// Envoy's text for `%DOWNSTREAM_TRANSPORT_FAILURE_REASON%`, blanks as underscores.
    package var envoyText: String

    package init(
        stage: Stage,
        refuser: Refuser,
        reason: String,
        wanted: String = "",
        got: String = "",
        envoyText: String
    ) {
        self.stage = stage
        self.refuser = refuser
        self.reason = reason
        self.wanted = wanted
        self.got = got
        self.envoyText = envoyText
    }

    /// The whole story for the log:
    /// `we refused the peer: subject alternative name: no name fits; wanted …; got …`.
    package var sentence: String {
        var text =
            refuser == .local
            ? "we refused the peer: \(stage.rawValue): \(reason)"
            : "the peer refused us: \(reason)"
        if !wanted.isEmpty { text += "; wanted \(wanted)" }
        if !got.isEmpty { text += "; got \(got)" }
        return text
    }
}
