import Foundation
import MeshLoad

/// What one repetition of one contestant gave.
struct Repetition {
    var figures: [FigureKind: Double] = [:]
    var latency: LatencySummary?
    var loadCurve: [PeerResult.LoadPoint] = []
}

/// A repetition that does not count.
struct Noise: Error {
    var reason: String
}

/// Measures a contestant once: processes are started, loaded, and ended.
struct RepetitionMeasurement {
    let scenario: Scenario
    let contestant: Contestant
    let bench: Workbench

    private var options: RunOptions { bench.options }

    /// - Parameter hasCurve: with the load curve, if it is asked for at all.
    /// - Throws: ``Noise`` when the machine was busy with other things.
    func run(hasCurve: Bool) throws -> Repetition {
        let topology = try Topology(contestant, in: scenario, on: bench)
        defer { topology.stop() }
        var result = Repetition()
        if !contestant.peer.isDirect {
            result.figures[.startMilliseconds] = topology.hops.map(\.startSeconds).max().map {
                $0 * 1000
            }
            try bench.interruption.sleep(0.5)
            let start = ProcessMemory(of: topology.proxyPIDs)
            result.figures[.startResidentMiB] = Double(start.resident) / 1024
            result.figures[.startProportionalMiB] = Double(start.proportional) / 1024
        }
        if scenario.isStartOnly { return result }
        if case .large = contestant.variant.change { try awaitFirstAnswer(topology) }
        if let standing = scenario.standing {
            try stand(standing, topology, &result)
            return result
        }
        // What the fixed rate alone can tell is not measured at saturation as well.
        let saturated = try saturate(topology, &result)
        if let rate = options.rate ?? scenario.rate, scenario.rate != nil {
            try measureLatency(topology, rate: rate, &result)
        }
        if !contestant.peer.isDirect { try count(topology, &result) }
        if hasCurve, options.hasCurves, scenario.rate != nil {
            for share in [0.25, 0.5, 0.75, 0.9] {
                result.loadCurve.append(try point(topology, rate: saturated * share))
            }
        }
        return result
    }

    // MARK: Plans

    private func plan(_ topology: Topology, warmUp: Double, duration: Double) -> LoadPlan {
        var plan = LoadPlan(target: topology.door, traffic: scenario.traffic)
        plan.throughSOCKS5 = topology.throughSOCKS5
        plan.connections = scenario.connections
        plan.streamsPerConnection = scenario.streamsPerConnection
        plan.messageBytes = scenario.messageBytes
        plan.authority = scenario.authority
        plan.path = scenario.path
        plan.warmUp = warmUp
        plan.duration = duration
        if scenario.clientTLS != .none {
            let files = bench.certificates.folder
            var tls = LoadPlan.TLS(
                serverName: Certificates.serverName,
                authorityFile: files + "/ca.pem"
            )
            tls.certificateFile = files + "/client.pem"
            tls.keyFile = files + "/client.key"
            tls.resumes = scenario.clientTLS == .resumed
            plan.tls = tls
        }
        plan.watched = topology.hops.enumerated().map {
            WatchedProcess(name: "proxy-\($0)", pid: $1.process.pid)
        }
        plan.watched.append(WatchedProcess(name: "upstream", pid: topology.upstream.pid))
        return plan
    }

    private func load(
        _ plan: LoadPlan,
        spinning: Bool = false,
        meanwhile: () -> Void = {}
    ) throws -> LoadResult {
        let spinners = spinning ? try bench.spin() : []
        defer { for spinner in spinners { spinner.stop() } }
        var plan = plan
        plan.watched += spinners.map { WatchedProcess(name: "spinner", pid: $0.pid) }
        let result = try LoadChild(bench: bench).run(plan, meanwhile: meanwhile)
        guard result.requests > 0, result.seconds > 0 else {
            throw BenchError(
                "nothing was answered: \(result.connectionsOpened) of \(plan.connections) connections opened"
            )
        }
        if let reason = options.noise.objection(to: result) { throw Noise(reason: reason) }
        return result
    }

    /// Ready is not always serving: with a large file a worker may still have its clusters to make.
    private func awaitFirstAnswer(_ topology: Topology) throws {
        var plan = plan(topology, warmUp: 0, duration: 10)
        plan.connections = 1
        plan.requests = 1
        for _ in 1...6 {
            if try LoadChild(bench: bench).run(plan).requests > 0 { return }
        }
    }

