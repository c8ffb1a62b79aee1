import COpenSSL
import Glibc

/// What the keys of one direction come from (RFC 8446 §7.1), and which cipher they are for.
package struct TLSTrafficSecret {
    package enum Suite: Sendable {
        case aes128GCM, aes256GCM, chaCha20Poly1305

        /// Nil: one whose records stay with OpenSSL.
        init?(_ ssl: OpaquePointer) {
            guard SSL_version(ssl) == TLS1_3_VERSION, let cipher = SSL_get_current_cipher(ssl)
            else { return nil }
            switch SSL_CIPHER_get_protocol_id(cipher) {
            case 0x1301: self = .aes128GCM
            case 0x1302: self = .aes256GCM
            case 0x1303: self = .chaCha20Poly1305
            default: return nil
            }
        }

        var keyBytes: Int { self == .aes128GCM ? 16 : 32 }
        var hash: OpaquePointer? { self == .aes256GCM ? EVP_sha384() : EVP_sha256() }
        /// The name of OpenSSL's implementation.
        var name: String {
            switch self {
            case .aes128GCM: "AES-128-GCM"
            case .aes256GCM: "AES-256-GCM"
            case .chaCha20Poly1305: "ChaCha20-Poly1305"
            }
        }
    }

    let suite: Suite
    private(set) var bytes: [UInt8]

    package init(_ suite: Suite, _ bytes: [UInt8]) {
        self.suite = suite
        self.bytes = bytes
    }

    /// Overwrites the secret.
    mutating func wipe() {
        bytes.withUnsafeMutableBytes { OPENSSL_cleanse($0.baseAddress, $0.count) }
        bytes = []
    }

    /// HKDF-Expand-Label without context, of at most the hash's length.
    func derived(_ label: String, count: Int) -> [UInt8] {
        let name = "tls13 " + label
        var info: [UInt8] = [0, UInt8(count), UInt8(name.utf8.count)]
        info += Array(name.utf8)
        // No context, and the number of the only block.
        info += [0, 1]
        var block = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        let made = HMAC(suite.hash, bytes, Int32(bytes.count), info, info.count, &block, nil)
        guard made != nil else { fatalError("out of memory: TLS keys") }
        defer { block.withUnsafeMutableBytes { OPENSSL_cleanse($0.baseAddress, $0.count) } }
        return Array(block[..<count])
    }

    /// The secret after a key update (RFC 8446 §7.2).
    var next: TLSTrafficSecret {
        TLSTrafficSecret(suite, derived("traffic upd", count: bytes.count))
    }

    /// What OpenSSL tells a key log of: `LABEL CLIENT_RANDOM SECRET`, the last two in hexadecimal. Nil for
    /// the secrets of the handshake and of exporters.
    static func parse(keyLogLine line: UnsafePointer<CChar>) -> (isServers: Bool, secret: [UInt8])?
    {
        let isServers = strncmp(line, "SERVER_TRAFFIC_SECRET_0 ", 24) == 0
        guard isServers || strncmp(line, "CLIENT_TRAFFIC_SECRET_0 ", 24) == 0,
            let blank = strrchr(line, Int32(UInt8(ascii: " ")))
        else { return nil }
        let text = Bytes(start: blank + 1, count: strlen(blank + 1))
        guard text.count % 2 == 0 else { return nil }
        var secret: [UInt8] = []
        secret.reserveCapacity(text.count / 2)
        for at in stride(from: 0, to: text.count, by: 2) {
            guard let high = digit(text[at]), let low = digit(text[at + 1]) else { return nil }
            secret.append(high << 4 | low)
        }
        return (isServers, secret)
    }

    private static func digit(_ character: UInt8) -> UInt8? {
        let value = character < 0x3A ? character &- 0x30 : (character | 0x20) &- 0x57
        return value < 16 ? value : nil
    }
}
