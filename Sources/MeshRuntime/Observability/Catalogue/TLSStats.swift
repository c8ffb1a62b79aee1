/// Stats of one TLS transport socket (envoy: `listener.<address>.ssl.` or `cluster.<name>.ssl.`).
package struct TLSStats {
    package let connectionError: Counter
    package let failVerifyCertHash: Counter
    package let failVerifyError: Counter
    package let failVerifyNoCert: Counter
    package let failVerifySan: Counter
    package let handshake: Counter
    package let noCertificate: Counter
    package let ocspStapleFailed: Counter
    package let ocspStapleOmitted: Counter
    package let ocspStapleRequests: Counter
    package let ocspStapleResponses: Counter
    package let sessionReused: Counter

    package init(_ stats: WorkerStats, prefix: String) {
        let scope = StatsScope(stats, "\(prefix).ssl.")
        connectionError = scope.counter("connection_error")
        failVerifyCertHash = scope.counter("fail_verify_cert_hash")
        failVerifyError = scope.counter("fail_verify_error")
        failVerifyNoCert = scope.counter("fail_verify_no_cert")
        failVerifySan = scope.counter("fail_verify_san")
        handshake = scope.counter("handshake")
        noCertificate = scope.counter("no_certificate")
        ocspStapleFailed = scope.counter("ocsp_staple_failed")
        ocspStapleOmitted = scope.counter("ocsp_staple_omitted")
        ocspStapleRequests = scope.counter("ocsp_staple_requests")
        ocspStapleResponses = scope.counter("ocsp_staple_responses")
        sessionReused = scope.counter("session_reused")
    }
}
/// How the secrets of a TLS transport socket fare (envoy: `server_ssl_socket_factory.` or
/// `client_ssl_socket_factory.`).
package struct TLSContextStats {
    package let downstreamContextSecretsNotReady: Counter
    package let sslContextUpdateBySds: Counter
    package let upstreamContextSecretsNotReady: Counter

    package init(_ stats: WorkerStats, prefix: String) {
        let scope = StatsScope(stats, prefix)
        downstreamContextSecretsNotReady = scope.counter("downstream_context_secrets_not_ready")
        sslContextUpdateBySds = scope.counter("ssl_context_update_by_sds")
        upstreamContextSecretsNotReady = scope.counter("upstream_context_secrets_not_ready")
    }
}

/// Stats of the TLS inspector listener filter (envoy: `tls_inspector.`).
package struct TLSInspectorStats {
    package let alpnFound: Counter
    package let alpnNotFound: Counter
    package let clientHelloTooLarge: Counter
    package let sniFound: Counter
    package let sniNotFound: Counter
    package let tlsFound: Counter
    package let tlsNotFound: Counter
    package let bytesProcessed: Histogram

    package init(_ stats: WorkerStats) {
        let scope = StatsScope(stats, "tls_inspector.")
        alpnFound = scope.counter("alpn_found")
        alpnNotFound = scope.counter("alpn_not_found")
        clientHelloTooLarge = scope.counter("client_hello_too_large")
        sniFound = scope.counter("sni_found")
        sniNotFound = scope.counter("sni_not_found")
        tlsFound = scope.counter("tls_found")
        tlsNotFound = scope.counter("tls_not_found")
        bytesProcessed = scope.histogram("bytes_processed", unit: .unspecified)
    }
}
