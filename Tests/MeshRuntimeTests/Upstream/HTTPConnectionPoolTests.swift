import MeshHTTP
import MeshNet
import MeshSimulation
import Testing

@testable import MeshRuntime

@Suite struct HTTPConnectionPoolTests {
    private func limits(_ configure: (inout CircuitBreakerLimits) -> Void) -> CircuitBreakerLimits {
        var limits = CircuitBreakerLimits()
        configure(&limits)
        return limits
    }

    @Test func `an idle connection serves the next request at once, without a ticket`() throws {
        let simulation = Simulation(seed: 1)
        let server = try ScriptedServer.answering(in: simulation)
        let harness = PoolHarness(simulation, servers: [server.address])
        let first = harness.ask()
        #expect(first.ticket != nil)
        #expect(simulation.run { first.asker.outcome == .served })
        #expect(!first.asker.wasReused)

        let second = harness.ask()
        #expect(second.ticket == nil)
        #expect(second.asker.outcome == .open)
        #expect(second.asker.wasReused)
        #expect(simulation.run { second.asker.outcome == .served })
        #expect(first.asker.connection === second.asker.connection)
        #expect(harness.stat("upstream_cx_total") == 1)
        #expect(harness.stat("upstream_rq_total") == 2)
        #expect(harness.stat("upstream_rq_pending_total") == 1)
        #expect(harness.stat("upstream_cx_tx_bytes_total") == 4)
        #expect(harness.stat("upstream_cx_rx_bytes_total") == 6)
        #expect(harness.isAtRest)
        #expect(harness.vitals.endpoints.endpoints[0].vitals.sum(.requestsTotal) == 2)
    }

    @Test func `the connection used last is used first`() throws {
        let simulation = Simulation(seed: 1)
        let server = try ScriptedServer.answering(in: simulation)
        let harness = PoolHarness(simulation, servers: [server.address])
        let askers = (0..<3).map { _ in harness.ask().asker }
        #expect(simulation.run { askers.allSatisfy { $0.outcome == .served } })
        #expect(harness.stat("upstream_cx_total") == 3)
        let next = harness.ask().asker
        #expect(simulation.run { next.outcome == .served })
        let after = harness.ask().asker
        #expect(after.connection === next.connection)
    }

    @Test func `a connection that cannot be reused is not`() throws {
        let simulation = Simulation(seed: 1)
        let server = try ScriptedServer.answering(in: simulation, with: "end\n")
        let harness = PoolHarness(simulation, servers: [server.address])
        for _ in 0..<2 {
            let asker = harness.ask().asker
            #expect(simulation.run { asker.outcome == .served })
            simulation.run(for: .milliseconds(1))
        }
        #expect(harness.stat("upstream_cx_total") == 2)
        #expect(harness.stat("upstream_cx_destroy_local") == 2)
        #expect(harness.stat("upstream_cx_active") == 0)
        #expect(harness.isAtRest)
    }

    @Test func `bytes after a response end the connection`() throws {
        let simulation = Simulation(seed: 1)
        let server = try ScriptedServer.answering(in: simulation, with: "ok\nok\n")
        let harness = PoolHarness(simulation, servers: [server.address])
        let asker = harness.ask().asker
        #expect(simulation.run { asker.outcome == .served })
        #expect(harness.stat("upstream_cx_destroy_local") == 1)
        #expect(harness.ask().ticket != nil)
    }

    @Test func `bytes nobody asked for end an idle connection`() throws {
        let simulation = Simulation(seed: 1)
        let server = try ScriptedServer(
            in: simulation,
            port: 80,
            scripts: [
                [.awaitText("q\n"), .send("ok\n"), .wait(.seconds(1)), .send("ok\n"), .awaitEnd]
            ]
        )
        let harness = PoolHarness(simulation, servers: [server.address])
        let asker = harness.ask().asker
        #expect(simulation.run { asker.outcome == .served })
        simulation.run(for: .seconds(2))
        #expect(harness.stat("upstream_cx_active") == 0)
        #expect(harness.stat("upstream_cx_protocol_error") == 1)
    }

