import MeshNet
import MeshSimulation
import Testing

private final class Recorder: TimerTarget {
    var fired: [UInt8] = []
    func timerFired(_ kind: UInt8) { fired.append(kind) }
}

struct TimerWheelTests {
    private static let start = Instant(nanoseconds: 5_000_000_000)
    private static let tick = Nanoseconds(1 << 20)

    @Test(arguments: [
        1, 999_999, 1_000_000, 64 << 20, 65 << 20, 4096 << 20, 3_600_000_000_000, 1 << 55,
    ])
    func `a timer fires at its deadline and not before`(delay: Int64) {
        let wheel = TimerWheel(now: Self.start)
        let recorder = Recorder()
        let deadline = Self.start + Nanoseconds(delay)
        _ = wheel.arm(recorder, 7, at: deadline)
        wheel.advance(to: Instant(nanoseconds: deadline.nanoseconds - 1)) { $0.timerFired($1) }
        #expect(recorder.fired.isEmpty)
        wheel.advance(to: deadline + Self.tick) { $0.timerFired($1) }
        #expect(recorder.fired == [7])
        #expect(wheel.count == 0)
        #expect(wheel.nextDeadline == nil)
    }

    @Test func `a cancelled timer does not fire and its name cancels nobody else`() {
        let wheel = TimerWheel(now: Self.start)
        let recorder = Recorder()
        var first = wheel.arm(recorder, 1, at: Self.start + .milliseconds(5))
        var copy = first
        wheel.cancel(&first)
        _ = wheel.arm(recorder, 2, at: Self.start + .milliseconds(5))
        wheel.cancel(&copy)
        wheel.advance(to: Self.start + .seconds(1)) { $0.timerFired($1) }
        #expect(recorder.fired == [2])
    }

    @Test func `the wheel agrees with a sorted list over random histories`() {
        for seed in Simulation.seeds(30) {
            var generator = SeededGenerator(seed: seed)
            let wheel = TimerWheel(now: Self.start)
            let recorder = Recorder()
            var model: [(deadline: UInt64, id: TimerID)] = []
            var now = Self.start
            var expected = 0
            for _ in 0..<400 {
                switch Int.random(in: 0..<4, using: &generator) {
                case 0, 1:
                    let exponent = Int64.random(in: 0...45, using: &generator)
                    let delay = Nanoseconds(
                        Int64.random(in: 0...(1 << exponent), using: &generator)
                    )
                    let id = wheel.arm(recorder, 0, at: now + delay)
                    model.append(((now + delay).nanoseconds, id))
                case 2 where !model.isEmpty:
                    let at = Int.random(in: 0..<model.count, using: &generator)
                    var id = model.remove(at: at).id
                    wheel.cancel(&id)
                default:
                    let exponent = Int64.random(in: 0...45, using: &generator)
                    now =
                        now + Nanoseconds(Int64.random(in: 0...(1 << exponent), using: &generator))
                    let before = recorder.fired.count
                    wheel.advance(to: now) { $0.timerFired($1) }
                    // Never early; at most two ticks late (rounding up, and not in the current tick).
                    let surelyDue = model.filter { $0.deadline + (2 << 20) <= now.nanoseconds }
                        .count
                    let perhapsDue = model.filter { $0.deadline <= now.nanoseconds }.count
                    let fired = recorder.fired.count - before
                    #expect(fired >= surelyDue && fired <= perhapsDue, "seed \(seed)")
                    expected += fired
                    // The earliest `fired` deadlines are those that fired.
                    model.sort { $0.deadline < $1.deadline }
                    model.removeFirst(fired)
                    #expect(wheel.count == model.count, "seed \(seed)")
                }
                if let next = wheel.nextDeadline, let first = model.map(\.deadline).min() {
                    #expect(next.nanoseconds <= first + (2 << 20), "seed \(seed)")
                }
            }
            #expect(recorder.fired.count == expected)
        }
    }
}
