import MeshConfig
import MeshNet

/// One thing that keeps a TLS context from being made.
package struct SecretProblem: Hashable, Sendable {
    /// What to blame in the main configuration file.
    package var path: ConfigPath
    package var position: ConfigPosition
    package var message: String
}

/// Puts the settings of one TLS context together from its configuration, secrets and files.
///
/// It finds all problems: a missing file does not hide a second one.
struct TLSSettingsAssembler {
    /// Secrets by name, from `static_resources`.
    let staticSecrets: [String: SecretConfig]
    let files: any ConfigFiles

    private(set) var problems: [SecretProblem] = []
    /// Files whose change means that the settings are to be made again.
    private(set) var watched: Set<WatchedPath> = []
    /// A secret's file could not be read, or is no list of secrets.
    private(set) var hasUnreadableSecret = false
    /// Names of the secrets from `static_resources` that were used.
    private(set) var staticSecretNames: Set<String> = []
    /// Names of the secrets that come from files.
    private(set) var fileSecrets: Set<String> = []
    /// Where each certificate of the settings is configured.
    private var certificatePlaces: [Blame] = []
    private var validationBlame: Blame?
    private let place: ConfigPlace

    /// A place in the main file, and for what stands in another file, which.
    struct Blame {
        var path: ConfigPath
        var position: ConfigPosition
        var prefix = ""
        /// The secret's name; empty for what stands in place.
        var name = ""
    }

    init(place: ConfigPlace, staticSecrets: [String: SecretConfig], files: any ConfigFiles) {
        self.place = place
        self.staticSecrets = staticSecrets
        self.files = files
    }

    mutating func settings(_ config: DownstreamTLSConfig, scope: String) -> TLSSettings {
        var settings = TLSSettings(role: .server)
        fill(&settings, config.common)
        settings.requireClientCertificate = config.requireClientCertificate
        settings.preferClientCiphers = config.preferClientCiphers
        settings.fullScanOnNameMismatch = config.fullScanOnNameMismatch
        settings.issuesTickets = config.issuesTickets
        settings.keepsSessions = config.keepsSessions
        settings.sessionSeconds = config.sessionTimeout.map { Int($0.components.seconds) }
        settings.sessionScope = scope
        if let keys = config.ticketKeys {
            settings.ticketKeys = ticketKeys(keys, Blame(keys.place), isWatched: false)
        } else if let reference = config.ticketKeysSecret,
            let found = secret(reference, "session_ticket_keys")
        {
            if case .ticketKeys(let keys) = found.secret.content {
                settings.ticketKeys = ticketKeys(keys, found.blame, isWatched: found.isWatched)
            } else {
                problem(found.blame, "secret \"\(reference.name)\" has no session_ticket_keys")
            }
        }
        return settings
    }

    mutating func settings(_ config: UpstreamTLSConfig) -> TLSSettings {
        var settings = TLSSettings(role: .client)
        fill(&settings, config.common)
        settings.maxSessionKeys = Int(config.maxSessionKeys)
        settings.validatesServerName = config.autoSNISANValidation
        return settings
    }

    /// Blames what the context refused.
    mutating func blame(_ error: TLSSettingsError) {
        for found in error.problems { blame(found) }
    }

    mutating func blame(_ found: TLSSettingsError.Problem) {
        var words = found.field.split(separator: ".").map(String.init)
        if words.count > 1, words[0] == "common_tls_context" {
            if words[1].hasPrefix("tls_certificates["),
                let index = Int(words[1].dropFirst("tls_certificates[".count).dropLast()),
                certificatePlaces.indices.contains(index)
            {
                words.removeFirst(2)
                return problem(certificatePlaces[index], found.message, words)
            }
            if words[1] == "validation_context", let blame = validationBlame {
                words.removeFirst(2)
                return problem(blame, found.message, words)
            }
        }
        problem(Blame(place), found.message, words)
    }

    // MARK: Common

    private mutating func fill(_ settings: inout TLSSettings, _ common: CommonTLSConfig) {
        settings.minVersion = common.parameters.minVersion
        settings.maxVersion = common.parameters.maxVersion
        settings.cipherSuites = common.parameters.cipherSuites
        settings.curves = common.parameters.curves
        settings.signatureAlgorithms = common.parameters.signatureAlgorithms
        settings.alpn = common.alpn
        for certificate in common.certificates {
            add(certificate, Blame(certificate.place), to: &settings, isWatched: false)
        }
        for reference in common.certificateSecrets {
            guard let found = secret(reference, "tls_certificate") else { continue }
            if case .certificate(let certificate) = found.secret.content {
                add(certificate, found.blame, to: &settings, isWatched: found.isWatched)
            } else {
                problem(found.blame, "secret \"\(reference.name)\" has no tls_certificate")
            }
        }
        fillTrust(&settings, common.validation)
    }

    private mutating func fillTrust(_ settings: inout TLSSettings, _ config: TLSValidationConfig) {
        switch config {
        case .none: return
        case .inline(let context):
            settings.trust = trust(context, Blame(context.place), isWatched: false)
        case .secret(let reference):
            guard let found = validation(reference) else { return }
            settings.trust = trust(found.context, found.blame, isWatched: found.isWatched)
        case .combined(let base, let reference):
            guard let found = validation(reference) else { return }
            settings.trust = trust(
                base.merging(found.context),
                found.blame,
                isWatched: found.isWatched
            )
        }
    }

    private mutating func validation(
        _ reference: SecretReference
    ) -> (context: ValidationContextConfig, blame: Blame, isWatched: Bool)? {
        guard let found = secret(reference, "validation_context") else { return nil }
        guard case .validation(let context) = found.secret.content else {
            problem(found.blame, "secret \"\(reference.name)\" has no validation_context")
            return nil
        }
        return (context, found.blame, found.isWatched)
    }

