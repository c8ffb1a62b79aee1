/// TLS as a ``Connection`` sees it: bytes in, bytes out, no I/O. ``TLSSession`` is the real one;
/// simulations may use another.
package protocol SecureTransport: AnyObject {
    /// Emits the first flight, where this side speaks first.
    func start(output: inout ByteBuffer)
    /// Takes all of the ciphertext, appends what it decrypts to and what must be answered.
    func receive(
        _ ciphertext: Bytes,
        plaintext: inout ByteBuffer,
        output: inout ByteBuffer
    ) -> TLSStatus
    /// Encrypts all of the plaintext; false where the session has failed.
    func send(_ plaintext: Bytes, output: inout ByteBuffer) -> Bool
    /// Emits close_notify (RFC 8446 §6.1).
    func shutdown(output: inout ByteBuffer)
    /// What was established; nil before.
    var info: TLSConnectionInfo? { get }
    /// Why the session failed, in one line, once it has.
    var failureReason: String { get }
}

package enum TLSStatus: Sendable {
    case handshaking
    case established
    /// The peer sent close_notify.
    case peerClosed
    /// See ``SecureTransport/failureReason``. An alert for the peer may be in the output.
    case failed
}
