import COpenSSL

/// Names as Envoy's stats and access logs write them.
enum TLSNames {
    static func version(_ version: Int32) -> String {
        switch version {
        case TLS1_VERSION: "TLSv1"
        case TLS1_1_VERSION: "TLSv1.1"
        case TLS1_2_VERSION: "TLSv1.2"
        default: "TLSv1.3"
        }
    }

    static func group(_ name: String) -> String? {
        switch name {
        case "X25519": "X25519"
        case "prime256v1": "P-256"
        case "secp384r1": "P-384"
        case "secp521r1": "P-521"
        case "secp224r1": "P-224"
        case "X448": "X448"
        default: nil
        }
    }

    static func signature(_ ssl: OpaquePointer) -> String? {
        var hash: Int32 = 0
        var kind: Int32 = 0
        guard copenssl_peer_signature_hash(ssl, &hash) == 1,
            SSL_get_peer_signature_type_nid(ssl, &kind) == 1
        else { return nil }
        switch (kind, hash) {
        case (NID_X9_62_id_ecPublicKey, NID_sha256): return "ecdsa_secp256r1_sha256"
        case (NID_X9_62_id_ecPublicKey, NID_sha384): return "ecdsa_secp384r1_sha384"
        case (NID_X9_62_id_ecPublicKey, NID_sha512): return "ecdsa_secp521r1_sha512"
        case (NID_X9_62_id_ecPublicKey, NID_sha1): return "ecdsa_sha1"
        case (NID_rsassaPss, NID_sha256): return "rsa_pss_rsae_sha256"
        case (NID_rsassaPss, NID_sha384): return "rsa_pss_rsae_sha384"
        case (NID_rsassaPss, NID_sha512): return "rsa_pss_rsae_sha512"
        case (NID_rsaEncryption, NID_sha1): return "rsa_pkcs1_sha1"
        case (NID_rsaEncryption, NID_sha256): return "rsa_pkcs1_sha256"
        case (NID_rsaEncryption, NID_sha384): return "rsa_pkcs1_sha384"
        case (NID_rsaEncryption, NID_sha512): return "rsa_pkcs1_sha512"
        case (NID_ED25519, _): return "ed25519"
        default: return nil
        }
    }

    /// BoringSSL's error code and text for a reason of OpenSSL's SSL library: operators search for
    /// what Envoy prints.
    static func boringSSLReason(_ reason: Int32) -> String? {
        switch reason {
        case SSL_R_CERTIFICATE_VERIFY_FAILED: "CERTIFICATE_VERIFY_FAILED"
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: "PEER_DID_NOT_RETURN_A_CERTIFICATE"
        case SSL_R_HTTP_REQUEST: "HTTP_REQUEST"
        case SSL_R_HTTPS_PROXY_REQUEST: "HTTPS_PROXY_REQUEST"
        case SSL_R_WRONG_VERSION_NUMBER: "WRONG_VERSION_NUMBER"
        case SSL_R_UNSUPPORTED_PROTOCOL: "UNSUPPORTED_PROTOCOL"
        case SSL_R_NO_SHARED_CIPHER: "NO_SHARED_CIPHER"
        case SSL_R_NO_SUITABLE_KEY_SHARE: "NO_SHARED_GROUP"
        case SSL_R_UNEXPECTED_MESSAGE: "UNEXPECTED_MESSAGE"
        case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC: "DECRYPTION_FAILED_OR_BAD_RECORD_MAC"
        case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE: "SSLV3_ALERT_HANDSHAKE_FAILURE"
        case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE: "SSLV3_ALERT_BAD_CERTIFICATE"
        case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED: "SSLV3_ALERT_CERTIFICATE_EXPIRED"
        case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED: "SSLV3_ALERT_CERTIFICATE_REVOKED"
        case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN: "SSLV3_ALERT_CERTIFICATE_UNKNOWN"
        case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE: "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE"
        case SSL_R_TLSV1_ALERT_UNKNOWN_CA: "TLSV1_ALERT_UNKNOWN_CA"
        case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION: "TLSV1_ALERT_PROTOCOL_VERSION"
        case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED: "TLSV1_ALERT_CERTIFICATE_REQUIRED"
        default: nil
        }
    }

    /// BoringSSL numbers these differently from OpenSSL.
    static func boringSSLNumber(_ reason: Int32) -> Int32 {
        switch reason {
        case SSL_R_CERTIFICATE_VERIFY_FAILED: 125
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: 192
        case SSL_R_HTTP_REQUEST: 156
        case SSL_R_HTTPS_PROXY_REQUEST: 155
        case SSL_R_WRONG_VERSION_NUMBER: 247
        case SSL_R_UNSUPPORTED_PROTOCOL: 240
        case SSL_R_NO_SHARED_CIPHER: 184
        case SSL_R_NO_SUITABLE_KEY_SHARE: 266
        case SSL_R_UNEXPECTED_MESSAGE: 225
        case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC: 137
        // Alerts: 1000 plus the alert's number in both libraries.
        default: reason
        }
    }
}
