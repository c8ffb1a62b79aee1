import MeshNet

/// TLS towards downstream (envoy: transport_sockets.tls.v3.DownstreamTlsContext).
package struct DownstreamTLSConfig: Sendable {
    package let place: ConfigPlace
    package let common: CommonTLSConfig
    package let requireClientCertificate: Bool
    package let ticketKeys: TicketKeysConfig?
    package let ticketKeysSecret: SecretReference?
    package let issuesTickets: Bool
    package let keepsSessions: Bool
    /// Maximum lifetime of a session; fractions of a second are cut off.
    package let sessionTimeout: Duration?
    package let fullScanOnNameMismatch: Bool
    package let preferClientCiphers: Bool

    init(_ object: ConfigObject) {
        place = ConfigPlace(object)
        common = CommonTLSConfig(object, isServer: true)
        requireClientCertificate = object.bool("require_client_certificate", default: false)
        _ = object.atMostOne(
            of: "session_ticket_keys",
            "session_ticket_keys_sds_secret_config",
            "disable_stateless_session_resumption"
        )
        ticketKeys = object.object("session_ticket_keys").map { TicketKeysConfig($0) }
        ticketKeysSecret = object.object("session_ticket_keys_sds_secret_config").map {
            SecretReference($0)
        }
        issuesTickets = !object.bool("disable_stateless_session_resumption", default: false)
        keepsSessions = !object.bool("disable_stateful_session_resumption", default: false)
        sessionTimeout = object.duration("session_timeout")
        if let timeout = sessionTimeout, timeout >= .seconds(Int64(1) << 32) {
            object.error("must be below 2^32 seconds", at: "session_timeout")
        }
        fullScanOnNameMismatch = object.bool("full_scan_certs_on_sni_mismatch", default: false)
        preferClientCiphers = object.bool("prefer_client_ciphers", default: false)
        object.unsupported("require_sni", "choose by server name with filter_chain_match")
        object.unsupported("ocsp_staple_policy", "certificates are sent without OCSP response") {
            $0 == .string("LENIENT_STAPLING")
        }
        if requireClientCertificate, common.validation.isAbsent {
            object.warning(
                "a client certificate is required but nothing says whom to trust: any certificate "
                    + "is accepted; give a validation_context with trusted_ca",
                at: "require_client_certificate"
            )
        }
    }
}

/// TLS towards upstream (envoy: transport_sockets.tls.v3.UpstreamTlsContext).
package struct UpstreamTLSConfig: Sendable {
    package let place: ConfigPlace
    package let common: CommonTLSConfig
    /// Sent as server name; empty: none.
    package let sni: String
    /// The endpoint's host name, where known, replaces ``sni``.
    package let autoHostSNI: Bool
    /// The server's certificate must have a DNS name equal to the server name sent.
    package let autoSNISANValidation: Bool
    /// Sessions kept for resumption; 0: none is resumed.
    package let maxSessionKeys: UInt32

    init(_ object: ConfigObject) {
        place = ConfigPlace(object)
        common = CommonTLSConfig(object, isServer: false)
        sni = object.string("sni", default: "")
        if sni.utf8.count > 255 { object.error("must have at most 255 bytes", at: "sni") }
        autoHostSNI = object.bool("auto_host_sni", default: false)
        autoSNISANValidation = object.bool("auto_sni_san_validation", default: false)
        maxSessionKeys = object.uint32("max_session_keys", default: 1)
        object.unsupported("allow_renegotiation", "renegotiation is insecure")
        object.inert("enforce_rsa_key_usage")
        if autoSNISANValidation, common.validation.isAbsent {
            object.error(
                "needs a validation_context with trusted_ca",
                at: "auto_sni_san_validation"
            )
        }
        if common.certificates.count + common.certificateSecrets.count > 1 {
            object.error(
                "a client can present only one certificate",
                at: "common_tls_context"
            )
        }
    }
}