    // MARK: Secrets

    private mutating func secret(
        _ reference: SecretReference,
        _ kind: String
    ) -> (secret: SecretConfig, blame: Blame, isWatched: Bool)? {
        var blame = Blame(reference.place)
        switch reference.source {
        case .staticResources:
            staticSecretNames.insert(reference.name)
            guard let secret = staticSecrets[reference.name] else {
                problem(
                    blame,
                    "there is no secret \"\(reference.name)\" in static_resources.secrets"
                        + Suggestion.hint(for: reference.name, among: staticSecrets.keys)
                )
                return nil
            }
            blame = Blame(secret.place)
            blame.name = reference.name
            return (secret, blame, false)
        case .file(let path, let directory):
            fileSecrets.insert(reference.name)
            watched.insert(directory.map { .directory($0) } ?? .file(path))
            guard let bytes = read(path, blame) else {
                hasUnreadableSecret = true
                return nil
            }
            let file = SecretFileConfig.read(bytes, path: path)
            if !file.problems.isEmpty { hasUnreadableSecret = true }
            for text in file.problems { problem(blame, text) }
            blame.prefix = "secret \"\(reference.name)\" of \(path): "
            blame.name = reference.name
            if let secret = file.secrets.first(where: { $0.name == reference.name }) {
                return (secret, blame, true)
            }
            if file.problems.isEmpty {
                let names = file.secrets.map { "\"\($0.name)\"" }.joined(separator: ", ")
                problem(
                    Blame(reference.place),
                    "\(path) has no secret \"\(reference.name)\"; it has \(names)"
                )
            }
            return nil
        }
    }

    // MARK: Files

    private mutating func add(
        _ config: TLSCertificateConfig,
        _ blame: Blame,
        to settings: inout TLSSettings,
        isWatched: Bool
    ) {
        if isWatched { watch(config.paths, config.watchedDirectory) }
        var source = TLSCertificateSource()
        source.chain = load(config.chain, blame, "certificate_chain")
        source.privateKey = load(config.privateKey, blame, "private_key")
        source.path = config.chain?.path ?? config.pkcs12?.path ?? "<inline>"
        source.name = blame.name
        if let password = config.password {
            source.password = load(password, blame, "password")
            // Editors end files with a newline; a password does not.
            while let last = source.password?.last, last == 0x0A || last == 0x0D {
                source.password?.removeLast()
            }
        }
        if let archive = config.pkcs12 { source.pkcs12 = load(archive, blame, "pkcs12") }
        certificatePlaces.append(blame)
        settings.certificates.append(source)
    }

    private mutating func trust(
        _ config: ValidationContextConfig,
        _ blame: Blame,
        isWatched: Bool
    ) -> TLSTrust {
        if isWatched { watch(config.paths, config.watchedDirectory) }
        validationBlame = blame
        var trust = TLSTrust()
        trust.authorities = load(config.trustedCA, blame, "trusted_ca")
        trust.authoritiesPath = config.trustedCA?.path ?? "<inline>"
        trust.name = blame.name
        trust.revocationLists = load(config.crl, blame, "crl")
        trust.certificateHashes = config.certificateHashes
        trust.publicKeyHashes = config.publicKeyHashes
        trust.names = config.names
        trust.acceptsUntrusted = config.acceptsUntrusted
        trust.allowsExpired = config.allowsExpired
        trust.checksOnlyLeafRevocation = config.checksOnlyLeafRevocation
        trust.hidesAuthorities = config.hidesAuthorities
        trust.maxDepth = config.maxVerifyDepth.map(Int.init)
        return trust
    }

    private mutating func ticketKeys(
        _ config: TicketKeysConfig,
        _ blame: Blame,
        isWatched: Bool
    ) -> [[UInt8]] {
        if isWatched { watch(config.keys.compactMap(\.path), nil) }
        return config.keys.enumerated().map { load($1, blame, "keys[\($0)]") }
    }

    private mutating func watch(_ paths: [String], _ directory: String?) {
        if let directory {
            watched.insert(.directory(directory))
        } else {
            watched.formUnion(paths.map { .file($0) })
        }
    }

    private mutating func load(_ source: DataSource?, _ blame: Blame, _ field: String) -> [UInt8] {
        guard let source else { return [] }
        do {
            let bytes = try source.load(files)
            if bytes.isEmpty { problem(blame, "\(source.path ?? "the data") is empty", [field]) }
            return bytes
        } catch {
            problem(blame, "cannot be read: \(error)", [field])
            return []
        }
    }

    private mutating func read(_ path: String, _ blame: Blame) -> [UInt8]? {
        do {
            return try files.read(path)
        } catch {
            problem(blame, "cannot be read: \(error)")
            return nil
        }
    }

    /// `words` are fields below the blamed place.
    private mutating func problem(_ blame: Blame, _ message: String, _ words: [String] = []) {
        let field = words.joined(separator: ".")
        var path = blame.path
        if blame.prefix.isEmpty {
            for word in words { path = Self.member(path, word) }
        }
        let prefix =
            blame.prefix.isEmpty || field.isEmpty ? blame.prefix : "\(blame.prefix)\(field): "
        let found = SecretProblem(path: path, position: blame.position, message: prefix + message)
        if !problems.contains(found) { problems.append(found) }
    }

    private static func member(_ path: ConfigPath, _ word: String) -> ConfigPath {
        guard let bracket = word.firstIndex(of: "["),
            let index = Int(word[bracket...].dropFirst().dropLast())
        else { return path.member(word) }
        return path.member(String(word[..<bracket])).element(index)
    }
}

extension TLSSettingsAssembler.Blame {
    init(_ place: ConfigPlace) {
        self.init(path: place.path, position: place.position)
    }
}