    private func proxies(_ result: LoadResult) -> [ProcessUsage] {
        result.processes.filter { $0.name.hasPrefix("proxy-") }
    }

    // MARK: Runs

    /// Calls the body while one more connection is open in silence.
    func whileOneStands<Value>(
        through topology: Topology,
        _ body: () throws -> Value
    ) throws -> Value {
        var plan = plan(topology, warmUp: 0, duration: 60)
        plan.traffic = .idleTCP
        plan.connections = 1
        return try LoadChild(bench: bench).standing(plan, body)
    }

    /// So many requests and no more, for those who count what the proxies do meanwhile.
    func send(_ requests: Int, through topology: Topology) throws {
        var plan = plan(topology, warmUp: 0, duration: 60)
        plan.requests = requests
        plan.watched = []
        _ = try LoadChild(bench: bench).run(plan)
    }

    /// As fast as it goes; requests a second.
    private func saturate(_ topology: Topology, _ result: inout Repetition) throws -> Double {
        let loaded = try load(plan(topology, warmUp: options.warmUp, duration: options.seconds))
        if scenario.clientTLS == .resumed, !contestant.peer.isDirect {
            let (resumed, opened) = (loaded.sessionsResumed, loaded.connectionsOpened)
            guard resumed * 10 >= opened * 9 else {
                throw BenchError("only \(resumed) of \(opened) connections resumed a session")
            }
        }
        let count = Double(loaded.requests)
        result.figures[.requestsPerSecond] = count / loaded.seconds
        result.figures[.bytesPerSecond] =
            Double(loaded.bytesReceived + loaded.bytesSent) / loaded.seconds
        result.figures[.saturatedP50] = loaded.latency?.microseconds(exactlyAt: 50)
        result.figures[.saturatedP99] = loaded.latency?.microseconds(exactlyAt: 99)
        let proxies = proxies(loaded)
        guard !proxies.isEmpty else { return count / loaded.seconds }
        let cpu = proxies.reduce(0) { $0 + Double($1.cpuNanoseconds) } / 1000
        result.figures[.cpuMicroseconds] = cpu / count
        result.figures[.busyShare] = cpu / 1e6 / loaded.seconds / Double(bench.proxies.cpus.count)
        let user = proxies.reduce(Double?.some(0)) { sum, process in
            guard let sum, let share = process.userShare else { return nil }
            return sum + Double(process.cpuNanoseconds) / 1000 * share
        }
        if let user {
            result.figures[.cpuUserMicroseconds] = user / count
            result.figures[.cpuSystemMicroseconds] = (cpu - user) / count
        }
        let switches = proxies.reduce(0) { $0 + $1.voluntarySwitches + $1.involuntarySwitches }
        result.figures[.contextSwitches] = Double(switches) / count
        result.figures[.loadResidentMiB] = Double(proxies.reduce(0) { $0 + $1.residentKiB }) / 1024
        return count / loaded.seconds
    }

    private func measureLatency(
        _ topology: Topology,
        rate: Double,
        _ result: inout Repetition
    ) throws {
        var plan = plan(topology, warmUp: options.warmUp, duration: options.seconds)
        plan.rate = rate
        var scraper = Scraper(
            addresses: contestant.variant.isScraped ? topology.hops.map(\.admin) : []
        )
        let loaded = try load(plan, spinning: true) { scraper.scrape() }
        let done = Double(loaded.requests) / loaded.seconds
        guard done > rate * 0.9 else {
            throw BenchError(
                "the fixed rate is too high: \(Int(done)) of \(Int(rate)) requests a second; set --rate"
            )
        }
        guard let latency = loaded.latency else { return }
        result.latency = latency
        result.figures[.p50] = latency.microseconds(exactlyAt: 50)
        result.figures[.p90] = latency.microseconds(exactlyAt: 90)
        result.figures[.p99] = latency.microseconds(exactlyAt: 99)
        result.figures[.p999] = latency.microseconds(exactlyAt: 99.9)
        // Of fewer requests, it would be the slowest one.
        if latency.count >= 10_000 {
            result.figures[.p9999] = latency.microseconds(exactlyAt: 99.99)
        }
        result.figures[.latenessP99] = loaded.lateness?.microseconds(exactlyAt: 99)
        let proxies = proxies(loaded)
        if !proxies.isEmpty {
            let cpu = proxies.reduce(0) { $0 + Double($1.cpuNanoseconds) } / 1000
            result.figures[.cpuMicrosecondsAtRate] = cpu / Double(loaded.requests)
        }
    }

