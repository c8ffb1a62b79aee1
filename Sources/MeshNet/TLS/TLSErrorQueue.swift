import COpenSSL

/// Turns OpenSSL's error queue into a ``TLSFailure``.
enum TLSErrorQueue {
    /// Takes everything the library has to say about the connection that just failed.
    static func take(
        stage: TLSFailure.Stage,
        verifyFailure: TLSFailure?,
        context: TLSContext,
        isServer: Bool
    ) -> TLSFailure {
        var codes = ""
        var first: Int32 = 0
        var alert: Int32 = 0
        while true {
            let code = ERR_get_error()
            guard code != 0 else { break }
            let reason = ERR_GET_REASON(code)
            guard ERR_GET_LIB(code) == ERR_LIB_SSL else {
                codes += "|\(code):\(text(ERR_lib_error_string(code))):"
                codes += "OPENSSL_internal:\(text(ERR_reason_error_string(code)))"
                continue
            }
            if first == 0 { first = reason }
            if reason > alertBase { alert = reason - alertBase }
            let number = 16 << 24 | TLSNames.boringSSLNumber(reason)
            let name =
                TLSNames.boringSSLReason(reason)
                ?? text(ERR_reason_error_string(code)).uppercased()
            codes += "|\(number):SSL routines:OPENSSL_internal:\(name)"
        }
        if codes.isEmpty { codes = "|268435731:SSL routines:OPENSSL_internal:UNEXPECTED_EOF" }
        if var failure = verifyFailure {
            failure.envoyText = envoy(codes, detail: failure.envoyText)
            return failure
        }
        if first == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE {
            return TLSFailure(
                stage: .noCertificate,
                refuser: .local,
                reason: "the peer did not present a certificate",
                wanted: context.wantedText,
                got: "none",
                envoyText: envoy(
                    codes,
                    detail: "peer did not provide required client certificate"
                )
            )
        }
        let reason = explanation(first, alert: alert, context: context)
        return TLSFailure(
            stage: stage,
            refuser: alert > 0 ? .peer : .local,
            reason: reason.text,
            wanted: alert > 0 ? "" : reason.wanted,
            got: alert > 0
                ? "our certificate \(context.localText(isServer: isServer))" : reason.got,
            envoyText: envoy(codes, detail: nil)
        )
    }

    /// OpenSSL's reasons for received alerts are this plus the alert (SSL_AD_REASON_OFFSET).
    private static let alertBase: Int32 = 1000

    private static func envoy(_ codes: String, detail: String?) -> String {
        let text = "TLS_error:" + codes + (detail.map { ":" + $0 } ?? "") + ":TLS_error_end"
        return String(text.map { $0 == " " ? "_" : $0 })
    }

    private static func text(_ string: UnsafePointer<CChar>?) -> String {
        string.map { String(cString: $0) } ?? ""
    }

    private static func explanation(
        _ reason: Int32,
        alert: Int32,
        context: TLSContext
    ) -> (text: String, wanted: String, got: String) {
        if alert > 0 {
            let name =
                alert == 116
                ? "certificate required"  // RFC 8446; the library's table ends before it.
                : SSL_alert_desc_string_long(alert).map { String(cString: $0) } ?? "unknown"
            return ("it sent the alert \(alert) (\(name))", "", "")
        }
        let versions = "TLS \(context.versionsText)"
        switch reason {
        case SSL_R_HTTP_REQUEST, SSL_R_HTTPS_PROXY_REQUEST:
            return ("plaintext HTTP on a TLS port", versions, "an HTTP request without TLS")
        case SSL_R_WRONG_VERSION_NUMBER:
            return ("the bytes are not TLS", versions, "bytes that are no TLS record")
        case SSL_R_UNSUPPORTED_PROTOCOL, SSL_R_VERSION_TOO_LOW, SSL_R_VERSION_TOO_HIGH:
            return ("no common protocol version", versions, "")
        case SSL_R_NO_SHARED_CIPHER:
            return ("no common cipher suite", context.ciphersText, "")
        case SSL_R_NO_SUITABLE_KEY_SHARE, SSL_R_NO_SUITABLE_GROUPS:
            return ("no common key agreement group", context.curvesText, "")
        case SSL_R_UNEXPECTED_EOF_WHILE_READING, 0:
            return ("the connection ended within the handshake", "", "")
        default:
            let text = ERR_reason_error_string(
                UInt(ERR_LIB_SSL) << 23 | UInt(UInt32(bitPattern: reason))
            )
            return (text.map { String(cString: $0) } ?? "TLS error \(reason)", "", "")
        }
    }
}