    @Test func `a connection whose FIN has arrived leaves the pool`() throws {
        let simulation = Simulation(seed: 1)
        let server = try ScriptedServer(
            in: simulation,
            port: 80,
            scripts: [[.awaitText("q\n"), .send("ok\n"), .close]]
        )
        let harness = PoolHarness(simulation, servers: [server.address])
        let asker = harness.ask().asker
        #expect(simulation.run { harness.stat("upstream_cx_destroy") == 1 })
        #expect(asker.outcome == .served)
        #expect(harness.stat("upstream_cx_destroy_remote") == 1)
        #expect(harness.stat("upstream_cx_destroy_with_active_rq") == 0)
        #expect(harness.isAtRest)
    }

    @Test func `a connection that dies under a request resets it`() throws {
        let simulation = Simulation(seed: 1)
        let server = try ScriptedServer(
            in: simulation,
            port: 80,
            scripts: [[.awaitText("q\n"), .abort]]
        )
        let harness = PoolHarness(simulation, servers: [server.address])
        let asker = harness.ask().asker
        #expect(simulation.run { asker.outcome == .reset(.connectionTermination) })
        #expect(harness.stat("upstream_cx_destroy_remote_with_active_rq") == 1)
        #expect(harness.stat("upstream_cx_destroy_with_active_rq") == 1)
        #expect(harness.isAtRest)
    }

    @Test func `a refused connection fails all that wait, and says why`() throws {
        let simulation = Simulation(seed: 1)
        let nobody = SocketAddress.ip(simulation.makeSystem().address, port: 9)
        let harness = PoolHarness(simulation, servers: [nobody])
        let askers = (0..<2).map { _ in harness.ask().asker }
        let expected = Asker.Outcome.failed(
            .remoteConnectionFailure,
            "delayed connect error: Connection refused"
        )
        #expect(simulation.run { askers.allSatisfy { $0.outcome == expected } })
        #expect(harness.stat("upstream_rq_pending_failure_eject") == 2)
        simulation.run(for: .seconds(1))
        #expect(harness.stat("upstream_cx_connect_fail") == 2)
        #expect(harness.stat("upstream_cx_destroy_remote") == 2)
        #expect(harness.stat("upstream_cx_connect_timeout") == 0)
        #expect(harness.vitals.default.connections.count == 0)
        #expect(harness.isAtRest)
    }

    @Test func `a retry from inside a failure is not failed with it`() throws {
        let simulation = Simulation(seed: 1)
        let server = try ScriptedServer.answering(in: simulation)
        var attempts = 0
        simulation.network.conditions = { _, _ in
            attempts += 1
            var conditions = LinkConditions.calm
            conditions.opening = attempts == 1 ? .refused : .accepted
            return conditions
        }
        let harness = PoolHarness(simulation, servers: [server.address])
        var retry: Asker?
        harness.ask(onEnd: { retry = harness.ask().asker })
        #expect(simulation.run { retry?.outcome == .served })
        #expect(harness.stat("upstream_cx_total") == 2)
    }

    @Test func `connecting is given up in time`() throws {
        let simulation = Simulation(seed: 1)
        simulation.network.conditions = { _, _ in
            var conditions = LinkConditions.calm
            conditions.opening = .blackhole
            return conditions
        }
        let server = try ScriptedServer.answering(in: simulation)
        let harness = PoolHarness(simulation, servers: [server.address]) {
            $0.connectTimeout = .milliseconds(250)
        }
        let start = simulation.clock.now
        let asker = harness.ask().asker
        #expect(simulation.run { asker.outcome == .failed(.connectTimeout, "") })
        #expect((simulation.clock.now - start).milliseconds <= 253)
        #expect(harness.stat("upstream_cx_connect_timeout") == 1)
        #expect(harness.stat("upstream_cx_connect_fail") == 1)
        #expect(harness.stat("upstream_cx_destroy_local") == 1)
    }

