import MeshConfig
import MeshNet
import MeshRuntime
import MeshSimulation
import Testing

@testable import Ztunnel

struct TrafficLogTests {
    private let simulation = Simulation(seed: 1)
    private let disk = MemoryLog()
    private let mesh: Mesh

    init() throws { mesh = try Mesh.observed() }

    /// The lines of what happens 13 ms after the beginning, without their times.
    private func lines(
        json: Bool = false,
        filter: String = "info",
        _ body: (TrafficObserver, Instant) throws -> Void
    ) throws -> [String] {
        let registry = StatsRegistry(workers: 1)
        let writer = LogWriter(disk, registry, flushInterval: .milliseconds(100))
        let loop = simulation.makeLoop()
        let settings = LogSettings(isJSON: json, filter: try LogFilter(filter), log: Log())
        let log = TrafficLog(
            settings,
            writer: writer,
            loop: loop,
            stats: WorkerStats(registry, index: 0)
        )
        let start = loop.now
        simulation.clock.advance(to: start + .microseconds(13_900))
        loop.runOnce()
        try body(TrafficObserver(metrics: TrafficMetrics(), log: log), start)
        log.flush()
        writer.drain()
        return disk.lines.map { line in
            let time = line.firstRange(of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z/)
            guard let time else { return "no time: \(line)" }
            return line.replacing(time, "TIME")
        }
    }

    @Test func `an outbound connection is logged as ztunnel's is`() throws {
        let lines = try lines { observer, start in
            let record = try ConnectionRecord.outbound(mesh, at: start)
            observer.opened(record)
            observer.carried(record, sent: 490, received: 67)
            observer.finished(record)
        }
        #expect(
            lines == [
                "TIME\tinfo\taccess\tconnection complete\t"
                    + "src.addr=10.244.0.24:46238 src.workload=\"shell-5b7cf9f6c4-npqgz\" "
                    + "src.namespace=\"default\" "
                    + "src.identity=\"spiffe://cluster.local/ns/default/sa/shell\" "
                    + "dst.addr=10.244.0.42:15008 dst.hbone_addr=10.96.108.116:80 "
                    + "dst.service=\"echo.shop.svc.cluster.local\" dst.workload=\"echo-1\" "
                    + "dst.namespace=\"shop\" "
                    + "dst.identity=\"spiffe://cluster.local/ns/shop/sa/echo\" "
                    + "direction=\"outbound\" bytes_sent=67 bytes_recv=490 duration=\"13ms\""
            ]
        )
    }

    @Test func `the server's side sees its own sent and received`() throws {
        let lines = try lines { observer, start in
            let record = try ConnectionRecord.inbound(mesh, at: start)
            observer.opened(record)
            observer.carried(record, sent: 490, received: 67)
            observer.finished(record)
        }
        #expect(
            lines.first?.hasSuffix(
                "direction=\"inbound\" bytes_sent=490 bytes_recv=67 duration=\"13ms\""
            ) == true
        )
        let identity = "dst.identity=\"spiffe://cluster.local/ns/shop/sa/echo\""
        #expect(lines.first?.contains(identity) == true)
    }

    @Test func `JSON has the same keys in the same order`() throws {
        let lines = try lines(json: true) { observer, start in
            let record = try ConnectionRecord.outbound(mesh, at: start)
            observer.opened(record)
            observer.carried(record, sent: 490, received: 67)
            record.error = "connection closed due to policy change"
            record.flags = .authorizationPolicyDenied
            observer.finished(record)
        }
        #expect(
            lines == [
                #"{"level":"error","time":"TIME","scope":"access","message":"connection complete","#
                    + #""src.addr":"10.244.0.24:46238","src.workload":"shell-5b7cf9f6c4-npqgz","#
                    + #""src.namespace":"default","#
                    + #""src.identity":"spiffe://cluster.local/ns/default/sa/shell","#
                    + #""dst.addr":"10.244.0.42:15008","dst.hbone_addr":"10.96.108.116:80","#
                    + #""dst.service":"echo.shop.svc.cluster.local","dst.workload":"echo-1","#
                    + #""dst.namespace":"shop","#
                    + #""dst.identity":"spiffe://cluster.local/ns/shop/sa/echo","#
                    + #""direction":"outbound","bytes_sent":67,"bytes_recv":490,"#
                    + #""duration":"13ms","error":"connection closed due to policy change"}"#
            ]
        )
    }

    @Test func `identities are told with mTLS only, unknown peers not at all`() throws {
        let lines = try lines { observer, start in
            let plain = try ConnectionRecord.outbound(mesh, at: start)
            plain.isMutualTLS = false
            plain.hboneAddress = nil
            plain.service = nil
            plain.destinationWorkload = nil
            observer.opened(plain)
            observer.finished(plain)
        }
        #expect(
            lines == [
                "TIME\tinfo\taccess\tconnection complete\t"
                    + "src.addr=10.244.0.24:46238 src.workload=\"shell-5b7cf9f6c4-npqgz\" "
                    + "src.namespace=\"default\" dst.addr=10.244.0.42:15008 "
                    + "direction=\"outbound\" bytes_sent=0 bytes_recv=0 duration=\"13ms\""
            ]
        )
    }

    @Test func `an error is a line of level error with the reason at its end`() throws {
        let lines = try lines { observer, start in
            let record = try ConnectionRecord.outbound(mesh, at: start)
            observer.opened(record)
            record.flags = .authorizationPolicyDenied
            record.error = "http status: 401 Unauthorized"
            observer.finished(record)
        }
        #expect(lines.first?.hasPrefix("TIME\terror\taccess\tconnection complete\t") == true)
        #expect(
            lines.first?.hasSuffix(" duration=\"13ms\" error=\"http status: 401 Unauthorized\"")
                == true
        )
    }

    @Test func `who is refused early is warned of`() throws {
        let lines = try lines { observer, _ in
            observer.refusedEarly(
                source: ConnectionRecord.client,
                destination: ConnectionRecord.server,
                direction: .inbound,
                error: "unknown destination \"x\"\n"
            )
        }
        #expect(
            lines == [
                "TIME\twarn\taccess\tconnection failed\tsrc.addr=10.244.0.24:46238 "
                    + "dst.addr=10.244.0.42:15008 direction=\"inbound\" "
                    + #"error="unknown destination \"x\"\n""#
            ]
        )
    }

    @Test func `nothing that a peer sends forges a line`() throws {
        let hostile = "x\" error=\"y\n2024-04-11T15:38:42.182974Z\tinfo\taccess\tforged"
        let lines = try lines { observer, start in
            let record = try ConnectionRecord.inbound(mesh, at: start)
            record.sourceWorkload = nil
            record.claimedSource = ClaimedWorkload()
            record.claimedSource?.app = hostile
            record.claimedSource?.namespace = hostile
            record.hboneAddress = hostile
            record.error = hostile
            observer.opened(record)
            observer.finished(record)
        }
        #expect(lines.count == 1)
        #expect(lines.first?.contains("\\n2024") == true)
        #expect(lines.first?.split(separator: "\t").count == 5)
    }

    @Test(arguments: [
        ("debug", 3), ("info", 2), ("info,access=debug", 3), ("warn", 1), ("error", 0),
        ("trace,access=off", 0), ("access=warn", 1),
    ])
    func `the level decides which lines there are`(_ filter: String, _ count: Int) throws {
        let lines = try lines(filter: filter) { observer, start in
            let record = try ConnectionRecord.outbound(mesh, at: start)
            observer.opened(record)
            observer.finished(record)
            observer.refusedEarly(
                source: ConnectionRecord.client,
                destination: ConnectionRecord.server,
                direction: .outbound,
                error: "no"
            )
        }
        #expect(lines.count == count)
        if count == 3 {
            #expect(lines[0].hasPrefix("TIME\tdebug\taccess\tconnection opened\tsrc.addr="))
            #expect(lines[0].hasSuffix(" direction=\"outbound\""))
        }
    }
}

