import MeshNet
import MeshRuntime
import Synchronization
import Testing

@testable import Ztunnel

/// What tasks of a test share.
private final class Run: Sendable {
    let isDone = Atomic(false)
    let lost = Mutex<UInt64>(0)
}

struct TrafficSeriesTests {
    private let mesh: Mesh

    init() throws { mesh = try Mesh.observed() }

    /// One of any number of different sources, that the file does not know.
    private func record(from source: String) throws -> ConnectionRecord {
        let record = try ConnectionRecord.inbound(mesh)
        record.sourceWorkload = nil
        record.claimedSource = ClaimedWorkload()
        record.claimedSource?.workloadName = source
        return record
    }

    /// One of any number of different sources, that the file knows.
    private static func sources(_ count: Int) throws -> [Workload] {
        let workloads = (0..<count).map {
            "- {name: p\($0), namespace: default, workloadName: w\($0), "
                + "workloadIps: [10.9.\($0 / 250).\($0 % 250)], protocol: HBONE, services: {}}\n"
        }
        return try Mesh("workloads:\n" + workloads.joined()).state.workloads
    }

    @Test func `what sources say of themselves fills a quarter of the room at most`() throws {
        let metrics = TrafficMetrics(seriesMax: 8)
        let observer = TrafficObserver(metrics: metrics)
        for source in 0..<10 { observer.opened(try record(from: "w\(source)")) }
        let opened = try Exposition(metrics)["istio_tcp_connections_opened_total"]
        #expect(opened.map { $0["source_workload"] } == ["w0", "w1", "unknown"])
        #expect(opened.map(\.value) == [1, 1, 8])
        // Who it is for is known, and who it is from by its certificate.
        #expect(opened.last?["destination_workload"] == "echo")
        #expect(opened.last?["source_principal"] == "spiffe://cluster.local/ns/default/sa/shell")
        let folded = try Exposition(metrics).sum("ztunnel_lite_unlabelled_connections_total")
        #expect(folded == 8)
    }

    @Test func `a source that says very much of itself is cut short`() throws {
        let metrics = TrafficMetrics()
        let observer = TrafficObserver(metrics: metrics)
        observer.opened(try record(from: String(repeating: "é", count: 30_000)))
        let opened = try Exposition(metrics)["istio_tcp_connections_opened_total"]
        let name = try #require(opened.first?["source_workload"])
        #expect(name.utf8.count <= ClaimedWorkload.valueBytesMax + 2)
    }

    @Test func `beyond the limit connections count as of unknown peers, and that is told`() throws {
        let metrics = TrafficMetrics(seriesMax: 3)
        let observer = TrafficObserver(metrics: metrics)
        let sources = try Self.sources(10)
        for source in sources + [sources[0]] {
            let record = try ConnectionRecord.inbound(mesh)
            record.sourceWorkload = source
            observer.opened(record)
            observer.carried(record, sent: 10, received: 1)
            observer.finished(record)
        }
        let scrape = try Exposition(metrics)
        let opened = scrape["istio_tcp_connections_opened_total"]
        #expect(opened.map { $0["source_workload"] } == ["w0", "w1", "w2", "unknown"])
        #expect(opened.map(\.value) == [2, 1, 1, 7])
        #expect(opened.last?["destination_workload"] == "unknown")
        #expect(opened.last?["reporter"] == "destination")
        #expect(opened.last?["connection_security_policy"] == "mutual_tls")
        #expect(scrape.sum("istio_tcp_sent_bytes_total") == 110)
        #expect(scrape.sum("ztunnel_lite_unlabelled_connections_total") == 7)
    }

    @Test func `workers of one series are summed, and a new file changes nothing`() throws {
        let metrics = TrafficMetrics()
        let observers = (0..<3).map { _ in TrafficObserver(metrics: metrics) }
        for mesh in [mesh, try Mesh.observed()] {
            for observer in observers {
                observer.opened(try .outbound(mesh))
                observer.peersChanged()
            }
        }
        let opened = try Exposition(metrics)["istio_tcp_connections_opened_total"]
        #expect(opened.map(\.value) == [6])
    }

