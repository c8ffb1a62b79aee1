import COpenSSL
import Glibc

/// One direction's key of a TLS 1.3 connection, with its sequence number (RFC 8446 §5.2 and §5.3).
///
/// Protects and opens records in plain memory; knows nothing of what is in them.
package final class TLSRecordKey {
    static let headerBytes = 5
    static let tagBytes = 16

    private(set) var secret: TLSTrafficSecret
    private(set) var sequence: UInt64
    private let isForSending: Bool
    private let gcm: AESGCM?
    /// Prepared for ``gcm``; nil without.
    private let prepared: UnsafeMutableRawPointer?
    /// OpenSSL's; nil where ``gcm`` does it.
    private let cipher: OpaquePointer?
    /// The static part of every nonce: its first four bytes, and the eight that the sequence number changes.
    private var nonceHead: UInt32 = 0
    private var nonceTail: UInt64 = 0

    /// - Parameters:
    ///   - sequence: of the next record.
    ///   - gcm: nil: OpenSSL's.
    init(_ secret: TLSTrafficSecret, sequence: UInt64, isForSending: Bool, gcm: AESGCM?) {
        self.secret = secret
        self.sequence = sequence
        self.isForSending = isForSending
        self.gcm = gcm
        if gcm != nil {
            cipher = nil
            prepared = .allocate(byteCount: AESGCM.keyBytes, alignment: AESGCM.keyAlignment)
        } else {
            cipher = EVP_CIPHER_CTX_new()
            prepared = nil
        }
        install()
    }

    /// With the fastest implementation there is.
    package convenience init(_ secret: TLSTrafficSecret, sequence: UInt64, isForSending: Bool) {
        let gcm: AESGCM? =
            switch secret.suite {
            case .aes128GCM: AESGCM.best128
            case .aes256GCM: AESGCM.best256
            case .chaCha20Poly1305: nil
            }
        self.init(secret, sequence: sequence, isForSending: isForSending, gcm: gcm)
    }

    deinit {
        secret.wipe()
        EVP_CIPHER_CTX_free(cipher)
        if let prepared {
            OPENSSL_cleanse(prepared, AESGCM.keyBytes)
            prepared.deallocate()
        }
    }

    /// Goes on with the next generation of keys (RFC 8446 §7.2).
    func update() {
        let next = secret.next
        secret.wipe()
        secret = next
        sequence = 0
        install()
    }

    private func install() {
        var key = secret.derived("key", count: secret.suite.keyBytes)
        let nonce = secret.derived("iv", count: 12)
        nonce.withUnsafeBytes {
            nonceHead = $0.loadUnaligned(as: UInt32.self)
            nonceTail = UInt64(
                bigEndian: $0.loadUnaligned(fromByteOffset: 4, as: UInt64.self)
            )
        }
        if let gcm, let prepared {
            gcm.prepare(key, prepared)
        } else {
            let kind = EVP_CIPHER_fetch(nil, secret.suite.name, nil)
            let isReady = EVP_CipherInit_ex(cipher, kind, nil, key, nil, isForSending ? 1 : 0)
            EVP_CIPHER_free(kind)
            guard isReady == 1 else { fatalError("out of memory: TLS keys") }
        }
        key.withUnsafeMutableBytes { OPENSSL_cleanse($0.baseAddress, $0.count) }
    }

    /// Encrypts `count` bytes behind the header in place, and puts the tag behind them.
    ///
    /// - Parameter record: header, `count` bytes, and room for the tag.
    func seal(_ record: UnsafeMutableRawPointer, count: Int) {
        let content = record + Self.headerBytes
        withNonce { nonce, scratch in
            if let gcm, let prepared {
                gcm.encrypt(
                    prepared,
                    scratch,
                    content,
                    content,
                    UInt64(count),
                    nonce,
                    record,
                    UInt64(Self.headerBytes),
                    content + count,
                    UInt64(Self.tagBytes)
                )
            } else {
                crypt(content, content, count, nonce, record, tag: content + count)
            }
        }
    }

    /// Decrypts a whole record, header and tag included; false where it is not what the peer sent.
    ///
    /// - Parameter content: room for all but header and tag; holds nothing of use if that fails.
    func open(_ record: Bytes, into content: UnsafeMutableRawPointer) -> Bool {
        guard let start = record.baseAddress else { return false }
        let count = record.count - Self.headerBytes - Self.tagBytes
        let input = start + Self.headerBytes
        return withNonce { nonce, scratch in
            guard let gcm, let prepared else {
                let tag = UnsafeMutableRawPointer(mutating: input + count)
                return crypt(content, input, count, nonce, start, tag: tag)
            }
            let tag = scratch + AESGCM.scratchBytes
            gcm.decrypt(
                prepared,
                scratch,
                content,
                input,
                UInt64(count),
                nonce,
                start,
                UInt64(Self.headerBytes),
                tag,
                UInt64(Self.tagBytes)
            )
            return CRYPTO_memcmp(tag, input + count, Self.tagBytes) == 0
        }
    }

    /// Hands out the nonce of the next record, and scratch with room for a tag behind it.
    @inline(__always)
    private func withNonce<Result>(
        _ body: (UnsafeRawPointer, UnsafeMutableRawPointer) -> Result
    ) -> Result {
        withUnsafeTemporaryAllocation(byteCount: AESGCM.scratchBytes + 32, alignment: 64) {
            guard let scratch = $0.baseAddress else { fatalError("no stack") }
            let nonce = scratch + AESGCM.scratchBytes + Self.tagBytes
            nonce.storeBytes(of: nonceHead, as: UInt32.self)
            (nonce + 4).storeBytes(of: (nonceTail ^ sequence).bigEndian, as: UInt64.self)
            sequence &+= 1
            return body(nonce, scratch)
        }
    }

    /// The same through OpenSSL.
    @discardableResult
    private func crypt(
        _ output: UnsafeMutableRawPointer,
        _ input: UnsafeRawPointer,
        _ count: Int,
        _ nonce: UnsafeRawPointer,
        _ header: UnsafeRawPointer,
        tag: UnsafeMutableRawPointer
    ) -> Bool {
        let bytes = { (pointer: UnsafeRawPointer) in pointer.assumingMemoryBound(to: UInt8.self) }
        var written: Int32 = 0
        let target = output.assumingMemoryBound(to: UInt8.self)
        let length = Int32(Self.tagBytes)
        guard EVP_CipherInit_ex(cipher, nil, nil, nil, bytes(nonce), -1) == 1,
            EVP_CipherUpdate(cipher, nil, &written, bytes(header), Int32(Self.headerBytes)) == 1,
            EVP_CipherUpdate(cipher, target, &written, bytes(input), Int32(count)) == 1,
            isForSending
                || EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, length, tag) == 1,
            EVP_CipherFinal_ex(cipher, target + count, &written) == 1
        else {
            ERR_clear_error()
            return false
        }
        return !isForSending
            || EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, length, tag) == 1
    }
}
