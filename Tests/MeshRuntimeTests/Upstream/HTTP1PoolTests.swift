import MeshHTTP
import MeshNet
import MeshSimulation
import Testing

@testable import MeshRuntime

/// The pool with the codec it has in production.
@Suite struct HTTP1PoolTests {
    /// Asks with a real request head and keeps the response's end.
    private final class Client: PoolWaiter, ClientStreamDelegate {
        private(set) var status = ""
        private(set) var body = ""
        private(set) var isComplete = false
        private(set) var reset: StreamResetReason?
        private(set) var stream: (any ClientStream)?
        private(set) var wasReused = false

        func poolReady(_ stream: any ClientStream, on connection: UpstreamConnection) {
            self.stream = stream
            wasReused = connection.isReused
            let head = HeaderMap()
            head.append(.method, "GET")
            head.append(.path, "/")
            head.append(.authority, "a.test")
            stream.sendHead(head, endStream: true)
        }

        func poolFailed(_ failure: PoolFailure) { reset = failure.resetReason }

        func responseHead(_ head: HeaderMap, endStream: Bool) {
            status = head.string(.status) ?? ""
            isComplete = endStream
        }

        func responseData(_ bytes: Bytes, endStream: Bool) {
            body += String(bytes: bytes)
            isComplete = endStream
        }

        func responseTrailers(_ trailers: HeaderMap) { isComplete = true }
        func responseReset(_ reason: StreamResetReason, detail: StaticString) { reset = reason }
        func responseInformational(_ head: HeaderMap) {}
        func requestBlocked() {}
        func requestUnblocked() {}

        var isOver: Bool { isComplete || reset != nil }
    }

    private func harness(
        _ simulation: Simulation,
        _ turns: [ScriptedPeer.Step]
    ) throws -> PoolHarness {
        let server = try ScriptedServer(in: simulation, port: 80, scripts: [turns])
        return PoolHarness(simulation, servers: [server.address]) {
            $0.codecs = UpstreamCodecs(only: HTTP1ClientCodecFactory(HTTP1Settings()))
        }
    }

    private func ask(_ harness: PoolHarness) -> Client {
        let client = Client()
        _ = harness.cluster().openStream(for: client, UpstreamSelection())
        return client
    }

    private static let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

    @Test(arguments: Simulation.seeds(5))
    func `one connection carries request after request, over any network`(seed: UInt64) throws {
        let simulation = Simulation(seed: seed)
        simulation.network.conditions = { _, generator in LinkConditions.rough(using: &generator) }
        let turn: [ScriptedPeer.Step] = [.awaitText("\r\n\r\n"), .send(Self.ok)]
        let harness = try harness(simulation, (0..<5).flatMap { _ in turn } + [.awaitEnd])
        for n in 0..<5 {
            let client = ask(harness)
            #expect(simulation.run { client.isOver }, "\(simulation.replay)")
            #expect(client.status == "200")
            #expect(client.body == "ok")
            #expect(client.wasReused == (n > 0))
        }
        #expect(harness.stat("upstream_cx_total") == 1)
        #expect(harness.isAtRest)
    }

    @Test(arguments: [
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", "close_notify"),
        ("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", "close_notify"),
        (ok + "HTTP/1.1 200 OK\r\n", "protocol_error"),
    ])
    func `a connection that may not, or must not, go on is not reused`(
        answer: String,
        counter: String
    ) throws {
        let simulation = Simulation(seed: 1)
        let harness = try harness(simulation, [.awaitText("\r\n\r\n"), .send(answer), .awaitEnd])
        let client = ask(harness)
        #expect(simulation.run { client.isOver })
        #expect(client.status == "200")
        #expect(harness.stat("upstream_cx_\(counter)") == 1)
        #expect(harness.stat("upstream_cx_destroy_with_active_rq") == 0)
        #expect(simulation.run { harness.stat("upstream_cx_active") == 0 })
        #expect(harness.isAtRest)
    }

    @Test func `a response that breaks the protocol resets its request and closes`() throws {
        let simulation = Simulation(seed: 1)
        let harness = try harness(
            simulation,
            [.awaitText("\r\n\r\n"), .send("HTTP/1.1 20 OK\r\n\r\n"), .awaitEnd]
        )
        let client = ask(harness)
        #expect(simulation.run { client.isOver })
        #expect(client.reset == .protocolError)
        #expect(harness.stat("upstream_cx_protocol_error") == 1)
        #expect(harness.stat("upstream_cx_destroy_local_with_active_rq") == 1)
        #expect(harness.stat("upstream_cx_active") == 0)
        #expect(harness.isAtRest)
    }

    @Test func `a body that ends with the connection is complete`() throws {
        let simulation = Simulation(seed: 1)
        let harness = try harness(
            simulation,
            [.awaitText("\r\n\r\n"), .send("HTTP/1.1 200 OK\r\n\r\nbody"), .close]
        )
        let client = ask(harness)
        #expect(simulation.run { client.isOver })
        #expect(client.body == "body")
        #expect(client.reset == nil)
        #expect(simulation.run { harness.stat("upstream_cx_active") == 0 })
        #expect(harness.isAtRest)
    }

    @Test func `a server that closes before answering resets the request`() throws {
        let simulation = Simulation(seed: 1)
        let harness = try harness(simulation, [.awaitText("\r\n\r\n"), .close])
        let client = ask(harness)
        #expect(simulation.run { client.isOver })
        #expect(client.reset == .connectionTermination)
        #expect(harness.stat("upstream_cx_destroy_remote_with_active_rq") == 1)
        #expect(harness.isAtRest)
    }

    @Test func `a request that is given up closes its connection`() throws {
        let simulation = Simulation(seed: 1)
        let harness = try harness(simulation, [.awaitText("\r\n\r\n"), .awaitEnd])
        let client = ask(harness)
        #expect(simulation.run { client.stream != nil })
        simulation.run(for: .milliseconds(1))
        client.stream?.reset(.localReset)
        #expect(harness.stat("upstream_cx_destroy_local_with_active_rq") == 1)
        #expect(simulation.run { harness.stat("upstream_cx_active") == 0 })
        #expect(client.reset == nil)
        #expect(harness.isAtRest)
    }
}