    @Test func `requests wait in order, up to the limit of pending requests`() throws {
        let simulation = Simulation(seed: 1)
        let server = try ScriptedServer.answering(in: simulation, after: .milliseconds(10))
        let harness = PoolHarness(
            simulation,
            servers: [server.address],
            limits: limits {
                $0.connections = 1
                $0.pendingRequests = 2
            }
        )
        let first = harness.ask().asker
        #expect(simulation.run { first.outcome == .open })
        var order: [Int] = []
        let waiting = (0..<3).map { n in harness.ask(onEnd: { order.append(n) }).asker }
        #expect(waiting[2].outcome == .failed(.overflow, ""))
        #expect(harness.stat("upstream_rq_pending_overflow") == 1)
        #expect(harness.stat("upstream_rq_pending_active") == 2)
        #expect(harness.stat("upstream_cx_overflow") == 2)
        #expect(simulation.run { waiting[1].outcome == .served })
        #expect(order == [2, 0, 1])
        #expect(harness.stat("upstream_cx_total") == 1)
        #expect(harness.isAtRest)
    }

    @Test func `the limit of requests fails what is over it`() throws {
        let simulation = Simulation(seed: 1)
        let server = try ScriptedServer.answering(in: simulation, after: .milliseconds(10))
        let harness = PoolHarness(
            simulation,
            servers: [server.address],
            limits: limits { $0.requests = 1 }
        )
        let askers = (0..<2).map { _ in harness.ask().asker }
        #expect(simulation.run { askers.contains { $0.outcome == .served } })
        #expect(askers.map(\.outcome).contains(.failed(.overflow, "")))
        #expect(harness.stat("upstream_rq_active_overflow") == 1)
        #expect(harness.isAtRest)
    }

    @Test func `a cancelled request leaves the queue and is not served`() throws {
        let simulation = Simulation(seed: 1)
        let server = try ScriptedServer.answering(in: simulation)
        let harness = PoolHarness(simulation, servers: [server.address])
        let (asker, ticket) = harness.ask()
        if let ticket { ticket.pool?.cancel(ticket) }
        #expect(ticket?.pool == nil)
        simulation.run(for: .seconds(1))
        #expect(asker.outcome == .waiting)
        #expect(harness.stat("upstream_rq_cancelled") == 1)
        #expect(harness.isAtRest)
        // The connection it began serves the next.
        #expect(harness.ask().ticket == nil)
    }

    @Test func `a connection takes so many requests and no more`() throws {
        let simulation = Simulation(seed: 1)
        let server = try ScriptedServer.answering(in: simulation)
        let harness = PoolHarness(simulation, servers: [server.address]) {
            $0.maxRequestsPerConnection = 2
        }
        for _ in 0..<4 {
            let asker = harness.ask().asker
            #expect(simulation.run { asker.outcome == .served })
        }
        #expect(harness.stat("upstream_cx_total") == 2)
        #expect(harness.stat("upstream_cx_max_requests") == 2)
        #expect(harness.stat("upstream_cx_active") == 0)
    }

    @Test
    func `an idle connection is closed after the idle timeout, counted from its last request`()
        throws
    {
        let simulation = Simulation(seed: 1)
        let server = try ScriptedServer.answering(in: simulation)
        let harness = PoolHarness(simulation, servers: [server.address]) {
            $0.idleTimeout = .seconds(10)
        }
        harness.ask()
        simulation.run(for: .seconds(6))
        harness.ask()
        simulation.run(for: .seconds(9))
        #expect(harness.stat("upstream_cx_active") == 1)
        simulation.run(for: .milliseconds(1_100))
        #expect(harness.stat("upstream_cx_active") == 0)
        #expect(harness.stat("upstream_cx_idle_timeout") == 1)
    }

    @Test func `past its duration a connection finishes its request and closes`() throws {
        let simulation = Simulation(seed: 1)
        let server = try ScriptedServer.answering(in: simulation, after: .seconds(3))
        let harness = PoolHarness(simulation, servers: [server.address]) {
            $0.maxConnectionDuration = .seconds(2)
        }
        let asker = harness.ask().asker
        simulation.run(for: .milliseconds(2_500))
        #expect(asker.outcome == .open)
        #expect(harness.stat("upstream_cx_max_duration_reached") == 1)
        #expect(simulation.run { asker.outcome == .served })
        #expect(harness.stat("upstream_cx_active") == 0)
    }

