import COpenSSL
import Synchronization

/// The keys that protect a server's session tickets, shared by all workers of a context.
///
/// Tickets are sealed with AES-256-CBC and HMAC-SHA-256 as RFC 5077 §4 recommends, the layout that
/// the library's ticket callback prescribes.
final class TLSTicketKeys: Sendable {
    private struct Key: Sendable {
        /// 16 bytes that tell which key sealed a ticket.
        var name: [UInt8]
        var hmac: [UInt8]
        var aes: [UInt8]

        /// 80 bytes: name, HMAC key, AES key (envoy: TlsSessionTicketKeys).
        init(_ bytes: [UInt8]) {
            name = Array(bytes[0..<16])
            hmac = Array(bytes[16..<48])
            aes = Array(bytes[48..<80])
        }

        static func random() -> Key? {
            var bytes = [UInt8](repeating: 0, count: 80)
            guard RAND_bytes(&bytes, 80) == 1 else { return nil }
            return Key(bytes)
        }
    }

    private let isConfigured: Bool
    /// The first seals; all open.
    private let keys: Mutex<[Key]>

    init(configured: [[UInt8]]) {
        isConfigured = !configured.isEmpty
        keys = Mutex(isConfigured ? configured.map(Key.init) : Key.random().map { [$0] } ?? [])
    }

    /// Tickets of the key before the last are no longer accepted.
    func rotate() {
        guard !isConfigured, let fresh = Key.random() else { return }
        keys.withLock { $0 = [fresh] + $0.prefix(1) }
    }

    func install(on context: OpaquePointer) {
        SSL_CTX_set_ex_data(context, 0, Unmanaged.passUnretained(self).toOpaque())
        SSL_CTX_set_tlsext_ticket_key_evp_cb(context) { ssl, name, iv, cipher, mac, seals in
            guard let ssl, let name, let iv, let cipher, let mac,
                let context = SSL_get_SSL_CTX(ssl), let pointer = SSL_CTX_get_ex_data(context, 0)
            else { return -1 }
            let owner = Unmanaged<TLSTicketKeys>.fromOpaque(pointer).takeUnretainedValue()
            return seals == 1
                ? owner.seal(name, iv, cipher, mac)
                : owner.open(
                    name,
                    iv,
                    cipher,
                    mac,
                    renews: SSL_version(ssl) >= TLS1_3_VERSION
                )
        }
    }

    private func seal(
        _ name: UnsafeMutablePointer<UInt8>,
        _ iv: UnsafeMutablePointer<UInt8>,
        _ cipher: OpaquePointer,
        _ mac: OpaquePointer
    ) -> Int32 {
        guard let key = keys.withLock({ $0.first }), RAND_bytes(iv, 16) == 1,
            EVP_EncryptInit_ex(cipher, ticketAlgorithms.cipher, nil, key.aes, iv) == 1,
            Self.setKey(mac, key)
        else { return -1 }
        name.update(from: key.name, count: 16)
        return 1
    }

    /// 0: no such key, a full handshake follows. 2: opened, and the client gets a fresh ticket, which a
    /// TLS 1.3 client always needs since it offers each only once.
    private func open(
        _ name: UnsafeMutablePointer<UInt8>,
        _ iv: UnsafeMutablePointer<UInt8>,
        _ cipher: OpaquePointer,
        _ mac: OpaquePointer,
        renews: Bool
    ) -> Int32 {
        let wanted = Array(UnsafeBufferPointer(start: name, count: 16))
        let found = keys.withLock { keys -> (key: Key, isNewest: Bool)? in
            guard let index = keys.firstIndex(where: { $0.name == wanted }) else { return nil }
            return (keys[index], index == 0)
        }
        guard let found else { return 0 }
        guard EVP_DecryptInit_ex(cipher, ticketAlgorithms.cipher, nil, found.key.aes, iv) == 1,
            Self.setKey(mac, found.key)
        else { return -1 }
        return found.isNewest && !renews ? 1 : 2
    }

    private static func setKey(_ mac: OpaquePointer, _ key: Key) -> Bool {
        copenssl_ticket_mac_key(mac, key.hmac, key.hmac.count) == 1
    }
}

/// Fetched once: an implicit fetch per ticket costs more than the encryption.
private struct TicketAlgorithms: @unchecked Sendable {
    // Immutable after creation; OpenSSL's EVP_CIPHER is reference-counted and safe to share.
    let cipher: OpaquePointer?
}

private let ticketAlgorithms = TicketAlgorithms(cipher: EVP_CIPHER_fetch(nil, "AES-256-CBC", nil))
