import COpenSSL

/// Chooses among a server's certificates by server name and by what the client can verify.
///
/// The order is Envoy's: exact name, then wildcard, EC before RSA where the client knows the curve,
/// and without a fitting name the first certificate, or with `fullScan` the first that fits the
/// client's abilities.
struct TLSCertificateSelector: Sendable {
    private struct Candidate: @unchecked Sendable {
        // The context is no longer configured: see TLSContext.
        let context: OpaquePointer
        let curve: Int32?
    }

    private let candidates: [Candidate]
    /// `name` or `.suffix` of a wildcard → candidates, at most one per key type.
    private let byName: [String: [Int]]
    private let fullScan: Bool

    init(_ certificates: [TLSCertificate], fullScan: Bool) {
        self.fullScan = fullScan
        candidates = certificates.map { Candidate(context: $0.context, curve: $0.curve) }
        var byName: [String: [Int]] = [:]
        for (index, certificate) in certificates.enumerated() {
            for name in certificate.serverNames {
                let key = (name.hasPrefix("*.") ? String(name.dropFirst()) : name).lowercased()
                let taken = byName[key, default: []].contains {
                    (certificates[$0].curve == nil) == (certificate.curve == nil)
                }
                if !taken { byName[key, default: []].append(index) }
            }
        }
        self.byName = byName
    }

    /// Called within the ClientHello, before its extensions are acted upon.
    func select(_ ssl: OpaquePointer) {
        let name = Self.serverName(ssl)
        let curves = Self.curves(ssl)
        SSL_set_SSL_CTX(ssl, candidates[index(name: name, curves: curves)].context)
    }

    func index(name: String, curves: [Int32]) -> Int {
        if !name.isEmpty {
            if let list = byName[name], let found = best(list, curves) { return found }
            if let dot = name.dropFirst().firstIndex(of: "."),
                let list = byName[String(name[dot...])], let found = best(list, curves)
            {
                return found
            }
            if !fullScan { return 0 }
        }
        return best(Array(candidates.indices), curves) ?? 0
    }

    /// The first EC certificate whose curve the client knows; else the first other one.
    private func best(_ list: [Int], _ curves: [Int32]) -> Int? {
        list.first { candidates[$0].curve.map(curves.contains) ?? false }
            ?? list.first { candidates[$0].curve == nil }
    }

    private static func serverName(_ ssl: OpaquePointer) -> String {
        // ServerNameList: length, then type 0, length, name (RFC 6066 §3).
        let bytes = clientHelloExtension(ssl, UInt32(TLSEXT_TYPE_server_name))
        guard bytes.count > 5, bytes[2] == 0 else { return "" }
        let length = Int(bytes[3]) << 8 | Int(bytes[4])
        guard bytes.count >= 5 + length else { return "" }
        return String(decoding: bytes[5..<(5 + length)], as: UTF8.self).lowercased()
    }

    /// Curves of EC keys that the client can verify: TLS 1.3 says it in its signature algorithms
    /// (RFC 8446 §4.2.3), older versions in the groups.
    private static func curves(_ ssl: OpaquePointer) -> [Int32] {
        var curves: [Int32] = []
        let algorithms = clientHelloExtension(ssl, UInt32(TLSEXT_TYPE_signature_algorithms))
        let groups = clientHelloExtension(ssl, UInt32(TLSEXT_TYPE_supported_groups))
        for list in [algorithms, groups] where list.count > 2 {
            var at = 2
            while at + 1 < list.count {
                switch UInt16(list[at]) << 8 | UInt16(list[at + 1]) {
                case 0x0403, 0x0017: curves.append(NID_X9_62_prime256v1)
                case 0x0503, 0x0018: curves.append(NID_secp384r1)
                case 0x0603, 0x0019: curves.append(NID_secp521r1)
                default: break
                }
                at += 2
            }
        }
        return curves
    }

    static func clientHelloExtension(_ ssl: OpaquePointer, _ type: UInt32) -> [UInt8] {
        var data: UnsafePointer<UInt8>?
        var count = 0
        guard SSL_client_hello_get0_ext(ssl, type, &data, &count) == 1 else { return [] }
        return Array(UnsafeBufferPointer(start: data, count: count))
    }
}