    @Test func `a reset request takes its connection with it`() throws {
        let simulation = Simulation(seed: 1)
        let server = try ScriptedServer.answering(in: simulation, after: .seconds(3))
        let harness = PoolHarness(simulation, servers: [server.address])
        let asker = harness.ask().asker
        #expect(simulation.run { asker.outcome == .open })
        asker.stream?.reset(.localReset)
        #expect(harness.stat("upstream_cx_active") == 0)
        #expect(harness.stat("upstream_cx_destroy_local") == 1)
        #expect(harness.isAtRest)
    }

    @Test func `with endpoints that leave, idle connections close and busy ones finish`() throws {
        let simulation = Simulation(seed: 1)
        let servers = try [80, 81].map {
            try ScriptedServer.answering(in: simulation, port: $0, after: .milliseconds(10))
        }
        let harness = PoolHarness(simulation, servers: servers.map(\.address))
        let askers = (0..<4).map { _ in harness.ask().asker }
        #expect(simulation.run { askers.allSatisfy { $0.outcome == .served } })
        let busy = (0..<2).map { _ in harness.ask().asker }
        #expect(harness.stat("upstream_cx_active") == 4)

        let stays = EndpointSet([harness.vitals.endpoints.endpoints[0]])
        harness.vitals.publish(stays)
        #expect(simulation.run { harness.stat("membership_total") == 1 })
        #expect(harness.stat("upstream_cx_active") == 3)
        #expect(simulation.run { busy.allSatisfy { $0.outcome == .served } })
        #expect(harness.stat("upstream_cx_active") == 2)
        #expect(harness.stat("membership_change") == 2)
        let next = harness.ask().asker
        #expect(next.connection?.endpoint.address == servers[0].address)
    }

    @Test func `an empty cluster has no endpoint`() {
        let harness = PoolHarness(Simulation(seed: 1), servers: [])
        guard case .noEndpoint = harness.cluster().openStream(for: Asker(), UpstreamSelection())
        else {
            Issue.record("something was opened")
            return
        }
        #expect(harness.stat("upstream_cx_none_healthy") == 1)
    }

    @Test func `a rejected endpoint is avoided as long as attempts last`() throws {
        let simulation = Simulation(seed: 1)
        let addresses = [80, 81].map { SocketAddress.ip(IPAddress(ipv4: 0x0A00_0009), port: $0) }
        let harness = PoolHarness(simulation, servers: addresses)
        let cluster = harness.cluster()
        var selection = UpstreamSelection()
        selection.rejected = [cluster.endpoints[0]]
        selection.attemptsMax = 6
        for _ in 0..<20 {
            #expect(cluster.chooseEndpoint(selection) === cluster.endpoints[1])
        }
        selection.rejected = cluster.endpoints
        #expect(cluster.chooseEndpoint(selection) != nil)
    }

    @Test func `a health change is seen by the next choice`() throws {
        let addresses = [80, 81, 82].map {
            SocketAddress.ip(IPAddress(ipv4: 0x0A00_0009), port: $0)
        }
        let harness = PoolHarness(Simulation(seed: 1), servers: addresses)
        let cluster = harness.cluster()
        let first = cluster.endpoints[0]
        #expect(first.vitals.setHealth(.unhealthy))
        harness.vitals.healthChanged()
        let chosen = (0..<20).compactMap { _ in cluster.chooseEndpoint(UpstreamSelection()) }
        #expect(chosen.count == 20)
        #expect(!chosen.contains { $0 === first })
        #expect(harness.stat("membership_healthy") == 2)
    }
}

/// The same limits with several workers on one cluster.
@Suite struct SharedLimitTests {
    private func limits(connections: Int) -> CircuitBreakerLimits {
        var limits = CircuitBreakerLimits()
        limits.connections = connections
        return limits
    }

    @Test func `an idle connection of another worker is given up for who waits`() throws {
        let simulation = Simulation(seed: 1)
        let server = try ScriptedServer.answering(in: simulation)
        let harness = PoolHarness(
            simulation,
            servers: [server.address],
            workers: 2,
            limits: limits(connections: 1)
        )
        let first = harness.ask(0).asker
        #expect(simulation.run { first.outcome == .served })
        let second = harness.ask(1).asker
        #expect(second.outcome == .waiting)
        #expect(simulation.run { second.outcome == .served })
        #expect(harness.stat("upstream_cx_total") == 2)
        #expect(harness.vitals.default.connections.count == 1)
    }

