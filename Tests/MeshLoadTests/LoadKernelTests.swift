import Glibc
import MeshLoad
import MeshNet
import Testing

/// Both ends of a run on one loop, on sockets of the kernel.
@Suite struct LoadKernelTests {
    private let loop: EventLoop
    private let upstream: Upstream
    private let files: LoadFiles

    init() throws {
        files = try LoadFiles()
        loop = EventLoop(system: try LinuxSystem())
        upstream = try Upstream(loop: loop, responseBytes: 100, tls: files.server)
    }

    private func run(_ plan: LoadPlan) throws -> LoadResult {
        let meter = ProcUsageMeter(plan.watched)
        let generator = try LoadGenerator(plan: plan, loop: loop, meter: meter)
        generator.ended = { [loop] in loop.stop() }
        generator.start()
        loop.run()
        return generator.result
    }

    private func plan(_ traffic: LoadPlan.Traffic, to target: String?) throws -> LoadPlan {
        var plan = LoadPlan(target: try #require(target), traffic: traffic)
        plan.connections = 2
        return plan
    }

    @Test(arguments: [LoadPlan.Traffic.tcpDownload, .tcpUpload])
    func `bulk counts the kibibytes of its direction`(_ traffic: LoadPlan.Traffic) throws {
        var plan = try plan(traffic, to: upstream.addresses.tcp)
        plan.warmUp = 0.01
        plan.duration = 0.1
        let result = try run(plan)
        let bytes = traffic == .tcpDownload ? result.bytesReceived : result.bytesSent
        #expect(result.requests == bytes / 1024)
        #expect(result.requests > 100)
        #expect(result.latency == nil)
        #expect(result.errors.isEmpty)
    }

    @Test(arguments: [LoadPlan.Traffic.http1, .http2, .grpcUnary, .tcpEcho])
    func `requests travel in TLS with a client certificate`(_ traffic: LoadPlan.Traffic) throws {
        let isRaw = traffic == .tcpEcho
        let target = isRaw ? upstream.addresses.tcpTLS : upstream.addresses.httpTLS
        var plan = try plan(traffic, to: target)
        plan.tls = files.client
        plan.requests = 20
        let result = try run(plan)
        #expect(result.requests == 20)
        #expect(result.errors.isEmpty, "\(result.errors)")
        #expect(result.sessionsResumed == 0)
    }

    @Test(arguments: [true, false])
    func `handshakes are resumed where the plan wants that, and only there`(
        _ resumes: Bool
    ) throws {
        var plan = try plan(.connectHTTP1, to: upstream.addresses.httpTLS)
        plan.tls = files.client
        plan.tls?.resumes = resumes
        plan.requests = 20
        let result = try run(plan)
        #expect(result.requests == 20)
        // The first of each of the two at once had nothing to resume.
        #expect(result.sessionsResumed == (resumes ? 18 : 0))
    }

    @Test func `what a watched process used in the window is told`() throws {
        var plan = try plan(.http1, to: upstream.addresses.http)
        plan.warmUp = 0.01
        plan.duration = 0.05
        plan.watched = [WatchedProcess(name: "both ends", pid: getpid())]
        let result = try run(plan)
        let usage = try #require(result.processes.first)
        #expect(usage.name == "both ends" && usage.pid == getpid())
        #expect(usage.cpuNanoseconds > 0)
        #expect(usage.residentKiB > 1000)
        #expect((usage.proportionalKiB ?? 1) <= usage.residentKiB)
        #expect(result.cpus.map(\.cpu) == Array(0..<result.cpus.count))
        #expect(result.cpus.contains { $0.busy > 0 })
    }

    @Test func `a server with another name than the plan's is no answer`() throws {
        var plan = try plan(.http1, to: upstream.addresses.httpTLS)
        plan.tls = files.client
        plan.tls?.serverName = "other.test"
        plan.requests = 1
        let result = try run(plan)
        #expect(result.requests == 0)
        #expect(result.errors.keys.contains { $0.hasPrefix("tls: ") }, "\(result.errors)")
    }
}
