import MeshLoad
import Testing

@testable import MeshBench

@Suite struct SummaryTests {
    @Test func `a figure is the median of its repetitions, with the lowest and the highest`() throws
    {
        let odd = try #require(Figure([3, 1, 2]))
        #expect(odd == Figure(median: 2, lowest: 1, highest: 3, repetitions: 3))
        let even = try #require(Figure([4, 1, 2, 3]))
        #expect(even == Figure(median: 2.5, lowest: 1, highest: 4, repetitions: 4))
        #expect(Figure([]) == nil)
    }

    @Test func `phases come from the sums and counts of the stamps, in the order of the way`() {
        let text = """
            # TYPE envoy_http_timing_route_ns histogram
            envoy_http_timing_route_ns_bucket{envoy_http_conn_manager_prefix="ingress",le="500"} 2
            envoy_http_timing_route_ns_sum{envoy_http_conn_manager_prefix="ingress"} 900
            envoy_http_timing_route_ns_count{envoy_http_conn_manager_prefix="ingress"} 3
            envoy_http_timing_parse_ns_sum{envoy_http_conn_manager_prefix="ingress"} 1000
            envoy_http_timing_parse_ns_count{envoy_http_conn_manager_prefix="ingress"} 2
            envoy_http_timing_flush_ns_sum{envoy_http_conn_manager_prefix="ingress"} 0
            envoy_http_timing_flush_ns_count{envoy_http_conn_manager_prefix="ingress"} 0
            envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix="ingress"} 3
            """
        let phases = PhaseReader.phases(from: [:], to: PhaseReader.stamps(in: text), hop: 1)
        #expect(phases.map(\.name) == ["parse", "route"])
        #expect(phases.map(\.meanNanoseconds) == [500, 300])
        #expect(phases.allSatisfy { $0.hop == 1 })
        let before = ["parse": (sum: 400.0, count: 1.0), "route": (sum: 900.0, count: 3.0)]
        let later = PhaseReader.phases(from: before, to: PhaseReader.stamps(in: text), hop: 0)
        #expect(later.map(\.name) == ["parse"])
        #expect(later.map(\.meanNanoseconds) == [600])
    }
}

@Suite struct NoiseRuleTests {
    private func result(busy: Double, stolen: Double, ours: Double, seconds: Double) -> LoadResult {
        LoadResult(
            plan: LoadPlan(target: "127.0.0.1:1", traffic: .http1),
            seconds: seconds,
            requests: 1,
            bytesReceived: 0,
            bytesSent: 0,
            connectionsOpened: 1,
            errors: [:],
            latency: nil,
            serviceTime: nil,
            lateness: nil,
            processes: [
                ProcessUsage(
                    name: "proxy-0",
                    pid: 1,
                    cpuNanoseconds: UInt64(ours * 1e9),
                    userShare: nil,
                    voluntarySwitches: 0,
                    involuntarySwitches: 0,
                    residentKiB: 0,
                    proportionalKiB: nil
                )
            ],
            cpus: [
                CPUUsage(cpu: 0, busy: busy / 2, idle: 0, stolen: stolen),
                CPUUsage(cpu: 1, busy: busy / 2, idle: 0, stolen: 0),
            ],
            isPartial: false
        )
    }

    @Test func `a window in which others used the CPUs is thrown away, and says how much`() {
        let rule = NoiseRule()
        #expect(rule.objection(to: result(busy: 6, stolen: 0, ours: 5.8, seconds: 3)) == nil)
        #expect(
            rule.objection(to: result(busy: 6, stolen: 0, ours: 5, seconds: 3))
                == "foreign CPU 0.33"
        )
        #expect(
            rule.objection(to: result(busy: 5, stolen: 0.3, ours: 5, seconds: 3))
                == "stolen CPU 0.10"
        )
    }

    @Test func `what is within the kernel's ticks is no noise`() {
        let rule = NoiseRule()
        #expect(
            rule.objection(to: result(busy: 0.13, stolen: 0.02, ours: 0.1, seconds: 0.1)) == nil
        )
    }
}

@Suite struct SocketsTests {
    @Test func `the body of an answer is put together from its chunks`() {
        func body(_ text: String) -> String? { Sockets.body(of: Array(text.utf8)) }
        #expect(body("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab") == "ab")
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        #expect(body(chunked + "2\r\nab\r\nA\r\n0123456789\r\n0\r\n\r\n") == "ab0123456789")
        #expect(body(chunked + "2\r\nab\r\nA\r\n01234") == "ab")
        #expect(body("HTTP/1.1 503 Service Unavailable\r\n\r\nPRE_INITIALIZING") == nil)
        #expect(body("HTTP/1.1 200 OK\r\n") == nil)
    }
}
