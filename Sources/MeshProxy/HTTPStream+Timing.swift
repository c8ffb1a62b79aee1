import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// A request's time, for those who asked: see ``RequestTiming``. Where nobody does, the loop's time is
/// everybody's.
extension HTTPStream {
    /// The time, read from the clock where one of these points is wanted.
    func time(at points: TimePoints) -> Instant {
        info.timing?.use { $0.time(at: points) } ?? loop.now
    }

    /// The time as it was last read.
    var latestTime: Instant { info.timing?.use { $0.time() } ?? loop.now }

    func beginTiming() {
        guard let timing = settings.timing(from: timedStart) else { return }
        info.measure(timing)
        info.start = timedStart
    }

    /// A first request may come with the handshake's last bytes: its time begins when they are worked off.
    private var timedStart: Instant {
        max(info.start, info.connection.handshakeEnd ?? info.start)
    }

    /// The head is there. The header that asks for times goes no further, whoever sent it, as
    /// `x-mesh-explain` does not.
    func headParsed(_ head: HeaderMap) {
        if head.remove(.meshTiming),
            worker.plan.bootstrap.explain.trusts(info.connection.directRemoteAddress)
        {
            info.measure(
                RequestTiming(start: timedStart, points: [], histograms: nil, loop: loop)
            )
            info.timing?.use { $0.show() }
        }
        info.timing?.use { $0.headParsed() }
    }

    /// Tells the client what is known by now, in milliseconds (W3C Server Timing): behind what the upstream
    /// says for itself.
    func showTiming(in head: HeaderMap) {
        guard let timing = info.timing?.counted, timing.isShown else { return }
        var value = ByteBuffer()
        for phase in TimingPhase.allCases where phase < .receive {
            guard let took = timing[phase] else { continue }
            Self.append(phase.name, took, to: &value)
            if phase == .poolWait, let connect = timing.connect {
                Self.append("connect", connect, to: &value)
            }
        }
        head.append(.serverTiming, value.bytes)
    }

    private static func append(
        _ name: StaticString,
        _ took: Nanoseconds,
        to value: inout ByteBuffer
    ) {
        if !value.isEmpty { value.append(", " as StaticString) }
        value.append(name)
        value.append(";dur=" as StaticString)
        value.append(decimal: Int(took.count / 1_000_000))
        value.append(byte: UInt8(ascii: "."))
        // Six digits: nothing is lost.
        var digit: Int64 = 100_000
        while digit > 0 {
            value.append(byte: UInt8(ascii: "0") + UInt8(took.count / digit % 10))
            digit /= 10
        }
    }

    /// The response's head has opened a tunnel: its time is nobody's work.
    func tunnelBegan() {
        guard let timing = info.timing?.counted else { return }
        timing.tunnelBegan()
        manager.responseWritten(timing)
    }

    /// A complete response counts when the kernel has it, others as they are.
    func endTiming() {
        guard let timing = info.timing?.counted else { return }
        if isResponseComplete {
            manager.responseWritten(timing)
        } else {
            timing.end(at: timing.time(at: .phases))
        }
    }
}
