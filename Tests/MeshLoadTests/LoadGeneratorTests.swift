import MeshLoad
import MeshNet
import MeshSimulation
import Testing

@Suite struct LoadGeneratorTests {
    private func nanoseconds(_ summary: LatencySummary?, at percentile: Double) -> UInt64 {
        summary?.percentiles.first { $0.percentile == percentile }?.nanoseconds ?? 0
    }

    // MARK: Open loop

    @Test func `a stall shows in the latency of every request that was due in it`() throws {
        let fixture = try LoadFixture()
        var plan = fixture.plan
        plan.rate = 1000
        let begin = fixture.simulation.clock.now + .seconds(2)
        fixture.server.stall = begin..<(begin + .seconds(1))
        let result = try fixture.run(plan)

        #expect(result.requests == 3000)
        #expect(result.errors.isEmpty)
        // Of 1000 requests due in that second, the last hundredth of all waited longest: 970 ms and more.
        let p99 = nanoseconds(result.latency, at: 99)
        #expect((960_000_000...980_000_000).contains(p99), "\(p99)")
        #expect(nanoseconds(result.latency, at: 50) < 3_000_000)
        // The curve has a third of all requests late by more than a round trip.
        let late = result.latency?.curve.first { $0.nanoseconds > 5_000_000 }?.percentile ?? 0
        #expect((60...70).contains(late), "\(late)")
        // Ten connections were each held up once; what waited behind them was sent late, not served late.
        #expect(nanoseconds(result.serviceTime, at: 99) < 5_000_000)
        #expect(nanoseconds(result.serviceTime, at: 99.99) > 900_000_000)
    }

    @Test func `requests are sent at their instants, whatever came of those before`() throws {
        let fixture = try LoadFixture(latency: .milliseconds(5))
        var plan = fixture.plan
        plan.rate = 300
        plan.warmUp = 0
        plan.duration = 2
        let result = try fixture.run(plan)
        let arrivals = fixture.server.arrivals
        #expect(arrivals.count == 600)
        for (index, arrival) in arrivals.enumerated() {
            let due = Double(index) * 1e9 / 300
            let came = Double((arrival - arrivals[0]).count)
            #expect(abs(came - due) < 2, "request \(index) came \(came - due) ns off")
        }
        #expect(result.lateness?.max == 0)
    }

    @Test func `what finds no connection free waits, and its latency with it`() throws {
        let fixture = try LoadFixture(latency: .milliseconds(10))
        var plan = fixture.plan
        plan.connections = 1
        plan.rate = 100
        plan.warmUp = 0
        plan.duration = 1
        let result = try fixture.run(plan)
        // One connection carries 50 a second: the 100th request waits about as long again as the window.
        #expect(result.requests == 100)
        let last = result.latency?.max ?? 0
        #expect((980_000_000...1_050_000_000).contains(last), "\(last)")
        #expect((result.serviceTime?.max ?? 0) < 22_000_000)
    }

    @Test func `what is still unanswered when the last answers were waited for is an error`() throws
    {
        let fixture = try LoadFixture()
        var plan = fixture.plan
        plan.rate = 100
        let begin = fixture.simulation.clock.now + .seconds(2)
        fixture.server.stall = begin..<(begin + .seconds(60))
        let result = try fixture.run(plan)
        #expect((95...105).contains(result.requests))
        #expect(result.requests + (result.errors["unanswered at the end"] ?? 0) == 300)
    }

    // MARK: Closed loop

    @Test func `a closed loop hides a stall: only what was under way is late`() throws {
        let fixture = try LoadFixture(latency: .milliseconds(4))
        let plan = fixture.plan
        let begin = fixture.simulation.clock.now + .seconds(2)
        fixture.server.stall = begin..<(begin + .seconds(1))
        let result = try fixture.run(plan)
        #expect(nanoseconds(result.latency, at: 99) < 10_000_000)
        #expect((result.latency?.max ?? 0) > 990_000_000)
        #expect(result.lateness == nil)
    }

    @Test func `a number of requests is sent exactly, and each is counted`() throws {
        let fixture = try LoadFixture()
        var plan = fixture.plan
        plan.requests = 1234
        let result = try fixture.run(plan)
        #expect(result.requests == 1234)
        #expect(fixture.server.arrivals.count == 1234)
        #expect(result.latency?.count == 1234)
    }

    // MARK: Errors

    @Test func `an answer that is no success is an error, and is no latency`() throws {
        let fixture = try LoadFixture()
        fixture.server.answer = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
        var plan = fixture.plan
        plan.requests = 20
        let generator = try fixture.start(plan)
        fixture.simulation.run(until: { generator.phase == .done })
        #expect(generator.result.requests == 0)
        #expect(generator.result.errors == ["status 503": 20])
        #expect(generator.failure?.description.contains("no answer: status 503 (20 times)") == true)
    }

    @Test func `a body that ends too early is an error`() throws {
        let fixture = try LoadFixture()
        fixture.server.answer = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok"
        fixture.server.closesAfterAnswer = true
        var plan = fixture.plan
        plan.requests = 10
        let result = try fixture.run(plan)
        #expect(result.errors == ["answer: http1.incomplete_body": 10])
    }

    @Test func `a server that closes after each answer is connected to again`() throws {
        let fixture = try LoadFixture()
        fixture.server.answer =
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"
        fixture.server.closesAfterAnswer = true
        var plan = fixture.plan
        plan.requests = 100
        let result = try fixture.run(plan)
        #expect(result.requests == 100)
        #expect(result.errors.isEmpty)
        #expect(result.connectionsOpened >= 100)
    }

    @Test func `where nobody listens the run ends soon, and says why`() throws {
        let fixture = try LoadFixture()
        fixture.server.stopListening()
        let generator = try fixture.start(fixture.plan)
        #expect(fixture.simulation.run(until: { generator.phase == .done }, limit: .seconds(5)))
        #expect(generator.failure?.description.contains("connect: Connection refused") == true)
    }

    // MARK: The end

    @Test func `an interrupted run tells what it saw until then`() throws {
        let fixture = try LoadFixture()
        var plan = fixture.plan
        plan.rate = 100
        let generator = try fixture.start(plan)
        fixture.simulation.run(for: .milliseconds(2010))
        generator.interrupt()
        let result = generator.result
        #expect(result.isPartial)
        #expect((0.9...1.1).contains(result.seconds))
        #expect((95...105).contains(result.requests))
        #expect(result.errors.isEmpty)
    }

    @Test func `each connection of connect-http1 carries one request`() throws {
        let fixture = try LoadFixture()
        var plan = fixture.plan
        plan.traffic = .connectHTTP1
        plan.requests = 200
        let result = try fixture.run(plan)
        #expect(result.requests == 200)
        #expect(result.connectionsOpened == 200)
        #expect(result.errors.isEmpty)
        // The connection's way is part of the latency, beside the request's round trip.
        #expect((result.latency?.min ?? 0) > 2_900_000)
    }
}
