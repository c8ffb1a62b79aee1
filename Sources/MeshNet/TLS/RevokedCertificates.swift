import COpenSSL
import Synchronization

/// What revocation lists (RFC 5280 §5) say: which certificates must no longer be accepted. Immutable.
///
/// A certificate whose issuer has no list here counts as good. A list counts only when its issuer, a
/// trust root or a certificate that the peer presents, has signed it. The lists' own dates do not
/// matter: what was revoked stays so, and a list that is late is a reason to warn
/// (``warnings(at:)``), not to stop a mesh.
package final class RevokedCertificates: @unchecked Sendable {
    // `@unchecked Sendable`: the X509_CRLs are only read after init.

    private struct List {
        let crl: OpaquePointer
        /// RFC 2253 text.
        let issuer: String
        let serials: Set<String>
        /// Signed by a trust root; else a presented chain has to show the issuer.
        let isVerified: Bool
        let nextUpdate: WallTime?
    }

    private let lists: [List]
    /// Of all lists: what is not in here is good, and is told so without looking further.
    private let serials: Set<String>
    /// Verdicts of chains with a serial number that some list has.
    private let verdicts = Mutex<[[String]: Bool]>([:])

    private static let verdictsMax = 1024

    /// Nothing is revoked.
    package static let none = RevokedCertificates()

    private init() {
        lists = []
        serials = []
    }

    /// Reads every list of a PEM text, or the one of a DER file. An empty file revokes nothing. Fails where
    /// something is broken, or not signed by the root that it names.
    package init(
        _ bytes: [UInt8],
        path: String,
        authorities: [TLSAuthorities]
    ) throws(RevocationListError) {
        var lists: [List] = []
        var problem: String?
        for crl in Self.parse(bytes, &problem) {
            do throws(RevocationListError) {
                lists.append(try Self.list(crl, authorities, number: lists.count + 1))
            } catch {
                problem = problem ?? error.reason
                X509_CRL_free(crl)
            }
        }
        if let problem {
            lists.forEach { X509_CRL_free($0.crl) }
            throw RevocationListError(path: path, reason: problem)
        }
        self.lists = lists
        serials = lists.reduce(into: []) { $0.formUnion($1.serials) }
    }

    deinit { lists.forEach { X509_CRL_free($0.crl) } }

    package var isEmpty: Bool { serials.isEmpty }
    /// Revoked certificates over all lists.
    package var count: Int { lists.reduce(0) { $0 + $1.serials.count } }

    /// Whether the certificate, or one of the chain it came with, is revoked.
    package func contains(_ certificate: CertificateInfo) -> Bool {
        let suspicious =
            serials.contains(certificate.serial)
            || certificate.chainSerials.contains(where: serials.contains)
        guard suspicious else { return false }
        let key = certificate.chainSHA256
        if let known = verdicts.withLock({ $0[key] }) { return known }
        let verdict = examine(Array(certificate.chainPEM.utf8))
        verdicts.withLock {
            if $0.count >= Self.verdictsMax, let victim = $0.keys.first { $0[victim] = nil }
            $0[key] = verdict
        }
        return verdict
    }

    /// Lists whose next edition is overdue, for the log.
    package func warnings(at now: WallTime) -> [String] {
        lists.compactMap { list in
            guard let next = list.nextUpdate, next < now else { return nil }
            return "the list of \"\(list.issuer)\" should have been replaced at \(next.dateText); "
                + "what it revokes stays revoked, what was revoked since is unknown"
        }
    }

    private func examine(_ chain: [UInt8]) -> Bool {
        let certificates = X509PEM.certificates(chain)
        defer { certificates.forEach { X509_free($0) } }
        return certificates.contains { certificate in
            let issuer = CertificateParser.name(X509_get_issuer_name(certificate))
            let serial = CertificateParser.serial(certificate)
            return lists.contains { list in
                list.issuer == issuer && list.serials.contains(serial)
                    && (list.isVerified || certificates.contains { Self.signed(list.crl, by: $0) })
            }
        }
    }

    // MARK: Reading

    private static func parse(_ bytes: [UInt8], _ problem: inout String?) -> [OpaquePointer] {
        var lists: [OpaquePointer] = []
        let isPEM = bytes.starts(with: Array("-----BEGIN".utf8)) || !bytes.starts(with: [0x30])
        if isPEM {
            // Blocks are counted as text: one that is broken must not be taken for the end.
            let blocks = String(decoding: bytes, as: UTF8.self)
                .split(separator: "\n").filter { $0.hasPrefix("-----BEGIN X509 CRL-----") }.count
            X509PEM.forEach(bytes) { info in
                guard let crl = info.crl else { return }
                X509_CRL_up_ref(crl)
                lists.append(crl)
            }
            if lists.count < blocks {
                problem = "a list in it is broken: \(takeOpenSSLReason())"
            } else if blocks == 0, !bytes.isEmpty {
                problem = "no list in it"
            }
        } else if let crl = withMemoryBIO(bytes, { d2i_X509_CRL_bio($0, nil) }), let crl {
            lists.append(crl)
        } else {
            problem = "neither PEM nor a DER certificate revocation list: \(takeOpenSSLReason())"
        }
        ERR_clear_error()
        return lists
    }

    private static func list(
        _ crl: OpaquePointer,
        _ authorities: [TLSAuthorities],
        number: Int
    ) throws(RevocationListError) -> List {
        let issuer = CertificateParser.name(X509_CRL_get_issuer(crl))
        for (kind, nid) in [
            ("a delta list", NID_delta_crl),
            ("a list for a part of its issuer's certificates", NID_issuing_distribution_point),
        ] where X509_CRL_get_ext_by_NID(crl, nid, -1) >= 0 {
            throw RevocationListError(
                path: "",
                reason: "list \(number), of \"\(issuer)\", is \(kind); a complete list is wanted"
            )
        }
        let named = authorities.flatMap(\.certificates).filter {
            CertificateParser.name(X509_get_subject_name($0)) == issuer
        }
        let isVerified = named.contains { signed(crl, by: $0) }
        if !named.isEmpty, !isVerified {
            throw RevocationListError(
                path: "",
                reason: "list \(number) is not signed by the root \"\(issuer)\" that it names"
            )
        }
        var serials: Set<String> = []
        if let entries = X509_CRL_get_REVOKED(crl) {
            for index in 0..<copenssl_revoked_count(entries) {
                guard let entry = copenssl_revoked_at(entries, index) else { continue }
                serials.insert(CertificateParser.text(X509_REVOKED_get0_serialNumber(entry)))
            }
        }
        return List(
            crl: crl,
            issuer: issuer,
            serials: serials,
            isVerified: isVerified,
            nextUpdate: X509_CRL_get0_nextUpdate(crl).map { CertificateParser.time($0) }
        )
    }

    /// Whether the certificate names itself as the list's issuer, may sign lists and has signed this one.
    private static func signed(_ crl: OpaquePointer, by certificate: OpaquePointer) -> Bool {
        guard X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_subject_name(certificate)) == 0,
            X509_get_key_usage(certificate) & UInt32(X509v3_KU_CRL_SIGN) != 0,
            let key = X509_get0_pubkey(certificate)
        else { return false }
        defer { ERR_clear_error() }
        return X509_CRL_verify(crl, key) == 1
    }
}

/// Why a file of revocation lists cannot be used.
package struct RevocationListError: Error, Equatable, Sendable {
    package var path: String
    package var reason: String
}

/// The revocation lists in force, shared by contexts and read in every handshake.
package final class RevocationRegister: Sendable {
    private let lists = Mutex(RevokedCertificates.none)

    package init() {}

    package var current: RevokedCertificates {
        get { lists.withLock { $0 } }
        set { lists.withLock { $0 = newValue } }
    }
}
