import MeshNet

/// Counts one worker's handshakes of one listener or cluster (envoy: `<prefix>.ssl.`).
///
/// What is negotiated is counted by name, as in Envoy: `ssl.versions.TLSv1.3`. Such a counter appears
/// with its first use.
package final class TLSHandshakeStats {
    private let stats: TLSStats
    private let scope: StatsScope
    private var named: [(name: String, counter: Counter)] = []

    /// - Parameter prefix: `listener.<address>` or `cluster.<name>`.
    package init(_ stats: WorkerStats, prefix: String) {
        self.stats = TLSStats(stats, prefix: prefix)
        scope = StatsScope(stats, "\(prefix).ssl.")
    }

    /// - Parameter session: knows the group and the signature, where it is OpenSSL's.
    package func established(_ info: TLSConnectionInfo, _ session: TLSSession? = nil) {
        stats.handshake.add()
        if info.isResumed { stats.sessionReused.add() }
        if info.peer == nil { stats.noCertificate.add() }
        if let tolerated = session?.toleratedFailure { failed(tolerated) }
        count("ciphers.\(info.cipher)")
        count("versions.\(info.version)")
        if let group = session?.group { count("curves.\(group)") }
        if let algorithm = session?.signatureAlgorithm { count("sigalgs.\(algorithm)") }
    }

    /// - Parameter failure: nil where the connection broke before TLS could fail.
    package func failed(_ failure: TLSFailure?) {
        switch failure?.stage {
        case .noCertificate: stats.failVerifyNoCert.add()
        case .chain, .revoked: stats.failVerifyError.add()
        case .name: stats.failVerifySan.add()
        case .hash: stats.failVerifyCertHash.add()
        case .usage, .negotiation, .record: stats.connectionError.add()
        case nil: break
        }
    }

    private func count(_ name: String) {
        for known in named where known.name == name { return known.counter.add() }
        let counter = scope.counter(name)
        counter.add()
        named.append((name, counter))
    }
}