    @Test func `a busy connection of another worker is given up once it idles`() throws {
        let simulation = Simulation(seed: 1)
        let server = try ScriptedServer.answering(in: simulation, after: .milliseconds(50))
        let harness = PoolHarness(
            simulation,
            servers: [server.address],
            workers: 2,
            limits: limits(connections: 1)
        )
        let first = harness.ask(0).asker
        #expect(simulation.run { first.outcome == .open })
        let second = harness.ask(1).asker
        simulation.run(for: .milliseconds(20))
        #expect(second.outcome == .waiting)
        #expect(simulation.run { second.outcome == .served })
        #expect(first.outcome == .served)
    }

    @Test func `an idle connection to another endpoint of the same worker is given up`() throws {
        let simulation = Simulation(seed: 1)
        let servers = try [80, 81].map { try ScriptedServer.answering(in: simulation, port: $0) }
        let harness = PoolHarness(
            simulation,
            servers: servers.map(\.address),
            limits: limits(connections: 1)
        )
        let first = harness.ask().asker
        #expect(simulation.run { first.outcome == .served })
        let second = harness.ask().asker
        #expect(simulation.run { second.outcome == .served })
        #expect(first.connection?.endpoint !== second.connection?.endpoint)
        #expect(harness.vitals.default.connections.count == 1)
        #expect(harness.stat("upstream_cx_overflow") == 0)
    }

    @Test func `who waits behind a worker that is never idle still gets its turn`() throws {
        let simulation = Simulation(seed: 1)
        let server = try ScriptedServer.answering(
            in: simulation,
            times: 500,
            after: .milliseconds(1)
        )
        let harness = PoolHarness(
            simulation,
            servers: [server.address],
            workers: 2,
            limits: limits(connections: 1)
        )
        var remaining = 200
        func again() {
            guard remaining > 0 else { return }
            remaining -= 1
            harness.ask(0, onEnd: again)
        }
        // Two at a time: whenever one is served the other waits already.
        again()
        again()
        simulation.run(for: .milliseconds(5))
        let patient = harness.ask(1).asker
        #expect(simulation.run { patient.outcome == .served })
        #expect(remaining > 100)
        #expect(simulation.run { remaining == 0 && harness.isAtRest })
    }

    @Test func `a wake-up whose requests have left goes on to the next worker`() throws {
        let simulation = Simulation(seed: 1)
        let server = try ScriptedServer.answering(in: simulation, after: .milliseconds(50))
        let harness = PoolHarness(
            simulation,
            servers: [server.address],
            workers: 3,
            limits: limits(connections: 1)
        )
        let first = harness.ask(0).asker
        #expect(simulation.run { first.outcome == .open })
        let second = harness.ask(1)
        let third = harness.ask(2).asker
        simulation.run(for: .milliseconds(1))
        // Worker 1's mark is taken, and its letter is under way, when its request leaves.
        harness.vitals.releaseConnection(.default)
        #expect(harness.vitals.default.connections.tryAcquire() == true)
        if let ticket = second.ticket { ticket.pool?.cancel(ticket) }
        #expect(simulation.run { third.outcome == .served })
    }

    @Test(arguments: Simulation.seeds(8))
    func `under any schedule the limit holds and everybody is served`(seed: UInt64) throws {
        let simulation = Simulation(seed: seed)
        let servers = try [80, 81].map {
            try ScriptedServer.answering(
                in: simulation,
                port: $0,
                times: 400,
                after: .milliseconds(1)
            )
        }
        simulation.network.conditions = { _, generator in LinkConditions.rough(using: &generator) }
        let harness = PoolHarness(
            simulation,
            servers: servers.map(\.address),
            workers: 4,
            limits: limits(connections: 3)
        )
        var served = 0
        var left = 60
        func next(_ worker: Int) {
            served += 1
            guard left > 0 else { return }
            left -= 1
            harness.ask(worker, onEnd: { next((worker + served) % 4) })
        }
        for worker in 0..<8 { next(worker % 4) }
        let done = simulation.run {
            #expect(harness.vitals.default.connections.count <= 3)
            return served == 68 && harness.isAtRest
        }
        #expect(done, "\(served) served; \(simulation.replay)")
    }
}