/// What both sides share (envoy: transport_sockets.tls.v3.CommonTlsContext).
package struct CommonTLSConfig: Sendable {
    package let parameters: TLSParametersConfig
    package let certificates: [TLSCertificateConfig]
    /// Only when ``certificates`` is empty, as in Envoy.
    package let certificateSecrets: [SecretReference]
    package let validation: TLSValidationConfig
    /// Most preferred first.
    package let alpn: [String]

    fileprivate init(_ parent: ConfigObject, isServer: Bool) {
        let object = parent.object("common_tls_context")
        parameters = TLSParametersConfig(object?.object("tls_params"), isServer: isServer)
        certificates =
            object?.objects("tls_certificates").map { TLSCertificateConfig($0) } ?? []
        let secrets =
            object?.objects("tls_certificate_sds_secret_configs").map { SecretReference($0) } ?? []
        if !certificates.isEmpty, !secrets.isEmpty {
            object?.warning(
                "has no effect beside tls_certificates",
                at: "tls_certificate_sds_secret_configs"
            )
        }
        certificateSecrets = certificates.isEmpty ? secrets : []
        validation = TLSValidationConfig(object)
        // Each entry may be a list: Envoy splits "h2,http/1.1" at commas.
        alpn =
            object?.strings("alpn_protocols").flatMap {
                $0.split(separator: ",").map(String.init)
            } ?? []
        if let object { Self.refuse(object) }
        if isServer, certificates.isEmpty, certificateSecrets.isEmpty {
            (object ?? parent).error(
                "a TLS listener needs tls_certificates or tls_certificate_sds_secret_configs"
            )
        }
    }

    private static func refuse(_ object: ConfigObject) {
        for key in [
            "tls_certificate_provider_instance", "tls_certificate_certificate_provider",
            "tls_certificate_certificate_provider_instance",
            "validation_context_certificate_provider",
            "validation_context_certificate_provider_instance",
        ] {
            object.unsupported(key, "certificates come from the file, from files and by SDS")
        }
        object.unsupported("custom_tls_certificate_selector", "certificates are chosen by name")
        object.unsupported("custom_handshaker", "handshakes are OpenSSL's")
        object.unsupported("key_log", "keys of connections are never written")
    }
}

/// How peers are verified: one of four ways to say it.
package enum TLSValidationConfig: Sendable {
    case none
    case inline(ValidationContextConfig)
    case secret(SecretReference)
    /// The secret's context merged over the default one.
    case combined(ValidationContextConfig, SecretReference)

    fileprivate init(_ object: ConfigObject?) {
        self = .none
        guard let object else { return }
        let kind = object.atMostOne(
            of: "validation_context",
            "validation_context_sds_secret_config",
            "combined_validation_context"
        )
        switch kind {
        case "validation_context":
            if let child = object.object("validation_context") {
                self = .inline(ValidationContextConfig(child))
            }
        case "validation_context_sds_secret_config":
            if let child = object.object("validation_context_sds_secret_config") {
                self = .secret(SecretReference(child))
            }
        case "combined_validation_context":
            guard let child = object.object("combined_validation_context") else { return }
            for key in [
                "validation_context_certificate_provider",
                "validation_context_certificate_provider_instance",
            ] {
                child.unsupported(key, "authorities come from the file, from files and by SDS")
            }
            guard let base = child.requiredObject("default_validation_context"),
                let secret = child.requiredObject("validation_context_sds_secret_config")
            else { return }
            self = .combined(ValidationContextConfig(base), SecretReference(secret))
        default: return
        }
    }

    var isAbsent: Bool {
        switch self {
        case .none: true
        case .inline(let context): context.isEmpty
        case .secret, .combined: false
        }
    }
}

/// Versions and algorithms (envoy: transport_sockets.tls.v3.TlsParameters).
package struct TLSParametersConfig: Sendable {
    package let minVersion: TLSVersion
    package let maxVersion: TLSVersion
    package let cipherSuites: [String]
    package let curves: [String]
    package let signatureAlgorithms: [String]

    enum ProtocolVersion: Int, ConfigEnum {
        case auto, tls10, tls11, tls12, tls13

        var name: String {
            switch self {
            case .auto: "TLS_AUTO"
            case .tls10: "TLSv1_0"
            case .tls11: "TLSv1_1"
            case .tls12: "TLSv1_2"
            case .tls13: "TLSv1_3"
            }
        }
    }

    /// A server speaks 1.2 and 1.3 by default, a client 1.2.
    fileprivate init(_ object: ConfigObject?, isServer: Bool) {
        func version(_ key: String, _ fallback: TLSVersion) -> TLSVersion {
            let given = object?.enumeration(key, ProtocolVersion.self) ?? .auto
            return TLSVersion(rawValue: given.rawValue) ?? fallback
        }
        minVersion = version("tls_minimum_protocol_version", .tls12)
        maxVersion = version("tls_maximum_protocol_version", isServer ? .tls13 : .tls12)
        cipherSuites = object?.strings("cipher_suites") ?? []
        curves = object?.strings("ecdh_curves") ?? []
        signatureAlgorithms = object?.strings("signature_algorithms") ?? []
        object?.unsupported("compliance_policies", "name cipher_suites and ecdh_curves")
        if let object, minVersion > maxVersion {
            object.error(
                "is above the maximum"
                    + (object.isPresent("tls_maximum_protocol_version")
                        ? "" : ", which is TLSv1_2 for a cluster unless given"),
                at: "tls_minimum_protocol_version"
            )
        }
    }
}
