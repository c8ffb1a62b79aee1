import MeshHTTP
import MeshNet
import MeshSimulation

@testable import MeshRuntime

/// A wire of one-line messages: request `q\n`; response `ok\n`, or `end\n`, after which the connection
/// cannot be used again.
final class LineCodec: ClientCodec, ClientStream {
    struct Factory: ClientCodecFactory {
        var version: HTTPVersion? { .http11 }

        func makeCodec(
            sink: ByteSink,
            delegate: any ClientCodecDelegate,
            cluster: Cluster
        ) -> any ClientCodec {
            LineCodec(sink: sink, owner: delegate)
        }
    }

    private let sink: ByteSink
    private unowned let owner: any ClientCodecDelegate
    private var delegate: (any ClientStreamDelegate)?
    var bytesReceived: UInt64 = 0
    var bytesSent: UInt64 = 0

    init(sink: ByteSink, owner: any ClientCodecDelegate) {
        self.sink = sink
        self.owner = owner
    }

    var streamsAvailable: Int { delegate == nil ? 1 : 0 }

    func openStream(_ delegate: any ClientStreamDelegate) -> any ClientStream {
        precondition(self.delegate == nil)
        self.delegate = delegate
        bytesSent = 0
        return self
    }

    func received(_ bytes: Bytes) -> Int {
        guard let delegate, let end = bytes.firstIndex(of: 0x0A) else { return 0 }
        let line = String(bytes: Bytes(rebasing: bytes[..<end]))
        self.delegate = nil
        delegate.responseHead(HeaderMap(), endStream: true)
        owner.streamEnded(reusable: line == "ok")
        return end + 1
    }

    func receivedEnd() { fail(.connectionTermination) }
    func connectionClosed(_ reason: StreamResetReason) {
        let delegate = delegate
        self.delegate = nil
        delegate?.responseReset(reason, detail: "")
    }

    private func fail(_ reason: StreamResetReason) {
        connectionClosed(reason)
        owner.streamEnded(reusable: false)
    }

    func outputBlocked() {}
    func outputUnblocked() {}

    func sendHead(_ head: HeaderMap, endStream: Bool) {
        sink.output.append("q\n")
        bytesSent += 2
        sink.outputGrew()
    }

    func sendData(_ bytes: Bytes, endStream: Bool) {}
    func sendTrailers(_ trailers: HeaderMap) {}

    func reset(_ reason: StreamResetReason) {
        delegate = nil
        owner.streamEnded(reusable: false)
    }

    func pauseReading() {}
    func resumeReading() {}
}

/// One request and what became of it.
final class Asker: PoolWaiter, ClientStreamDelegate {
    enum Outcome: Equatable {
        case waiting, open, served, reset(StreamResetReason)
        case failed(PoolFailure.Kind, String)
    }

    private(set) var outcome = Outcome.waiting
    private(set) var connection: UpstreamConnection?
    private(set) var stream: (any ClientStream)?
    /// The connection had served another before.
    private(set) var wasReused = false
    var onEnd: () -> Void = {}

    func poolReady(_ stream: any ClientStream, on connection: UpstreamConnection) {
        outcome = .open
        self.stream = stream
        self.connection = connection
        wasReused = connection.isReused
        stream.sendHead(HeaderMap(), endStream: true)
    }

    func poolFailed(_ failure: PoolFailure) {
        outcome = .failed(failure.kind, failure.transportFailureReason)
        onEnd()
    }

    func responseHead(_ head: HeaderMap, endStream: Bool) {
        outcome = .served
        onEnd()
    }

    func responseReset(_ reason: StreamResetReason, detail: StaticString) {
        outcome = .reset(reason)
        onEnd()
    }

    func responseInformational(_ head: HeaderMap) {}
    func responseData(_ bytes: Bytes, endStream: Bool) {}
    func responseTrailers(_ trailers: HeaderMap) {}
    func requestBlocked() {}
    func requestUnblocked() {}
}

/// A cluster seen by several workers on a simulated network.
final class PoolHarness {
    let simulation: Simulation
    let registry: StatsRegistry
    let vitals: ClusterVitals
    private(set) var sets: [ClusterSet] = []

    private struct Mailboxes: WorkerMailboxes {
        let mailboxes: [Mailbox]
        var workerCount: Int { mailboxes.count }
        func post(worker: Int, _ message: UpstreamMessage) {
            mailboxes[worker].post { loop in (loop.owner as? ClusterSet)?.receive(message) }
        }
    }

    init(
        _ simulation: Simulation,
        servers: [SocketAddress],
        workers: Int = 1,
        limits: CircuitBreakerLimits = CircuitBreakerLimits(),
        connectionsPerHost: Int = .max,
        options configure: (inout ClusterOptions) -> Void = { _ in }
    ) {
        self.simulation = simulation
        registry = StatsRegistry(workers: workers)
        let loops = (0..<workers).map { _ in simulation.makeLoop() }
        let endpoints = servers.map {
            EndpointSpec(
                address: $0,
                vitals: EndpointVitals(workers: workers, connectionsMax: connectionsPerHost)
            )
        }
        vitals = ClusterVitals(
            name: "c",
            default: limits,
            high: limits,
            endpoints: EndpointSet(endpoints),
            mailboxes: Mailboxes(mailboxes: loops.map(\.mailbox))
        )
        var options = ClusterOptions(name: "c", codecs: UpstreamCodecs(only: LineCodec.Factory()))
        configure(&options)
        sets = loops.enumerated().map { index, loop in
            let worker = UpstreamWorker(
                loop: loop,
                stats: WorkerStats(registry, index: index),
                seed: 0
            )
            let set = ClusterSet([Cluster(options, vitals: vitals, worker: worker)])
            loop.owner = set
            return set
        }
    }

    func cluster(_ worker: Int = 0) -> Cluster { sets[worker][0] }

    /// Asks on a worker's own turn, as a downstream event would.
    @discardableResult
    func ask(
        _ worker: Int = 0,
        onEnd: @escaping () -> Void = {}
    ) -> (asker: Asker, ticket: PoolTicket?) {
        let asker = Asker()
        asker.onEnd = onEnd
        guard
            case .underWay(let ticket) = cluster(worker).openStream(for: asker, UpstreamSelection())
        else { return (asker, nil) }
        return (asker, ticket)
    }

    func stat(_ name: String) -> UInt64 { registry.view().value("cluster.c.\(name)") ?? 0 }

    /// Everything that was acquired was given back, but for connections that idle.
    var isAtRest: Bool {
        vitals.default.requests.count == 0 && vitals.default.pendingRequests.count == 0
            && stat("upstream_rq_active") == 0 && stat("upstream_rq_pending_active") == 0
            && Int(stat("upstream_cx_active")) == vitals.default.connections.count
            && vitals.endpoints.endpoints.allSatisfy { $0.vitals.activeRequests == 0 }
    }
}

extension ScriptedServer {
    /// Answers each request of each connection.
    static func answering(
        in simulation: Simulation,
        port: UInt16 = 80,
        times: Int = 50,
        after delay: Nanoseconds = .zero,
        with answer: String = "ok\n"
    ) throws -> ScriptedServer {
        let turn: [ScriptedPeer.Step] = [.awaitText("q\n"), .wait(delay), .send(answer)]
        return try ScriptedServer(
            in: simulation,
            port: port,
            scripts: [(0..<times).flatMap { _ in turn } + [.awaitEnd, .close]]
        )
    }
}
