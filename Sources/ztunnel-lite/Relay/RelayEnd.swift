import MeshNet

/// One of the two byte streams that a session joins: a TCP connection, or a stream of an HBONE connection.
/// Bytes go in here; what comes out is told to the session.
protocol RelayEnd: AnyObject {
    func write(_ bytes: Bytes)
    /// Nothing more will be written: FIN, or END_STREAM, after what was.
    func shutdownSending()
    /// Counted; each needs its ``resumeReading()``.
    func pauseReading()
    func resumeReading()
    /// Both directions have ended in order: lets go once everything is with the kernel.
    func closeAfterFlush()
    /// The peer is to know that something is missing: RST, or RST_STREAM.
    func abort()
}

extension Connection: RelayEnd {}
