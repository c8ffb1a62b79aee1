import MeshNet

/// A named secret (envoy: transport_sockets.tls.v3.Secret).
package struct SecretConfig: Sendable {
    package enum Content: Sendable {
        case certificate(TLSCertificateConfig)
        case ticketKeys(TicketKeysConfig)
        case validation(ValidationContextConfig)
        /// After an error.
        case none
    }

    package let place: ConfigPlace
    package let name: String
    package let content: Content

    package init(_ object: ConfigObject) {
        place = ConfigPlace(object)
        name = object.string("name", default: "")
        object.unsupported("generic_secret", "nothing here takes generic secrets")
        let kind = object.exactlyOne(
            of: "tls_certificate",
            "session_ticket_keys",
            "validation_context",
            "generic_secret"
        )
        switch kind.flatMap({ kind in object.object(kind).map { (kind, $0) } }) {
        case ("tls_certificate", let child)?: content = .certificate(TLSCertificateConfig(child))
        case ("session_ticket_keys", let child)?: content = .ticketKeys(TicketKeysConfig(child))
        case ("validation_context", let child)?:
            content = .validation(ValidationContextConfig(child))
        case (_, let child)?:
            child.skip()
            content = .none
        case nil: content = .none
        }
    }
}

/// Names a secret and says where it is (envoy: SdsSecretConfig).
package struct SecretReference: Sendable, Hashable {
    package enum Source: Sendable, Hashable {
        /// In `static_resources.secrets`.
        case staticResources
        /// In a file that is watched. `watchedDirectory` replaces the file's own directory.
        case file(path: String, watchedDirectory: String?)
    }

    package let place: ConfigPlace
    package let name: String
    package let source: Source

    package init(_ object: ConfigObject) {
        place = ConfigPlace(object)
        name = object.requiredString("name")
        guard let config = object.object("sds_config") else {
            source = .staticResources
            return
        }
        config.inert("initial_fetch_timeout", "resource_api_version", "authorities")
        for key in ["api_config_source", "ads", "self"] {
            config.unsupported(key, "secrets come from static_resources.secrets and from files")
        }
        let kind = config.exactlyOne(
            of: "path_config_source",
            "path",
            "api_config_source",
            "ads",
            "self"
        )
        switch kind {
        case "path_config_source":
            let child = config.object("path_config_source")
            // A change is seen when it happens.
            child?.inert("poll_interval")
            source = .file(
                path: child?.requiredString("path") ?? "",
                watchedDirectory: child?.watchedDirectory()
            )
        case "path":
            source = .file(path: config.requiredString("path"), watchedDirectory: nil)
        default: source = .staticResources
        }
    }
}

/// A certificate with its key (envoy: transport_sockets.tls.v3.TlsCertificate).
package struct TLSCertificateConfig: Sendable {
    package let place: ConfigPlace
    package let chain: DataSource?
    package let privateKey: DataSource?
    package let password: DataSource?
    package let pkcs12: DataSource?
    /// By SDS only: moves into this directory mean that the files are to be read again.
    package let watchedDirectory: String?

    init(_ object: ConfigObject) {
        place = ConfigPlace(object)
        chain = object.object("certificate_chain").map { DataSource($0) }
        privateKey = object.object("private_key").map { DataSource($0) }
        password = object.object("password").map { DataSource($0) }
        pkcs12 = object.object("pkcs12").map { DataSource($0) }
        watchedDirectory = object.watchedDirectory()
        object.unsupported("private_key_provider", "keys are read from private_key")
        object.unsupported("ocsp_staple", "certificates are sent without OCSP response")
        object.unsupported("signed_certificate_timestamp", "it has no effect in Envoy either")
        object.unsupported("tls_params", "give them in the context's tls_params")
        if pkcs12 != nil {
            if chain != nil || privateKey != nil {
                object.error("pkcs12 stands alone, without certificate_chain and private_key")
            }
        } else if chain == nil {
            object.error("certificate_chain is required")
        } else if privateKey == nil {
            object.error("private_key is required")
        }
    }

    /// The files that it is made from.
    package var paths: [String] {
        [chain, privateKey, password, pkcs12].compactMap { $0?.path }
    }
}

/// Keys of session tickets (envoy: transport_sockets.tls.v3.TlsSessionTicketKeys).
package struct TicketKeysConfig: Sendable {
    package let place: ConfigPlace
    /// The first encrypts; all decrypt. 80 bytes each.
    package let keys: [DataSource]

    init(_ object: ConfigObject) {
        place = ConfigPlace(object)
        keys = object.objects("keys").map { DataSource($0) }
        if keys.isEmpty { object.error("at least one key is required", at: "keys") }
    }
}
