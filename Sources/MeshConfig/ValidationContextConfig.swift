import MeshNet

/// Whom to trust (envoy: transport_sockets.tls.v3.CertificateValidationContext).
package struct ValidationContextConfig: Sendable {
    enum TrustChainVerification: Int, ConfigEnum {
        case verifyTrustChain, acceptUntrusted
    }

    package let place: ConfigPlace
    package private(set) var trustedCA: DataSource?
    package private(set) var crl: DataSource?
    package private(set) var watchedDirectory: String?
    /// SHA-256 each.
    package private(set) var certificateHashes: [[UInt8]]
    package private(set) var publicKeyHashes: [[UInt8]]
    package private(set) var names: [TLSNameMatcher]
    package private(set) var acceptsUntrusted: Bool
    package private(set) var allowsExpired: Bool
    package private(set) var checksOnlyLeafRevocation: Bool
    package private(set) var hidesAuthorities: Bool
    /// Certificates after the leaf that a chain may have.
    package private(set) var maxVerifyDepth: UInt32?

    init(_ object: ConfigObject) {
        place = ConfigPlace(object)
        trustedCA = object.object("trusted_ca").map { DataSource($0) }
        crl = object.object("crl").map { DataSource($0) }
        watchedDirectory = object.watchedDirectory()
        certificateHashes = Self.hashes(object, "verify_certificate_hash", Self.fingerprint)
        publicKeyHashes = Self.hashes(object, "verify_certificate_spki") {
            $0.utf8.count == 44 ? Base64.decode($0) : nil
        }
        let typed = object.objects("match_typed_subject_alt_names").compactMap(Self.nameMatcher)
        let untyped = object.objects("match_subject_alt_names").map { StringMatch($0) }
        if !untyped.isEmpty {
            object.warning(
                typed.isEmpty
                    ? "is deprecated: use match_typed_subject_alt_names"
                    : "has no effect beside match_typed_subject_alt_names",
                at: "match_subject_alt_names"
            )
        }
        names =
            typed.isEmpty
            ? untyped.flatMap { match in
                [TLSNameMatcher.Kind.dns, .uri, .email, .ipAddress].map {
                    TLSNameMatcher(kind: $0, match: match)
                }
            } : typed
        let verification: TrustChainVerification = object.enumeration(
            "trust_chain_verification",
            default: .verifyTrustChain
        )
        acceptsUntrusted = verification == .acceptUntrusted
        allowsExpired = object.bool("allow_expired_certificate", default: false)
        checksOnlyLeafRevocation = object.bool("only_verify_leaf_cert_crl", default: false)
        hidesAuthorities = object.bool("suppress_client_ca_list", default: false)
        maxVerifyDepth = object.uint32("max_verify_depth")
        if let depth = maxVerifyDepth, depth > 100 {
            object.error("must be at most 100", at: "max_verify_depth")
        }
        object.unsupported("ca_certificate_provider_instance", "use trusted_ca")
        object.unsupported("system_root_certs", "use trusted_ca")
        object.unsupported(
            "require_signed_certificate_timestamp",
            "timestamps are not looked at"
        )
        object.unsupported("custom_validator_config", "use the fields of this message")
        checkAuthorities(object)
    }

    private func checkAuthorities(_ object: ConfigObject) {
        // The one who merges may bring the authorities; only a lone context can be judged.
        let isDefault = object.path.description.hasSuffix("default_validation_context")
        if trustedCA != nil || isDefault { return }
        if !names.isEmpty {
            object.error(
                "names prove nothing without trusted_ca: anybody can write them into a certificate",
                at: object.isPresent("match_typed_subject_alt_names")
                    ? "match_typed_subject_alt_names" : "match_subject_alt_names"
            )
        }
        if allowsExpired {
            object.error(
                "has no meaning without trusted_ca: validity is not looked at then",
                at: "allow_expired_certificate"
            )
        }
    }

    /// Nothing is asked of a peer.
    package var isEmpty: Bool {
        trustedCA == nil && certificateHashes.isEmpty && publicKeyHashes.isEmpty && names.isEmpty
    }

    /// The files that it is made from.
    package var paths: [String] { [trustedCA, crl].compactMap { $0?.path } }

    /// `other` merged over this one as protobuf merges: its fields replace, its lists are appended,
    /// its true flags hold (envoy: CombinedCertificateValidationContext).
    package func merging(_ other: ValidationContextConfig) -> ValidationContextConfig {
        var merged = self
        merged.trustedCA = other.trustedCA ?? trustedCA
        merged.crl = other.crl ?? crl
        merged.watchedDirectory = other.watchedDirectory ?? watchedDirectory
        merged.certificateHashes += other.certificateHashes
        merged.publicKeyHashes += other.publicKeyHashes
        merged.names += other.names
        merged.acceptsUntrusted = acceptsUntrusted || other.acceptsUntrusted
        merged.allowsExpired = allowsExpired || other.allowsExpired
        merged.checksOnlyLeafRevocation = checksOnlyLeafRevocation || other.checksOnlyLeafRevocation
        merged.hidesAuthorities = hidesAuthorities || other.hidesAuthorities
        merged.maxVerifyDepth = other.maxVerifyDepth ?? maxVerifyDepth
        return merged
    }

    // MARK: Fields

    enum NameKind: Int, ConfigEnum {
        case sanTypeUnspecified, email, dns, uri, ipAddress, otherName
    }

    private static func nameMatcher(_ object: ConfigObject) -> TLSNameMatcher? {
        let kind: NameKind = object.enumeration("san_type", default: .sanTypeUnspecified)
        let match = object.requiredObject("matcher").map { StringMatch($0) }
        object.unsupported("oid", "it goes with san_type OTHER_NAME")
        guard let match else { return nil }
        switch kind {
        case .email: return TLSNameMatcher(kind: .email, match: match)
        case .dns: return TLSNameMatcher(kind: .dns, match: match)
        case .uri: return TLSNameMatcher(kind: .uri, match: match)
        case .ipAddress: return TLSNameMatcher(kind: .ipAddress, match: match)
        case .sanTypeUnspecified:
            object.error("is required: one of EMAIL, DNS, URI, IP_ADDRESS", at: "san_type")
        case .otherName:
            object.error("OTHER_NAME is not supported", at: "san_type")
        }
        return nil
    }

    private static func hashes(
        _ object: ConfigObject,
        _ key: String,
        _ decode: (String) -> [UInt8]?
    ) -> [[UInt8]] {
        object.strings(key).compactMap { text in
            if let hash = decode(text), hash.count == 32 { return hash }
            object.error(
                "\(ConfigNode.quoted(text)) is no SHA-256 hash in "
                    + (key.hasSuffix("spki") ? "base64" : "hexadecimal"),
                at: key
            )
            return nil
        }
    }

    /// 64 hexadecimal digits, or pairs of them with colons between.
    private static func fingerprint(_ text: String) -> [UInt8]? {
        let digits = text.utf8.filter { $0 != UInt8(ascii: ":") }
        guard digits.count == 64, text.utf8.count == 64 || text.utf8.count == 95 else { return nil }
        var bytes: [UInt8] = []
        for at in stride(from: 0, to: 64, by: 2) {
            let pair = String(decoding: digits[at..<(at + 2)], as: UTF8.self)
            guard let byte = UInt8(pair, radix: 16) else { return nil }
            bytes.append(byte)
        }
        return bytes
    }
}

extension TLSNameMatcher {
    /// A string matcher on names of one kind.
    package init(kind: Kind, match: StringMatch) {
        let isExact = match.kind == .exact && (kind == .dns || !match.ignoresCase)
        self.init(
            kind: kind,
            test: isExact ? .exact(match.pattern) : .custom { match.matches($0) },
            text: "\(kind.rawValue) \(match)"
        )
    }
}
