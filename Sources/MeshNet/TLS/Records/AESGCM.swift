import CLinux
import Glibc

/// AES-GCM of Intel's multi-buffer library (Debian: libipsec-mb1), where it is installed and the processor has
/// what it needs: a record of 1 KiB costs a seventh of what it does through OpenSSL 3.0's EVP.
///
/// Loaded at run time, since a machine without it, or of another kind, works all the same.
struct AESGCM: Sendable {
    typealias Prepare = @convention(c) (UnsafeRawPointer, UnsafeMutableRawPointer) -> Void
    /// Prepared key, scratch, output, input, its length, nonce of 12 bytes, additional data, its length, tag,
    /// its length.
    typealias Crypt =
        @convention(c) (
            UnsafeRawPointer, UnsafeMutableRawPointer, UnsafeMutableRawPointer, UnsafeRawPointer,
            UInt64, UnsafeRawPointer, UnsafeRawPointer, UInt64, UnsafeMutableRawPointer, UInt64
        ) -> Void

    let prepare: Prepare
    let encrypt: Crypt
    let decrypt: Crypt

    /// Of a prepared key (struct gcm_key_data) and of the scratch of a call (struct gcm_context_data), with
    /// room to spare; both are part of the library's ABI, version 1.
    static let keyBytes = 1024
    static let keyAlignment = 64
    static let scratchBytes = 96

    /// The fastest that this processor can run, by the length of the key in bits; nil: none.
    static let best128 = load(bits: 128)
    static let best256 = load(bits: 256)

    private static func load(bits: Int) -> AESGCM? {
        let level: String
        switch clinux_cpu_gcm_level() {
        case 2: level = "vaes_avx512"
        case 1: level = "avx_gen4"
        default: return nil
        }
        guard let library = dlopen("libIPSec_MB.so.1", RTLD_NOW | RTLD_LOCAL),
            let prepare = dlsym(library, "aes_gcm_pre_\(bits)_\(level)"),
            let encrypt = dlsym(library, "aes_gcm_enc_\(bits)_\(level)"),
            let decrypt = dlsym(library, "aes_gcm_dec_\(bits)_\(level)")
        else { return nil }
        return AESGCM(
            prepare: unsafeBitCast(prepare, to: Prepare.self),
            encrypt: unsafeBitCast(encrypt, to: Crypt.self),
            decrypt: unsafeBitCast(decrypt, to: Crypt.self)
        )
    }
}
