import COpenSSL

/// What OpenSSL sees as the network during one call: the received bytes and the buffer to send from.
///
/// A custom BIO over it spares the copies and allocations of OpenSSL's memory BIO. It points into the
/// caller's memory and is empty outside of a call.
struct TLSWindow {
    var input = Bytes(start: nil, count: 0)
    var output: UnsafeMutablePointer<ByteBuffer>?

    /// A BIO that reads and writes through `window`, which must outlive it.
    static func makeBIO(_ window: UnsafeMutablePointer<TLSWindow>) -> OpaquePointer? {
        guard let bio = BIO_new(method.pointer) else { return nil }
        BIO_set_data(bio, window)
        BIO_set_init(bio, 1)
        return bio
    }

    private struct Method: @unchecked Sendable {
        // Filled once below and only read afterwards.
        let pointer: OpaquePointer?
    }

    private static let method: Method = {
        let method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "window")
        BIO_meth_set_read_ex(method) { bio, target, size, count in
            guard let bio, let count else { return 0 }
            copenssl_bio_clear_retry(bio)
            guard let window = BIO_get_data(bio)?.assumingMemoryBound(to: TLSWindow.self),
                window.pointee.input.count > 0, let target,
                let source = window.pointee.input.baseAddress
            else {
                count.pointee = 0
                copenssl_bio_retry_read(bio)
                return 0
            }
            let taken = min(size, window.pointee.input.count)
            target.withMemoryRebound(to: UInt8.self, capacity: taken) {
                UnsafeMutableRawPointer($0).copyMemory(from: source, byteCount: taken)
            }
            window.pointee.input = Bytes(
                start: source + taken,
                count: window.pointee.input.count &- taken
            )
            count.pointee = taken
            return 1
        }
        BIO_meth_set_write_ex(method) { bio, source, size, count in
            // Without a buffer nobody is there to send: only after a programmer's error.
            guard let bio, let count,
                let window = BIO_get_data(bio)?.assumingMemoryBound(to: TLSWindow.self),
                let output = window.pointee.output
            else { return 0 }
            output.pointee.append(Bytes(start: source, count: size))
            count.pointee = size
            return 1
        }
        BIO_meth_set_ctrl(method) { _, command, _, _ in
            // Flushing always succeeds; OpenSSL asks for it after each flight.
            command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP ? 1 : 0
        }
        return Method(pointer: method)
    }()
}
