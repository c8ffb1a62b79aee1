import COpenSSL
import Synchronization

/// Remembers the peers of one context, so that a certificate that returns is neither parsed nor its
/// chain verified again.
///
/// What is remembered depends on nothing but the bytes of the presented chain, the context's trust,
/// and the time, and the time is looked at again: an entry holds only until the first certificate of
/// its verified chain expires. Contexts with revocation lists, which have dates of their own, keep no
/// verdicts. A peer still proves that it has the key in every full handshake.
final class TLSPeerCache: Sendable {
    struct Entry {
        var info: CertificateInfo
        /// Set when the chain was verified: the earliest end of validity in it.
        var verified: Expiry?
    }

    /// An `ASN1_TIME` of our own.
    final class Expiry: @unchecked Sendable {
        // Immutable after init.
        private let time: UnsafeMutablePointer<ASN1_TIME>?
        let wall: WallTime

        init(_ time: UnsafePointer<ASN1_TIME>?) {
            self.time = ASN1_STRING_dup(time)
            wall = CertificateParser.time(time)
        }

        deinit { ASN1_STRING_free(time) }

        /// Without a time it counts as past. OpenSSL reads the clock where there is no other.
        func isPast(by clock: (@Sendable () -> WallTime)?) -> Bool {
            if let clock { return time == nil || wall <= clock() }
            return time == nil || X509_cmp_current_time(time) <= 0
        }
    }

    /// Peers remembered. A mesh sidecar meets tens; a gateway's strangers must not fill memory.
    private static let entriesMax = 1024
    /// A longer chain is read anew each time. Five RSA certificates of 4096 bits have some 12 KiB.
    private static let chainBytesMax = 32_768

    private let entries = Mutex<[[UInt8]: Entry]>([:])
    /// What was last presented with a leaf: a resumed session brings the leaf alone. Says nothing about
    /// trust.
    private let chainsByLeaf = Mutex<[[UInt8]: CertificateInfo]>([:])

    var count: Int { entries.withLock { $0.count } + chainsByLeaf.withLock { $0.count } }

    func entry(_ key: [UInt8]) -> Entry? { entries.withLock { $0[key] } }

    func store(_ entry: Entry, for key: [UInt8]) {
        guard entry.info.chainPEM.utf8.count <= Self.chainBytesMax else { return }
        entries.withLock {
            // Which entry goes is left to the dictionary's random order: cheap, and nobody can aim.
            if $0.count >= Self.entriesMax, let victim = $0.keys.first { $0[victim] = nil }
            $0[key] = entry
        }
    }

    /// Remembers that this leaf came with the chain in `info`.
    func remember(_ info: CertificateInfo, of leaf: OpaquePointer) {
        guard info.chainPEM.utf8.count <= Self.chainBytesMax else { return }
        let key = Self.key([leaf])
        chainsByLeaf.withLock {
            if $0.count >= Self.entriesMax, $0[key] == nil, let victim = $0.keys.first {
                $0[victim] = nil
            }
            $0[key] = info
        }
    }

    /// The peer of a resumed session, with the chain that its leaf came with.
    func resumed(_ leaf: OpaquePointer) -> CertificateInfo {
        let key = Self.key([leaf])
        return chainsByLeaf.withLock { $0[key] } ?? info(leaf: leaf, chain: [leaf])
    }

    /// Parsed or remembered; says nothing about trust.
    func info(leaf: OpaquePointer, chain: [OpaquePointer]) -> CertificateInfo {
        let key = Self.key(chain)
        if let entry = entry(key) { return entry.info }
        let info = CertificateParser.info(leaf, chain: chain)
        store(Entry(info: info, verified: nil), for: key)
        return info
    }

    /// SHA-256 over the presented certificates, leaf first.
    static func key(_ chain: [OpaquePointer]) -> [UInt8] {
        var digest = SHA256Digest()
        for certificate in chain {
            _ = CertificateParser.withDER(certificate) { bytes in
                withUnsafeBytes(of: UInt64(bytes.count)) { digest.update($0) }
                digest.update(bytes)
            }
        }
        return digest.finish()
    }
}