    @Test func `sums are exact whatever workers do at once`() async throws {
        let metrics = TrafficMetrics(seriesMax: 40)
        let server = try mesh.byUID("server")
        let sources = try Self.sources(60)
        let run = Run()
        try await withThrowingTaskGroup(of: Void.self) { group in
            // A scraper that lets go of whatever it may, as if hours passed between its visits.
            group.addTask {
                var now = Instant(nanoseconds: 0)
                while !run.isDone.load(ordering: .relaxed) {
                    now = now + TrafficMetrics.idleMin
                    _ = metrics.text(TrafficMetrics.Process(version: ""))
                    metrics.sweep(now: now) { _, _ in true }
                    await Task.yield()
                }
            }
            try await withThrowingTaskGroup(of: Void.self) { workers in
                for worker in 0..<4 {
                    workers.addTask {
                        let observer = TrafficObserver(metrics: metrics)
                        for count in 0..<2000 {
                            let record = ConnectionRecord(
                                direction: .inbound,
                                source: ConnectionRecord.client,
                                destination: ConnectionRecord.server,
                                start: Instant(nanoseconds: 0)
                            )
                            record.destinationWorkload = server
                            record.sourceWorkload = sources[(count + worker) % 60]
                            observer.opened(record)
                            observer.carried(record, sent: 3, received: 2)
                            observer.finished(record)
                            if count % 100 == 0 { observer.peersChanged() }
                        }
                    }
                }
                try await workers.waitForAll()
            }
            run.isDone.store(true, ordering: .relaxed)
            try await group.waitForAll()
        }
        let scrape = try Exposition(metrics)
        #expect(scrape.sum("istio_tcp_connections_opened_total") == 8000)
        #expect(scrape.sum("istio_tcp_connections_closed_total") == 8000)
        #expect(scrape.sum("istio_tcp_sent_bytes_total") == 24_000)
        #expect(scrape.sum("istio_tcp_received_bytes_total") == 16_000)
        #expect(scrape["istio_tcp_connections_opened_total"].count == 41)
    }

    @Test func `no connection is lost where series come and go`() async throws {
        let metrics = TrafficMetrics()
        let run = Run()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                // Everything is idle for long and everybody is gone: what can leave, leaves.
                var now = Instant(nanoseconds: 0)
                while !run.isDone.load(ordering: .relaxed) {
                    now = now + TrafficMetrics.idleMin
                    let left = metrics.sweep(now: now) { _, _ in false }
                    run.lost.withLock { $0 += left.reduce(0) { $0 + $1.opened } }
                    await Task.yield()
                }
            }
            let observer = TrafficObserver(metrics: metrics)
            for count in 0..<5000 {
                let record = ConnectionRecord(
                    direction: .outbound,
                    source: ConnectionRecord.client,
                    destination: ConnectionRecord.server,
                    start: Instant(nanoseconds: 0)
                )
                record.claimedSource = ClaimedWorkload()
                record.claimedSource?.workloadName = "w\(count % 3)"
                observer.opened(record)
                observer.finished(record)
                if count % 50 == 0 { await Task.yield() }
            }
            run.isDone.store(true, ordering: .relaxed)
            try await group.waitForAll()
        }
        let shown = try Exposition(metrics).sum("istio_tcp_connections_opened_total")
        #expect(shown + run.lost.withLock { $0 } == 5000)
    }

    @Test func `a series leaves some time after its workload, and never while it is used`() throws {
        let metrics = TrafficMetrics()
        let observer = TrafficObserver(metrics: metrics)
        let ended = try record(from: "ended")
        let open = try record(from: "open")
        let known = try record(from: "known")
        for record in [ended, open, known] { observer.opened(record) }
        observer.finished(ended)
        observer.finished(known)
        func sweep(minutes: Int64) throws -> [String?] {
            metrics.sweep(now: Instant(nanoseconds: 0) + .seconds(60 * minutes)) { _, workload in
                ["known", "echo"].contains(workload)
            }
            return try Exposition(metrics)["istio_tcp_connections_opened_total"]
                .map { $0["source_workload"] }
        }
        #expect(try sweep(minutes: 1) == ["ended", "open", "known"])
        #expect(try sweep(minutes: 15) == ["ended", "open", "known"])
        #expect(try sweep(minutes: 16) == ["open", "known"])
        // It comes back with nothing of the past.
        observer.opened(try record(from: "ended"))
        observer.finished(open)
        #expect(try sweep(minutes: 17) == ["open", "known", "ended"])
        #expect(try sweep(minutes: 40) == ["known", "ended"])
        let opened = try Exposition(metrics)["istio_tcp_connections_opened_total"]
        #expect(opened.map(\.value) == [1, 1])
    }
}
