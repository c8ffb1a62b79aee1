import COpenSSL
import Synchronization

/// Owner of the `SSL_CTX` of one TLS configuration: certificates, trust, parameters, sessions.
///
/// Built and validated on the control thread, immutable, then shared by all workers.
///
/// `@unchecked Sendable`: OpenSSL allows concurrent use of an `SSL_CTX` that is no longer configured,
/// and what changes afterwards (known peers, tickets, client sessions) is behind a mutex.
package final class TLSContext: @unchecked Sendable {
    /// One per certificate; connections begin with the first.
    let certificates: [TLSCertificate]
    /// The context that new connections are made from.
    let base: OpaquePointer
    let peers: TLSPeerCache
    let clientSessions: TLSClientSessions
    private let ticketKeys: TLSTicketKeys?
    private let selector: TLSCertificateSelector?
    private let alpn: [UInt8]

    let trust: TLSTrust?
    /// Whether there are trust roots to verify against.
    let verifiesChains: Bool
    let hasRevocationLists: Bool
    let validatesServerName: Bool
    /// Whether ``TLSRecords`` protects what follows a handshake.
    let protectsRecords: Bool
    let requiresALPN: Bool
    let versionsText: String
    let ciphersText: String
    let curvesText: String
    /// What is asked of a peer's certificate, for people.
    let wantedText: String

    /// Not errors, but worth telling: a certificate that has expired, say.
    package let warnings: [TLSSettingsError.Problem]
    /// The certificates of the trust bundle, for the admin's `/certs`.
    package let authorities: [CertificateInfo]
    /// Equal only for contexts among which sessions may be resumed.
    package let sessionContextID: [UInt8]

    package init(_ settings: TLSSettings) throws(TLSSettingsError) {
        var builder = TLSContextBuilder(settings)
        let certificates = builder.build()
        guard builder.problems.isEmpty, let base = certificates.first?.context else {
            for certificate in certificates { SSL_CTX_free(certificate.context) }
            throw TLSSettingsError(problems: builder.problems)
        }
        self.certificates = certificates
        self.base = base
        trust = settings.trust
        verifiesChains = settings.trust?.hasAuthorities ?? false
        requiresALPN = settings.requiresALPN
        hasRevocationLists = builder.hasRevocationLists
        validatesServerName = settings.validatesServerName
        protectsRecords = settings.protectsRecords
        versionsText = builder.versionsText
        ciphersText = builder.suitesText
        curvesText = builder.curvesText
        wantedText = builder.wantedText
        warnings = builder.warnings
        authorities = builder.authorities
        sessionContextID = builder.sessionContextID(certificates)
        alpn = settings.alpn.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
        peers = TLSPeerCache()
        clientSessions = TLSClientSessions(
            perName: settings.role == .client ? settings.maxSessionKeys : 0
        )
        ticketKeys =
            settings.role == .server && settings.issuesTickets
            ? TLSTicketKeys(configured: settings.ticketKeys) : nil
        selector =
            certificates.count > 1
            ? TLSCertificateSelector(certificates, fullScan: settings.fullScanOnNameMismatch) : nil
        installCallbacks(settings)
    }

    deinit {
        for certificate in certificates { SSL_CTX_free(certificate.context) }
    }

    var hasALPN: Bool { !alpn.isEmpty }

    /// Our certificates, leaf first in each chain.
    package var chains: [[CertificateInfo]] { certificates.filter(\.isPresent).map(\.chain) }

    /// When certificates expire, in seconds since 1970, by the names under which Envoy's stats
    /// `ssl.certificate.<name>.expiration_unix_time_seconds` have them.
    package var expirations: [(name: String, seconds: Int64)] {
        var list: [(name: String, seconds: Int64)] = []
        for certificate in certificates {
            guard let leaf = certificate.chain.first else { continue }
            list.append(
                (Self.statName(certificate.name, "unnamed_cert"), leaf.notAfter.seconds)
            )
        }
        if let trust, let authority = authorities.first {
            list.append((Self.statName(trust.name, "unnamed_ca_cert"), authority.notAfter.seconds))
        }
        return list
    }

    /// Envoy adds the first half of the SHA-256 of the (then empty) name.
    private static func statName(_ name: String, _ fallback: String) -> String {
        name.isEmpty ? "\(fallback)_e3b0c442" : name
    }

    /// The paths the chains came from, in the order of ``chains``.
    package var chainPaths: [String] { certificates.filter(\.isPresent).map(\.path) }

    /// The path of the trust bundle.
    package var authoritiesPath: String { trust?.authoritiesPath ?? "" }

    /// Makes a new key for tickets; those of the key before are still accepted. Configured keys
    /// stay. To be called from a timer: a stolen key opens all sessions that it protected.
    package func rotateTicketKeys() { ticketKeys?.rotate() }

    // MARK: For sessions

    func localInfo(_ certificate: OpaquePointer?) -> CertificateInfo? {
        guard let certificate else { return nil }
        return certificates.first { $0.leaf == certificate }?.chain.first
    }

    func localText(isServer: Bool) -> String {
        guard let leaf = certificates.first?.chain.first else { return "(none)" }
        return leaf.identityText
    }

    // MARK: Callbacks

    private func installCallbacks(_ settings: TLSSettings) {
        for certificate in certificates {
            let context = certificate.context
            SSL_CTX_set_cert_verify_callback(
                context,
                { store, _ in TLSVerifier.verify(store) },
                nil
            )
            sessionContextID.withUnsafeBufferPointer {
                _ = SSL_CTX_set_session_id_context(context, $0.baseAddress, UInt32($0.count))
            }
            if protectsRecords {
                SSL_CTX_set_keylog_callback(context) { ssl, line in
                    guard let line, let session = TLSSession.of(ssl) else { return }
                    session.learn(keyLogLine: line)
                }
            }
            switch settings.role {
            case .client: installClientCallbacks(context)
            case .server: installServerCallbacks(context)
            }
        }
    }

    private func installClientCallbacks(_ context: OpaquePointer) {
        if !alpn.isEmpty { SSL_CTX_set_alpn_protos(context, alpn, UInt32(alpn.count)) }
        guard clientSessions.isOn else { return }
        SSL_CTX_sess_set_new_cb(context) { ssl, session in
            guard let session, let owner = TLSSession.of(ssl) else { return 0 }
            return owner.store(session) ? 1 : 0
        }
    }

    private func installServerCallbacks(_ context: OpaquePointer) {
        let me = Unmanaged.passUnretained(self).toOpaque()
        // Acknowledging the name makes it part of a TLS 1.2 session, which is resumed only for it.
        copenssl_ctx_set_server_name_callback(context) { _, _, _ in SSL_TLSEXT_ERR_OK }
        if !alpn.isEmpty {
            SSL_CTX_set_alpn_select_cb(
                context,
                { _, chosen, chosenLength, offered, offeredLength, context in
                    guard let context, let chosen, let chosenLength else {
                        return SSL_TLSEXT_ERR_NOACK
                    }
                    let owner = Unmanaged<TLSContext>.fromOpaque(context).takeUnretainedValue()
                    let offer = Bytes(start: offered, count: Int(offeredLength))
                    guard let match = owner.selectProtocol(offer) else {
                        return SSL_TLSEXT_ERR_NOACK
                    }
                    chosen.pointee = match.baseAddress?.assumingMemoryBound(to: UInt8.self)
                    chosenLength.pointee = UInt8(match.count)
                    return SSL_TLSEXT_ERR_OK
                },
                me
            )
        }
        if selector != nil || requiresALPN {
            SSL_CTX_set_client_hello_cb(
                context,
                { ssl, alert, context in
                    guard let context, let ssl else { return SSL_CLIENT_HELLO_ERROR }
                    let owner = Unmanaged<TLSContext>.fromOpaque(context).takeUnretainedValue()
                    owner.selector?.select(ssl)
                    guard owner.requiresALPN, let session = TLSSession.of(ssl),
                        let failure = owner.protocolFailure(ssl)
                    else { return SSL_CLIENT_HELLO_SUCCESS }
                    session.verifyFailure = failure
                    alert?.pointee = Int32(SSL_AD_NO_APPLICATION_PROTOCOL)
                    return SSL_CLIENT_HELLO_ERROR
                },
                me
            )
        }
        ticketKeys?.install(on: context)
    }

    /// Why a ClientHello's protocols will not do; nil where one of them will (RFC 7301 §3.2).
    private func protocolFailure(_ ssl: OpaquePointer) -> TLSFailure? {
        let offer = TLSCertificateSelector.clientHelloExtension(
            ssl,
            UInt32(TLSEXT_TYPE_application_layer_protocol_negotiation)
        ).dropFirst(2)
        let fits = Array(offer).withUnsafeBytes { selectProtocol($0) != nil }
        if fits { return nil }
        var failure = noProtocolFailure
        if !offer.isEmpty { failure.got = "ALPN [\(Self.protocolNames(offer))]" }
        return failure
    }

    var noProtocolFailure: TLSFailure {
        TLSFailure(
            stage: .negotiation,
            refuser: .local,
            reason: "no common application protocol",
            wanted: "ALPN [\(Self.protocolNames(alpn[...]))]",
            got: "no ALPN",
            envoyText: "no application protocol"
        )
    }

    /// Of a list in RFC 7301's form.
    private static func protocolNames(_ wire: ArraySlice<UInt8>) -> String {
        var names: [String] = []
        var rest = wire
        while let length = rest.popFirst(), rest.count >= Int(length) {
            names.append(String(decoding: rest.prefix(Int(length)), as: UTF8.self))
            rest = rest.dropFirst(Int(length))
        }
        return names.told(", ")
    }

    /// The offered protocol that we prefer most; nil without overlap. Points into `offer`.
    private func selectProtocol(_ offer: Bytes) -> Bytes? {
        var at = 0
        while at < alpn.count {
            let length = Int(alpn[at])
            let match = alpn.withUnsafeBytes { ours -> Bytes? in
                let wanted = Bytes(rebasing: ours[(at + 1)..<(at + 1 + length)])
                var cursor = 0
                while cursor < offer.count {
                    let end = cursor + 1 + Int(offer[cursor])
                    guard end <= offer.count else { return nil }
                    let candidate = Bytes(rebasing: offer[(cursor + 1)..<end])
                    if candidate.equals(wanted) { return candidate }
                    cursor = end
                }
                return nil
            }
            if let match { return match }
            at += 1 + length
        }
        return nil
    }
}

