import MeshNet
import MeshSimulation
import Testing

@testable import MeshRuntime

/// Asks for a raw connection and keeps what it hears.
private final class TCPAsker: UpstreamTCPWaiter, ConnectionDelegate {
    private(set) var upstream: UpstreamTCPConnection?
    private(set) var failure: UpstreamTCPFailure?
    private(set) var received = ""
    private(set) var isClosed = false

    func upstreamConnected(_ upstream: UpstreamTCPConnection) {
        upstream.user = self
        self.upstream = upstream
    }

    func upstreamFailed(_ failure: UpstreamTCPFailure) { self.failure = failure }

    func connectionEstablished(_ connection: Connection) {}
    func connection(_ connection: Connection, received bytes: Bytes) -> Int {
        received += String(bytes: bytes)
        return bytes.count
    }
    func connectionReadEnded(_ connection: Connection) { connection.closeAfterFlush() }
    func connectionOutputBlocked(_ connection: Connection) {}
    func connectionOutputUnblocked(_ connection: Connection) {}
    func connectionClosed(_ connection: Connection, _ reason: ConnectionCloseReason) {
        isClosed = true
    }

    var lastFailure: PoolFailure? {
        if case .attemptsExceeded(let last) = failure { last } else { nil }
    }
}

@Suite struct UpstreamTCPConnectionTests {
    private let simulation = Simulation(seed: 1)

    private func connector(
        _ harness: PoolHarness,
        _ asker: TCPAsker,
        attempts: Int = 1
    ) -> UpstreamTCPConnector {
        UpstreamTCPConnector(
            harness.cluster(),
            UpstreamSelection(),
            attemptsMax: attempts,
            for: asker
        )
    }

    @Test func `bytes go through and everything is counted`() throws {
        let server = try ScriptedServer(
            in: simulation,
            port: 80,
            scripts: [[.awaitText("hi"), .send("there"), .close]]
        )
        let harness = PoolHarness(simulation, servers: [server.address])
        let asker = TCPAsker()
        connector(harness, asker).start()
        #expect(asker.upstream == nil)
        #expect(harness.stat("upstream_rq_pending_active") == 1)
        #expect(simulation.run { asker.upstream != nil })
        #expect(harness.stat("upstream_rq_active") == 1)
        #expect(harness.stat("upstream_rq_pending_active") == 0)
        asker.upstream?.connection?.output.append("hi")
        asker.upstream?.connection?.outputGrew()
        #expect(simulation.run { asker.isClosed })
        #expect(asker.received == "there")
        #expect(harness.stat("upstream_cx_rx_bytes_total") == 5)
        #expect(harness.stat("upstream_cx_tx_bytes_total") == 2)
        #expect(harness.stat("upstream_cx_destroy_remote") == 1)
        #expect(harness.stat("upstream_cx_active") == 0)
        #expect(harness.vitals.default.connections.count == 0)
        #expect(harness.isAtRest)
    }

    @Test func `the next endpoint is tried as long as attempts last`() throws {
        let server = try ScriptedServer.answering(in: simulation)
        let nobody = SocketAddress.ip(simulation.makeSystem().address, port: 9)
        let harness = PoolHarness(simulation, servers: [nobody, server.address])
        // Round robin: of two attempts one meets the server, wherever it begins.
        let asker = TCPAsker()
        connector(harness, asker, attempts: 2).start()
        #expect(simulation.run { asker.upstream != nil })
        #expect(asker.upstream?.endpoint.address == server.address)
    }

    @Test func `after the last attempt the failure says why`() throws {
        let nobody = SocketAddress.ip(simulation.makeSystem().address, port: 9)
        let harness = PoolHarness(simulation, servers: [nobody])
        let asker = TCPAsker()
        connector(harness, asker, attempts: 3).start()
        #expect(simulation.run { asker.failure != nil })
        #expect(asker.lastFailure?.kind == .remoteConnectionFailure)
        #expect(
            asker.lastFailure?.transportFailureReason
                == "delayed connect error: Connection refused"
        )
        #expect(harness.stat("upstream_cx_connect_fail") == 3)
        #expect(harness.stat("upstream_cx_connect_attempts_exceeded") == 1)
        #expect(harness.isAtRest)
    }

    @Test func `at the limit of connections the attempt overflows`() throws {
        let server = try ScriptedServer.answering(in: simulation)
        var limits = CircuitBreakerLimits()
        limits.connections = 1
        let harness = PoolHarness(simulation, servers: [server.address], limits: limits)
        let first = TCPAsker()
        let second = TCPAsker()
        connector(harness, first).start()
        connector(harness, second).start()
        guard case .overflow = second.failure else {
            Issue.record("no overflow")
            return
        }
        #expect(harness.stat("upstream_cx_overflow") == 1)
        #expect(simulation.run { first.upstream != nil })
    }

    @Test func `an idle HTTP connection makes room`() throws {
        let server = try ScriptedServer.answering(in: simulation)
        var limits = CircuitBreakerLimits()
        limits.connections = 1
        let harness = PoolHarness(simulation, servers: [server.address], limits: limits)
        let http = harness.ask().asker
        #expect(simulation.run { http.outcome == .served })
        let asker = TCPAsker()
        connector(harness, asker).start()
        #expect(simulation.run { asker.upstream != nil })
    }

    @Test func `without endpoints there is nobody`() {
        let asker = TCPAsker()
        connector(PoolHarness(simulation, servers: []), asker).start()
        guard case .noEndpoint = asker.failure else {
            Issue.record("somebody was found")
            return
        }
    }

    @Test func `cancelling ends the attempt and tells nobody`() throws {
        let server = try ScriptedServer.answering(in: simulation)
        let harness = PoolHarness(simulation, servers: [server.address])
        let asker = TCPAsker()
        let connector = connector(harness, asker)
        connector.start()
        connector.cancel()
        simulation.run(for: .seconds(1))
        #expect(asker.upstream == nil)
        #expect(asker.failure == nil)
        #expect(harness.stat("upstream_cx_active") == 0)
        #expect(harness.isAtRest)
    }
}