extension String {
    fileprivate func replacing(_ range: Range<Index>, _ text: String) -> String {
        self[..<range.lowerBound] + text + self[range.upperBound...]
    }
}

struct LogFilterTests {
    @Test(arguments: [
        ("info", "info"), ("debug,access=off", "access=off,debug"), ("", "info"),
        ("WARN", "warn"), ("admin:trace", "admin=trace,info"),
        ("ztunnel::admin=error,info", "admin=error,info"), ("debug,info", "info"),
    ])
    func `directives are RUST_LOG's`(_ text: String, _ meaning: String) throws {
        #expect(try LogFilter(text).description == meaning)
        #expect(try LogFilter(text).unknownScopes.isEmpty)
    }

    @Test(arguments: ["loud", "access=loud", "ztunnel::proxy", "access="])
    func `a level that there is not is refused`(_ text: String) {
        #expect(throws: LogFilter.Problem.self) { try LogFilter(text) }
    }

    @Test func `scopes of ztunnel without lines here are told apart`() throws {
        #expect(try LogFilter("ztunnel::proxy=debug,hyper=off").unknownScopes.count == 2)
    }

    @Test func `a change adds to what is in force, a reset forgets it`() throws {
        let log = Log(output: { _ in })
        let settings = LogSettings(isJSON: false, filter: try LogFilter("warn"), log: log)
        log.redirect(to: .istio) { _ in }
        settings.change(try LogFilter("access=debug"), resets: false)
        #expect(settings.filterText == "access=debug,warn")
        #expect(settings.isAccessEnabled(.debug))
        #expect(log.level(of: .admin) == .warning)
        settings.change(try LogFilter("secret=trace,error"), resets: true)
        #expect(settings.filterText == "secret=trace,error")
        #expect(!settings.isAccessEnabled(.warning))
        #expect(log.level(of: .secret) == .trace)
        settings.change(LogFilter(), resets: true)
        #expect(settings.filterText == "warn")
    }

    @Test func `the process's lines share the way and the form of the workers'`() throws {
        let disk = MemoryLog()
        let writer = LogWriter(disk, StatsRegistry(workers: 1))
        let log = Log()
        let settings = LogSettings(isJSON: false, log: log)
        settings.begin(writer)
        log.info(.main, "started")
        log.debug(.main, "not wanted")
        writer.drain()
        #expect(disk.lines.count == 1)
        #expect(disk.lines.first?.hasSuffix("Z\tinfo\tmain\tstarted") == true)
        settings.end()
        #expect(settings.droppedLines == 0)
    }
}
