import MeshNet
import MeshRuntime

/// Handshakes of one listener on one worker (envoy: `listener.<address>.ssl.`).
struct TLSHandshakeStats {
    private let stats: TLSStats
    private let worker: WorkerStats
    private let prefix: String

    init(_ worker: WorkerStats, prefix: String) {
        stats = TLSStats(worker, prefix: prefix)
        self.worker = worker
        self.prefix = prefix
    }

    func established(_ session: TLSSession, _ info: TLSConnectionInfo) {
        stats.handshake.add()
        if info.isResumed { stats.sessionReused.add() }
        if info.peer == nil { stats.noCertificate.add() }
        // Names are few and appear with their first use.
        worker.counter("\(prefix).ssl.versions.\(info.version)").add()
        worker.counter("\(prefix).ssl.ciphers.\(info.cipher)").add()
        if let group = session.group { worker.counter("\(prefix).ssl.curves.\(group)").add() }
        if let signature = session.signatureAlgorithm {
            worker.counter("\(prefix).ssl.sigalgs.\(signature)").add()
        }
    }

    func failed(_ failure: TLSFailure?) {
        switch failure?.stage {
        case .noCertificate: stats.failVerifyNoCert.add()
        case .hash: stats.failVerifyCertHash.add()
        case .name: stats.failVerifySan.add()
        case .chain: stats.failVerifyError.add()
        case .negotiation, .record, nil: stats.connectionError.add()
        }
    }
}
