import COpenSSL

/// Runs `body` on a read-only memory BIO over `bytes`.
func withMemoryBIO<R>(_ bytes: [UInt8], _ body: (OpaquePointer) -> R) -> R? {
    bytes.withUnsafeBytes { raw in
        guard let bio = BIO_new_mem_buf(raw.baseAddress, Int32(raw.count)) else { return nil }
        defer { BIO_free(bio) }
        return body(bio)
    }
}

/// What `write` prints into a memory BIO.
func textFromBIO(_ write: (OpaquePointer) -> Void) -> String {
    guard let bio = BIO_new(BIO_s_mem()) else { return "" }
    defer { BIO_free(bio) }
    write(bio)
    var start: UnsafeMutablePointer<CChar>?
    let count = copenssl_bio_contents(bio, &start)
    guard let start, count > 0 else { return "" }
    return String(bytes: Bytes(start: start, count: count))
}

/// The library's reason for the last failure, and an empty error queue.
func takeOpenSSLReason() -> String {
    var reason = "unknown reason"
    let code = ERR_peek_last_error()
    if code != 0, let text = ERR_reason_error_string(code) { reason = String(cString: text) }
    ERR_clear_error()
    return reason
}

/// A digest algorithm fetched once: an implicit fetch costs more than hashing a certificate.
private struct FetchedDigest: @unchecked Sendable {
    // Immutable after creation; OpenSSL's EVP_MD is reference-counted and safe to share.
    let algorithm: OpaquePointer?
}

private let fetchedSHA256 = FetchedDigest(algorithm: EVP_MD_fetch(nil, "SHA256", nil))

/// SHA-256 of the concatenated parts.
func sha256(_ parts: Bytes...) -> [UInt8] {
    var digest = SHA256Digest()
    for part in parts { digest.update(part) }
    return digest.finish()
}

/// An incremental SHA-256.
struct SHA256Digest: ~Copyable {
    private let state = EVP_MD_CTX_new()

    init() { EVP_DigestInit_ex(state, fetchedSHA256.algorithm, nil) }

    deinit { EVP_MD_CTX_free(state) }

    mutating func update(_ bytes: Bytes) { EVP_DigestUpdate(state, bytes.baseAddress, bytes.count) }

    /// Length first, so that neighbouring fields cannot be confused.
    mutating func update(field: [UInt8]) {
        withUnsafeBytes(of: UInt64(field.count)) { update($0) }
        field.withUnsafeBytes { update($0) }
    }

    mutating func update(field: String) { update(field: Array(field.utf8)) }

    mutating func finish() -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: 32) { buffer, count in
            EVP_DigestFinal_ex(state, buffer.baseAddress, nil)
            count = 32
        }
    }
}

/// Lower-case hexadecimal.
func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    var text: [UInt8] = []
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.append(digit < 10 ? 0x30 + digit : 0x57 + digit)
        }
    }
    return String(decoding: text, as: UTF8.self)
}
