import MeshNet

/// The far half of a `tcp_proxy` session: a connection, or a tunnel through one.
protocol TCPProxyUpstream: AnyObject {
    func write(_ bytes: Bytes)
    /// Says FIN, or END_STREAM, after what was written.
    func shutdownSending()
    /// Reading is counted: each pause needs its resumption.
    func pauseReading()
    func resumeReading()
    /// Bytes not yet taken by the kernel; of a tunnel, none that are its own.
    var bufferedBytes: Int { get }
    /// Ends it, once what was written is sent. A tunnel that has not ended in both directions is reset.
    func closeAfterFlush()
    /// Ends it so that the peer knows that something is missing.
    func abort()
}

extension Connection: TCPProxyUpstream {}
