import Glibc
import MeshNet

/// Who takes part in a simulation besides event loops.
package protocol SimulationActor: AnyObject {
    /// Whether a step would do something now.
    var isRunnable: Bool { get }
    /// When it next has something to do by itself.
    var nextDeadline: Instant? { get }
    func step()
}

/// Several hosts in one thread and in virtual time, stepped in an order drawn from one seed.
///
/// The same seed gives the same schedule and the same faults. Set `MESH_SIM_SEED` to replay one.
package final class Simulation {
    package let seed: UInt64
    package let clock = VirtualClock()
    package let network: SimulatedNetwork

    private var generator: SeededGenerator
    private var hosts: [Host] = []
    private var actors: [any SimulationActor] = []
    private var kept: [AnyObject] = []
    private var steps = 0

    /// More steps than any sane test takes: a loop that never rests ends here.
    private static let stepsMax = 5_000_000

    private struct Host {
        let loop: EventLoop
        let system: SimulatedSystem
    }

    package init(seed: UInt64) {
        self.seed = seed
        generator = SeededGenerator(seed: seed)
        network = SimulatedNetwork(clock: clock, seed: seed ^ 0xA5A5_A5A5_A5A5_A5A5)
    }

    /// The seeds a test runs with: the one to be replayed, or 1 to `count`.
    package static func seeds(_ count: Int) -> [UInt64] {
        if let text = getenv("MESH_SIM_SEED"), let seed = UInt64(String(cString: text)) {
            return [seed]
        }
        return (1...count).map(UInt64.init)
    }

    /// How to repeat this run; for the comment of an expectation.
    package var replay: String { "replay with MESH_SIM_SEED=\(seed)" }

    // MARK: Hosts

    /// A host with an address of its own, 10.0.0.n.
    package func makeSystem() -> SimulatedSystem {
        let number = UInt32(hosts.count + actors.count + 1)
        return SimulatedSystem(
            network: network,
            address: IPAddress(ipv4: 0x0A00_0000 + number),
            seed: generator.next()
        )
    }

    /// A host that runs an event loop.
    package func makeLoop() -> EventLoop {
        let system = makeSystem()
        let loop = EventLoop(system: system)
        hosts.append(Host(loop: loop, system: system))
        return loop
    }

    package func add(_ actor: any SimulationActor) { actors.append(actor) }

    /// Keeps an object alive as long as the simulation: its loop holds it only weakly.
    package func keep(_ object: AnyObject) { kept.append(object) }

    // MARK: Running

    /// Runs until the condition holds. False where nothing is left to happen, or `limit` of virtual
    /// time has passed, before it does.
    @discardableResult
    package func run(
        until condition: () -> Bool = { false },
        limit: Nanoseconds = .seconds(600)
    ) -> Bool {
        let end = clock.now + limit
        while !condition() {
            steps += 1
            precondition(steps < Self.stepsMax, "simulation never rests; \(replay)")
            if stepRunnable() { continue }
            guard let next = nextMoment(), next <= end else {
                clock.advance(to: nextMoment() == nil ? clock.now : end)
                return condition()
            }
            clock.advance(to: next)
        }
        return true
    }

    /// Lets so much virtual time pass.
    package func run(for duration: Nanoseconds) { run(limit: duration) }

    private func stepRunnable() -> Bool {
        // The wire is one candidate among the hosts: what arrives first is a matter of chance.
        let now = clock.now
        let networkDue = network.nextEvent.map { $0 <= now } ?? false
        let readyHosts = hosts.indices.filter { isRunnable(hosts[$0]) }
        let readyActors = actors.indices.filter { isRunnable(actors[$0]) }
        let count = readyHosts.count + readyActors.count + (networkDue ? 1 : 0)
        guard count > 0 else { return false }
        let choice = Int.random(in: 0..<count, using: &generator)
        if choice < readyHosts.count {
            hosts[readyHosts[choice]].loop.runOnce()
        } else if choice < readyHosts.count + readyActors.count {
            actors[readyActors[choice - readyHosts.count]].step()
        } else {
            _ = network.step()
        }
        return true
    }

    private func isRunnable(_ host: Host) -> Bool {
        host.system.isReady || host.loop.hasWork
            || (host.loop.nextDeadline.map { $0 <= clock.now } ?? false)
    }

    private func isRunnable(_ actor: any SimulationActor) -> Bool {
        actor.isRunnable || (actor.nextDeadline.map { $0 <= clock.now } ?? false)
    }

    private func nextMoment() -> Instant? {
        var next = network.nextEvent
        for deadline in hosts.map({ $0.loop.nextDeadline }) + actors.map({ $0.nextDeadline }) {
            guard let deadline else { continue }
            next = next.map { min($0, deadline) } ?? deadline
        }
        return next
    }
}
