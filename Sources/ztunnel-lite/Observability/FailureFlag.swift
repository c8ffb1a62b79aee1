/// Why a connection failed, as `response_flags` of a metric says it; the words are ztunnel's.
package enum FailureFlag: UInt8, CaseIterable, Sendable {
    /// It did not fail.
    case none
    /// Policy refused it, or does so no longer being open.
    case authorizationPolicyDenied
    /// Any failure without a flag of its own, first of all that no connection could be made.
    case connectionFailure
    case tlsFailure
    case http2HandshakeFailure
    /// Port 15008 did not answer in time.
    case networkPolicyError
    /// There is no certificate for the identity.
    case identityError
    case certificateRevoked

    package var text: StaticString {
        switch self {
        case .none: "-"
        case .authorizationPolicyDenied: "DENY"
        case .connectionFailure: "CONNECT"
        case .tlsFailure: "TLS_FAILURE"
        case .http2HandshakeFailure: "H2_HANDSHAKE_FAILURE"
        case .networkPolicyError: "NETWORK_POLICY"
        case .identityError: "IDENTITY_ERROR"
        case .certificateRevoked: "CERT_REVOKED"
        }
    }
}
