import MeshNet
import MeshSimulation
import Testing

struct EventLoopTests {
    private final class Counter: TimerTarget, DeferredWork {
        let loop: EventLoop
        var ticks = 0
        var work = 0
        init(_ loop: EventLoop) { self.loop = loop }

        func timerFired(_ kind: UInt8) {
            ticks += 1
            if ticks < 10 { _ = loop.arm(self, after: .seconds(15)) }
        }

        func runDeferred() {
            work += 1
            if work < 5 { loop.deferWork(self) }
        }
    }

    @Test func `a timer that rearms itself keeps its pace in virtual time`() {
        let simulation = Simulation(seed: 1)
        let loop = simulation.makeLoop()
        let counter = Counter(loop)
        let start = simulation.clock.now
        _ = loop.arm(counter, after: .seconds(15))
        simulation.run()
        #expect(counter.ticks == 10)
        let passed = simulation.clock.now - start
        #expect(passed >= .seconds(150) && passed < .milliseconds(150_050))
    }

    @Test func `deferred work runs once per iteration and may defer more`() {
        let simulation = Simulation(seed: 1)
        let loop = simulation.makeLoop()
        let counter = Counter(loop)
        loop.deferWork(counter)
        loop.runOnce()
        #expect(counter.work == 1)
        simulation.run()
        #expect(counter.work == 5)
    }

    @Test func `a letter wakes the loop and runs on it`() {
        let simulation = Simulation(seed: 1)
        let loop = simulation.makeLoop()
        let counter = Counter(loop)
        loop.owner = counter
        loop.mailbox.post { loop in (loop.owner as? Counter)?.ticks = 42 }
        simulation.run()
        #expect(counter.ticks == 42)
    }

    @Test func `within one batch, connections that ended are heard of first`() throws {
        final class Ear: ReadinessHandler {
            let name: String
            let tell: (String) -> Void
            init(_ name: String, _ tell: @escaping (String) -> Void) {
                self.name = name
                self.tell = tell
            }
            func becameReady(_ readiness: Readiness) { tell(name) }
        }
        let simulation = Simulation(seed: 1)
        let server = try ScriptedServer(
            in: simulation,
            port: 80,
            scripts: [[.wait(.seconds(1)), .send("x")], [.wait(.seconds(2)), .close]]
        )
        // Not driven by the simulation: both events wait for the one poll below.
        let loop = EventLoop(system: simulation.makeSystem())
        var heard: [String] = []
        for name in ["bytes", "end"] {
            let socket = try loop.system.connect(to: server.address, options: SocketOptions())
            _ = try loop.register(Ear(name) { heard.append($0) }, for: socket)
            simulation.run(for: .milliseconds(1))
        }
        loop.runOnce()
        #expect(heard == ["bytes", "end"])
        heard = []
        simulation.run(for: .seconds(3))
        loop.runOnce()
        #expect(heard == ["end", "bytes"])
    }
}