extension CertificateInfo {
    /// Who this is, for people: names, subject, issuer, expiry.
    package var identityText: String {
        let names =
            uriSANs.map { "URI:\($0)" } + dnsSANs.map { "DNS:\($0)" } + ipSANs.map { "IP:\($0)" }
            + emailSANs.map { "email:\($0)" }
        return "names [\(names.told(", "))] subject \"\(subject.clipped)\""
            + " issuer \"\(issuer.clipped)\" valid until \(notAfter.dateText)"
    }
}

extension String {
    /// For logs: a stranger's certificate may have names of 64 KiB.
    package var clipped: String { utf8.count <= 256 ? self : prefix(200) + "…" }
}

extension [String] {
    /// The first few, for logs; how many more there are.
    package func told(_ separator: String) -> String {
        let first = prefix(10).map(\.clipped).joined(separator: separator)
        return count <= 10 ? first : "\(first) and \(count - 10) more"
    }
}

extension WallTime {
    /// `2026-11-21T00:44:41Z` (RFC 3339).
    package var dateText: String {
        // Days since 0000-03-01, so that leap days end a year (proleptic Gregorian calendar).
        let day = Int(seconds >= 0 ? seconds / 86_400 : (seconds - 86_399) / 86_400)
        let second = Int(seconds) - day * 86_400
        let shifted = day + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let ofEra = shifted - era * 146_097
        let yearOfEra = (ofEra - ofEra / 1460 + ofEra / 36_524 - ofEra / 146_096) / 365
        let ofYear = ofEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let month = (5 * ofYear + 2) / 153
        let date = ofYear - (153 * month + 2) / 5 + 1
        let civilMonth = month < 10 ? month + 3 : month - 9
        let year = yearOfEra + era * 400 + (civilMonth <= 2 ? 1 : 0)
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(year)-\(two(civilMonth))-\(two(date))T"
            + "\(two(second / 3600)):\(two(second / 60 % 60)):\(two(second % 60))Z"
    }
}