    /// Where the time goes at the fixed rate, from fresh processes with their stamps on.
    ///
    /// - Throws: ``Noise`` when the machine was busy with other things.
    func phases() throws -> [PeerResult.Phase] {
        guard let rate = options.rate ?? scenario.rate else { return [] }
        let topology = try Topology(contestant, in: scenario, on: bench, change: .stamps)
        defer { topology.stop() }
        // Connections to the upstream are made before.
        var plan = plan(topology, warmUp: 0, duration: min(1, options.seconds))
        _ = try LoadChild(bench: bench).run(plan)
        func stamps() -> [PhaseReader.Stamps] {
            topology.hops.map {
                PhaseReader.stamps(in: Sockets.get("/stats/prometheus", at: $0.admin) ?? "")
            }
        }
        let before = stamps()
        plan.duration = min(2, options.seconds)
        plan.rate = rate
        _ = try load(plan, spinning: true)
        return zip(before, stamps()).enumerated().flatMap { hop, both in
            PhaseReader.phases(from: both.0, to: both.1, hop: hop)
        }
    }

    private func point(_ topology: Topology, rate: Double) throws -> PeerResult.LoadPoint {
        var plan = plan(topology, warmUp: options.warmUp / 2, duration: options.seconds / 2)
        plan.rate = max(1, rate)
        let loaded = try load(plan, spinning: true)
        return PeerResult.LoadPoint(
            requestsPerSecond: Double(loaded.requests) / loaded.seconds,
            p50Nanoseconds: loaded.latency?.nanoseconds(exactlyAt: 50) ?? 0,
            p99Nanoseconds: loaded.latency?.nanoseconds(exactlyAt: 99) ?? 0
        )
    }

    /// System calls and instructions, in a run of their own: counting costs time.
    private func count(_ topology: Topology, _ result: inout Repetition) throws {
        let isBulk = [.tcpDownload, .tcpUpload].contains(scenario.traffic)
        var plan = plan(topology, warmUp: 0, duration: isBulk ? 0.5 : 30)
        plan.requests = isBulk ? nil : options.countedRequests
        plan.watched = []
        let counter = EventCounter(bench: bench)
        let counted = try counter.count(topology.proxyPIDs) { before in
            try LoadChild(bench: bench).run(plan, before: before)
        }
        result.figures[.systemCalls] = counted.systemCalls
        result.figures[.instructions] = counted.instructions
    }

    private func stand(_ count: Int, _ topology: Topology, _ result: inout Repetition) throws {
        // What the first ones bring into memory, connections to the upstream above all, belongs to nobody's
        // connection: some stand already when the others come.
        var first = plan(topology, warmUp: 0, duration: 1)
        first.connections = scenario.traffic == .idleStreams ? 10 : 100
        let plan = plan(topology, warmUp: 0, duration: 1)
        let load = LoadChild(bench: bench)
        let (before, after) = try load.standing(first) {
            try bench.interruption.sleep(0.5)
            let before = ProcessMemory(of: topology.proxyPIDs)
            return try load.standing(plan) {
                try bench.interruption.sleep(1)
                return (before, ProcessMemory(of: topology.proxyPIDs))
            }
        }
        let each = Double(after.proportional - before.proportional) / Double(count)
        let isStreams = scenario.traffic == .idleStreams
        result.figures[isStreams ? .streamKiB : .connectionKiB] = each
        result.figures[.loadResidentMiB] = Double(after.resident) / 1024
    }
}

extension LatencySummary {
    /// Of one of ``percentiles``; nil if it is not among them.
    package func nanoseconds(exactlyAt percentile: Double) -> UInt64? {
        percentiles.first { $0.percentile == percentile }?.nanoseconds
    }

    package func microseconds(exactlyAt percentile: Double) -> Double? {
        nanoseconds(exactlyAt: percentile).map { Double($0) / 1000 }
    }
}
