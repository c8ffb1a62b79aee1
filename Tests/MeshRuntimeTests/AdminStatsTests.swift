import MeshConfig
import MeshNet
import MeshRuntime
import Testing

struct AdminStatsTests {
    private let registry: StatsRegistry
    private let stats: WorkerStats
    private let admin: Admin

    init() { self.init(StatsOptions()) }

    private init(_ options: StatsOptions) {
        registry = StatsRegistry(workers: 1, options: options)
        stats = WorkerStats(registry, index: 0)
        admin = Admin(
            AdminState(
                stats: registry,
                version: "v",
                configuration: .object(.init([])),
                loadedAt: WallTime(nanoseconds: 0)
            )
        )
    }

    private func get(_ target: String) -> String {
        let response = admin.respond(to: AdminRequest(method: "GET", target: target))
        return String(bytes: response.body.bytes)
    }

    @Test func `text lists counters and gauges by name, then histograms`() {
        stats.gauge("b").set(7)
        stats.counter("a").add(2)
        stats.histogram("h").record(2)
        _ = stats.histogram("e")
        registry.endHistogramInterval()
        #expect(
            get("/stats") == """
                a: 2
                b: 7
                e: No recorded values
                h: P0(2.05,2.05) P25(2.05,2.05) P50(2.05,2.05) P75(2.05,2.05) P90(2.05,2.05) \
                P95(2.05,2.05) P99(2.05,2.05) P99.5(2.05,2.05) P99.9(2.05,2.05) P100(2.05,2.05)

                """
        )
        registry.endHistogramInterval()
        #expect(get("/stats?filter=^h$").hasPrefix("h: P0(nan,2.05) P25"))
    }

    @Test func `filters choose by use, type and expression`() {
        stats.counter("a.one").add()
        _ = stats.counter("a.two")
        stats.gauge("b.one").set(0)
        #expect(get("/stats?usedonly") == "a.one: 1\nb.one: 0\n")
        #expect(get("/stats?type=Counters") == "a.one: 1\na.two: 0\n")
        #expect(get("/stats?filter=one") == "a.one: 1\nb.one: 0\n")
        #expect(get("/stats?filter=one&invert_filter") == "a.two: 0\n")
        #expect(get("/stats?filter=^a%5C.&usedonly") == "a.one: 1\n")
        #expect(get("/stats?type=TextReadouts") == "")
    }

    @Test func `bad parameters are answered as Envoy does`() {
        for (target, body) in [
            ("/stats?type=foo", "invalid &type= param"),
            ("/stats?filter=(", "Invalid re2 regex: missing ): ("),
        ] {
            let response = admin.respond(to: AdminRequest(method: "GET", target: target))
            #expect(response.status == 400)
            #expect(String(bytes: response.body.bytes) == body)
        }
    }

    @Test func `histogram buckets have Envoy's forms`() {
        let histogram = stats.histogram("h")
        histogram.record(2)
        histogram.record(43)
        let tail =
            " B250(0,2) B500(0,2) B1000(0,2) B2500(0,2) B5000(0,2) B10000(0,2) B30000(0,2)"
            + " B60000(0,2) B300000(0,2) B600000(0,2) B1.8e+06(0,2) B3.6e+06(0,2)\n"
        #expect(
            get("/stats?histogram_buckets=cumulative")
                == "h: B0.5(0,0) B1(0,0) B5(0,1) B10(0,1) B25(0,1) B50(0,2) B100(0,2)" + tail
        )
        #expect(
            get("/stats?histogram_buckets=disjoint").hasPrefix(
                "h: B0.5(0,0) B1(0,0) B5(0,1) B10(0,0) B25(0,0) B50(0,1) B100(0,0) "
            )
        )
        #expect(
            get("/stats?histogram_buckets=detailed").hasPrefix(
                "h:\n  totals=2,0.1:1, 43,1:1\n  intervals=\n  summary=P0(nan,2.05)"
            )
        )
        #expect(
            get("/stats?format=json&histogram_buckets=detailed").hasPrefix(
                #"{"stats":[{"histograms":{"supported_percentiles":[0,25,50,75,90,95,99,99.5,99.9,"#
                    + #"100],"details":[{"name":"h","totals":[{"lower_bound":2,"width":0.1,"count":1},"#
            )
        )
    }

    @Test func `JSON has null where there is no value`() {
        stats.counter("c").add(3)
        _ = stats.histogram("h")
        let json = get("/stats?format=json")
        #expect(json.hasPrefix(#"{"stats":[{"name":"c","value":3},{"histograms":{"supported_q"#))
        #expect(json.contains(#"{"name":"h","values":[{"cumulative":null,"interval":null},"#))
    }

    @Test func `Prometheus names, labels and order equal Envoy's`() {
        for (type, name) in StatsFixture.stats {
            switch type {
            case "counter": _ = stats.counter(name)
            case "gauge": _ = stats.gauge(name)
            default: _ = stats.histogram(name)
            }
        }
        let ours = get("/stats/prometheus").split(separator: "\n").filter {
            !$0.contains("_bucket{")
        }.map { line in
            line.hasPrefix("#")
                ? String(line) : String(line[...(line.lastIndex(of: "}") ?? line.startIndex)])
        }
        let envoys = StatsFixture.lines("envoy-prometheus.txt")
        #expect(ours.count == envoys.count)
        for (at, line) in envoys.enumerated() where at < ours.count && ours[at] != line {
            Issue.record("line \(at): \(ours[at]), Envoy: \(line)")
            break
        }
    }

    @Test func `Prometheus histograms have cumulative buckets, sum and count`() {
        let histogram = stats.histogram("cluster.up.upstream_rq_time")
        histogram.record(2)
        histogram.record(43)
        let lines = get("/stats/prometheus").split(separator: "\n")
        let name = "envoy_cluster_upstream_rq_time"
        let label = #"envoy_cluster_name="up""#
        #expect(lines[0] == "# TYPE \(name) histogram")
        #expect(lines[3] == #"\#(name)_bucket{\#(label),le="5"} 1"#)
        #expect(lines[19] == #"\#(name)_bucket{\#(label),le="3600000"} 2"#)
        #expect(lines[20] == #"\#(name)_bucket{\#(label),le="+Inf"} 2"#)
        #expect(lines[21] == #"\#(name)_sum{\#(label)} 45.543033361368095768284547375515"#)
        #expect(lines[22] == #"\#(name)_count{\#(label)} 2"#)
    }

    @Test func `stats_config chooses stats, tags and buckets`() {
        let diagnostics = ConfigDiagnostics()
        let json = #"""
            {"stats_tags": [{"tag_name": "zone", "fixed_value": "z1"},
                            {"tag_name": "svc", "regex": "^cluster\\.((\\w+)-v\\d\\.)"}],
             "use_all_default_tags": false,
             "stats_matcher": {"exclusion_list": {"patterns": [{"prefix": "secret."}]}},
             "histogram_bucket_settings": [{"match": {"suffix": "_ms"}, "buckets": [1, 10]}]}
            """#
        guard let object = ConfigDocument.parse(json: json, diagnostics: diagnostics) else {
            Issue.record("\(diagnostics.errors)")
            return
        }
        let test = AdminStatsTests(StatsOptions(StatsConfig(object)))
        test.stats.counter("secret.a").add()
        test.stats.counter("cluster.api-v1.rq").add()
        test.stats.histogram("a_ms").record(4)
        #expect(
            test.get("/stats/prometheus") == """
                # TYPE envoy_cluster_rq counter
                envoy_cluster_rq{zone="z1",svc="api"} 1
                # TYPE envoy_a_ms histogram
                envoy_a_ms_bucket{zone="z1",le="1"} 0
                envoy_a_ms_bucket{zone="z1",le="10"} 1
                envoy_a_ms_bucket{zone="z1",le="+Inf"} 1
                envoy_a_ms_sum{zone="z1"} 4.0493827160493829353526962222531
                envoy_a_ms_count{zone="z1"} 1

                """
        )
    }

    @Test func `a new stat appears in the next scrape`() {
        stats.counter("a").add()
        #expect(get("/stats/prometheus") == "# TYPE envoy_a counter\nenvoy_a{} 1\n")
        stats.counter("0").add(2)
        #expect(get("/stats/prometheus").contains("envoy_0{} 2\n"))
        #expect(get("/stats/prometheus").contains("envoy_a{} 1\n"))
    }
}
