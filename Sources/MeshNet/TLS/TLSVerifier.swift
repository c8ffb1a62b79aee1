import COpenSSL

/// Decides during a handshake whether a peer's certificate is acceptable.
enum TLSVerifier {
    /// OpenSSL's callback: 1 accepts, 0 refuses with the alert that belongs to the store's error.
    static func verify(_ store: OpaquePointer?) -> Int32 {
        guard let store,
            let ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()),
            let session = TLSSession.of(OpaquePointer(ssl)),
            let leaf = X509_STORE_CTX_get0_cert(store)
        else { return 0 }
        return session.verifyPeer(OpaquePointer(ssl), store, leaf) ? 1 : 0
    }
}

extension TLSSession {
    fileprivate func verifyPeer(
        _ ssl: OpaquePointer,
        _ store: OpaquePointer,
        _ leaf: OpaquePointer
    ) -> Bool {
        let context = self.peerContext
        let chain = presentedChain(store, leaf)
        let key = TLSPeerCache.key(chain)
        var entry =
            context.peers.entry(key)
            ?? TLSPeerCache.Entry(info: CertificateParser.info(leaf, chain: chain), verified: nil)
        peer = entry.info
        let trust = context.trust
        var chainFailure: TLSFailure?
        if context.verifiesChains {
            if let clock = trust?.clock { copenssl_verify_at(store, Int(clock().seconds)) }
            if let verified = entry.verified, !verified.isPast(by: trust?.clock) {
                X509_STORE_CTX_set_error(store, X509_V_OK)
                peerValidUntil = verified.wall
            } else if X509_verify_cert(store) == 1 {
                let end = earliestEnd(store)
                peerValidUntil = end?.wall
                entry.verified = context.hasRevocationLists ? nil : end
            } else {
                entry.verified = nil
                chainFailure = chainProblem(store, entry.info)
                ERR_clear_error()
            }
        }
        // Strangers cannot fill memory: what they present is remembered only where they are let in.
        if chainFailure == nil || trust?.acceptsUntrusted == true {
            context.peers.store(entry, for: key)
            if chain.count > 1 { context.peers.remember(entry.info, of: leaf) }
        }
        boundLifetime(ssl, leaf)
        // As in Envoy, what the key may do is asked before who vouches for it.
        let usageFailure = context.verifiesChains ? usageProblem(ssl, entry.info, leaf) : nil
        if trust?.acceptsUntrusted == true {
            toleratedFailure = usageFailure ?? chainFailure ?? policyProblem(entry.info, leaf)
            isPeerVerified = context.verifiesChains && toleratedFailure == nil
            // Remembered with the session: a resumed one is as untrusted as the first.
            if !isPeerVerified { X509_STORE_CTX_set_error(store, X509_V_ERR_UNSPECIFIED) }
            return true
        }
        if let usageFailure {
            verifyFailure = usageFailure
            X509_STORE_CTX_set_error(store, Self.policyError)
            return false
        }
        if let chainFailure {
            verifyFailure = chainFailure
            return false
        }
        if trust?.revocation?.current.contains(entry.info) == true {
            verifyFailure = revokedFailure(entry.info)
            X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REVOKED)
            return false
        }
        if let failure = policyProblem(entry.info, leaf) {
            verifyFailure = failure
            X509_STORE_CTX_set_error(store, Self.policyError)
            return false
        }
        isPeerVerified = context.verifiesChains || trust?.demandsCertificate == true
        if !context.verifiesChains {
            X509_STORE_CTX_set_error(store, isPeerVerified ? X509_V_OK : X509_V_ERR_UNSPECIFIED)
        }
        return true
    }

    /// An error without alert of its own: OpenSSL then sends certificate_unknown, as Envoy does for
    /// names.
    private static let policyError = X509_V_ERR_SUBJECT_ISSUER_MISMATCH

    private func presentedChain(
        _ store: OpaquePointer,
        _ leaf: OpaquePointer
    ) -> [OpaquePointer] {
        var chain = [leaf]
        guard let rest = X509_STORE_CTX_get0_untrusted(store) else { return chain }
        for index in 0..<copenssl_certificates_count(rest) {
            guard let next = copenssl_certificate_at(rest, index), next != leaf else { continue }
            chain.append(next)
        }
        return chain
    }

    private func earliestEnd(_ store: OpaquePointer) -> TLSPeerCache.Expiry? {
        guard let chain = X509_STORE_CTX_get0_chain(store) else { return nil }
        var earliest: UnsafePointer<ASN1_TIME>?
        for index in 0..<copenssl_certificates_count(chain) {
            guard let certificate = copenssl_certificate_at(chain, index),
                let end = X509_get0_notAfter(certificate)
            else { return nil }
            if earliest == nil || ASN1_TIME_compare(end, earliest) < 0 { earliest = end }
        }
        return TLSPeerCache.Expiry(earliest)
    }

    /// A session must not outlive the certificate that it stands for.
    private func boundLifetime(_ ssl: OpaquePointer, _ leaf: OpaquePointer) {
        guard let session = SSL_get_session(ssl), !(peerContext.trust?.allowsExpired ?? true) else {
            return
        }
        var days: Int32 = 0
        var seconds: Int32 = 0
        guard ASN1_TIME_diff(&days, &seconds, nil, X509_get0_notAfter(leaf)) == 1 else { return }
        let left = Int(days) * 86_400 + Int(seconds)
        // A certificate that is past already is refused, or nobody asks for its validity.
        if left > 0, left < SSL_SESSION_get_timeout(session) {
            SSL_SESSION_set_timeout(session, left)
        }
    }

    private func chainProblem(_ store: OpaquePointer, _ peer: CertificateInfo) -> TLSFailure {
        let code = X509_STORE_CTX_get_error(store)
        let depth = X509_STORE_CTX_get_error_depth(store)
        let text = X509_verify_cert_error_string(Int(code)).map { String(cString: $0) } ?? ""
        let subject =
            X509_STORE_CTX_get_current_cert(store).map {
                CertificateParser.name(X509_get_subject_name($0))
            } ?? ""
        let where_ = depth == 0 ? "the leaf" : "\"\(subject)\" at depth \(depth)"
        return TLSFailure(
            stage: .chain,
            refuser: .local,
            reason: "\(text) (\(where_))",
            wanted: wantedText,
            got: peer.identityText,
            envoyText: "verify cert failed: X509_verify_cert: certificate verification error at "
                + "depth \(depth): \(text)"
        )
    }

    /// What is asked of the peer, for people.
    private var wantedText: String {
        guard case .uris(let identities) = nameOverride else { return peerContext.wantedText }
        return "\(peerContext.wantedText) and the name \(identities.joined(separator: " or "))"
    }

    private func revokedFailure(_ peer: CertificateInfo) -> TLSFailure {
        TLSFailure(
            stage: .revoked,
            refuser: .local,
            reason: "a revocation list has the peer's certificate, or its issuer's",
            wanted: wantedText,
            got: "serial \(peer.chainSerials.told(", ")) \(peer.identityText)",
            envoyText: "verify cert failed: X509_verify_cert: certificate verification error at "
                + "depth 0: certificate revoked"
        )
    }

    /// Names and hashes.
    private func policyProblem(
        _ peer: CertificateInfo,
        _ leaf: OpaquePointer
    ) -> TLSFailure? {
        if let failure = nameProblem(peer) { return failure }
        guard let trust = peerContext.trust else { return nil }
        if !trust.certificateHashes.isEmpty || !trust.publicKeyHashes.isEmpty {
            let ours =
                trust.certificateHashes.contains { hexadecimal($0) == peer.sha256 }
                || (!trust.publicKeyHashes.isEmpty
                    && trust.publicKeyHashes.contains(CertificateParser.publicKeyFingerprint(leaf)))
            if !ours {
                return TLSFailure(
                    stage: .hash,
                    refuser: .local,
                    reason: "no configured hash fits",
                    wanted: wantedText,
                    got: "SHA-256 \(peer.sha256), public key SHA-256 "
                        + hexadecimal(CertificateParser.publicKeyFingerprint(leaf)),
                    envoyText: "verify cert failed: cert hash and spki"
                )
            }
        }
        return nil
    }

    private func nameProblem(_ peer: CertificateInfo) -> TLSFailure? {
        let got = (peer.uriSANs + peer.dnsSANs + peer.ipSANs + peer.emailSANs)
            .joined(separator: ", ")
        let wanted: String
        switch nameOverride {
        case .any(let name):
            let fits =
                peer.dnsSANs.contains { TLSNameMatcher.dnsName(name, fits: $0) }
                || (peer.uriSANs + peer.ipSANs + peer.emailSANs).contains(name)
            if fits { return nil }
            return TLSFailure(
                stage: .name,
                refuser: .local,
                reason: "no name fits",
                wanted: "the name \"\(name)\"",
                got: peer.identityText,
                envoyText: "verify cert failed: verify SAN list, expected SANs: [\(name)], "
                    + "certificate SANs: [\(got)]"
            )
        case .dns(let name):
            if peer.dnsSANs.contains(where: { TLSNameMatcher.dnsName(name, fits: $0) }) {
                return nil
            }
            wanted = "the DNS name \"\(name)\" (the server name sent)"
        case .uris(let identities):
            if peer.uriSANs.contains(where: identities.contains) { return nil }
            return identityFailure(
                "identity verification error: peer did not present the expected SAN "
                    + "(\(identities.joined(separator: ","))), got "
                    + peer.uriSANs.told(","),
                peer
            )
        case nil:
            if let rule = peerContext.trust?.nameRule {
                guard let reason = rule.refusal(peer) else { return nil }
                return identityFailure(reason, peer)
            }
            guard let names = peerContext.trust?.names, !names.isEmpty else { return nil }
            if names.contains(where: { $0.matches(peer) }) { return nil }
            wanted = names.wantedText
        }
        return TLSFailure(
            stage: .name,
            refuser: .local,
            reason: "no name fits",
            wanted: wanted,
            got: peer.identityText,
            envoyText: "verify cert failed: SAN matcher, certificate SANs are [\(got)]"
        )
    }

    /// The reason says already what was wanted.
    private func identityFailure(_ reason: String, _ peer: CertificateInfo) -> TLSFailure {
        TLSFailure(
            stage: .name,
            refuser: .local,
            reason: reason,
            got: peer.identityText,
            envoyText: reason
        )
    }

    /// A leaf that has a key usage extension must allow what its key does here: sign, or with RSA
    /// key exchange decrypt (RFC 5246 §7.4.2, RFC 8446 §4.4.2.2). OpenSSL asks for any of the two.
    private func usageProblem(
        _ ssl: OpaquePointer,
        _ peer: CertificateInfo,
        _ leaf: OpaquePointer
    ) -> TLSFailure? {
        let usage = X509_get_key_usage(leaf)
        let exchange = SSL_get_pending_cipher(ssl).map { SSL_CIPHER_get_kx_nid($0) }
        let decrypts = SSL_is_server(ssl) == 0 && exchange == NID_kx_rsa
        let needed =
            decrypts ? UInt32(X509v3_KU_KEY_ENCIPHERMENT) : UInt32(X509v3_KU_DIGITAL_SIGNATURE)
        if usage & needed != 0 { return nil }
        return TLSFailure(
            stage: .usage,
            refuser: .local,
            reason: "key usage does not allow \(decrypts ? "keyEncipherment" : "digitalSignature")",
            wanted: wantedText,
            got: peer.identityText,
            envoyText: "verify cert failed: KEY_USAGE_BIT_INCORRECT"
        )
    }
}
