import MeshLoad

extension ScenarioCatalogue {
    static let memory: [Scenario] =
        [1_000, 10_000].flatMap { count -> [Scenario] in
            let number = count == 1_000 ? "1,000" : "10,000"
            return [
                idle("idle-\(count)", "\(number) idle connections", "h1", count),
                idle("idle-mtls-\(count)", "\(number) idle mTLS connections", "mtls-in", count).with
                {
                    $0.clientTLS = .mutual
                },
            ]
        } + [
            Scenario(
                "idle-streams",
                "10,000 idle streams",
                hops: ["h2"],
                .idleStreams,
                explanation: """
                    Memory for each of 10,000 gRPC calls over 100 connections that have carried a message each way and \
                    are silent now.
                    """
            ).with {
                $0.connections = 100
                $0.streamsPerConnection = 100
                $0.standing = 10_000
                $0.unit = "stream"
            },
            idleTunnels("idle-tcp-mtls", "mTLS", "tcp-mtls"),
            idleTunnels("idle-tcp-hbone", "HBONE", "hbone"),
        ]

    private static func idle(_ id: String, _ title: String, _ role: String, _ count: Int)
        -> Scenario
    {
        Scenario(
            id,
            title,
            hops: [role],
            .idleHTTP1,
            explanation:
                "Memory for each connection that has carried one request and is silent now."
        ).with {
            $0.connections = count
            $0.standing = count
            $0.unit = "connection"
        }
    }

    private static func idleTunnels(_ id: String, _ name: String, _ kind: String) -> Scenario {
        tcp(id, "1,000 idle connections over \(name)", kind, .idleTCP).with {
            $0.explanation = """
                Memory of both hops for each TCP connection that has carried a message each way and is silent now.
                """
            $0.connections = 1_000
            $0.standing = 1_000
            $0.unit = "connection"
            $0.isStandard = false
        }
    }

    /// What policies, logs and large files add to a hop: compare with `hop-h1` or `mtls-in`.
    static let policies: [Scenario] =
        [1, 100, 1_000].map { count in
            changed(
                "rbac-\(count)",
                "RBAC, \(count == 1_000 ? "1,000" : "\(count)") \(count == 1 ? "policy" : "policies")",
                .policies(count),
                of: "mtls-in",
                """
                Inbound mTLS with policies that each let one identity ask for one path; the last one is the \
                client's. The difference from mtls-in is what they cost.
                """
            )
        } + [
            changed(
                "access-log",
                "Access log",
                .accessLog,
                of: "hop-h1",
                "The plain hop with Envoy's default line for each request in a file."
            ),
            changed(
                "retries",
                "Retries",
                .retries,
                of: "hop-h1",
                "The plain hop with a retry policy, which never has to retry."
            ),
            Scenario(
                "everything",
                "Everything on",
                hops: ["everything"],
                .http1,
                explanation: """
                    The plain hop with access log, request id, RBAC of three policies, six header mutations and \
                    a retry policy.
                    """
            ).with { $0.rate = 2000 },
        ]
        + [1_000, 10_000].flatMap { count -> [Scenario] in
            let number = count == 1_000 ? "1,000" : "10,000"
            return [
                changed(
                    "routes-\(count)",
                    "\(number) routes over 1,000 hosts",
                    .routes(count: count, hosts: 1_000),
                    of: "hop-h1",
                    "The plain hop with that many routes; requests ask for the last host's last one."
                ).with {
                    $0.authority = LargeConfig.host(999)
                    $0.path = LargeConfig.path(count / 1_000 - 1)
                },
                changed(
                    "config-\(count)",
                    "\(number) routes, clusters and policies",
                    .large(count),
                    of: "mtls-in",
                    """
                    Inbound mTLS with that many routes over 1,000 hosts, a cluster for each route, and a policy \
                    for each: start, memory, and what a request costs.
                    """
                ).with {
                    $0.authority = LargeConfig.host(999)
                    $0.path = LargeConfig.path(count / 1_000 - 1)
                    // Some try one policy after the other.
                    $0.rate = 200
                },
            ]
        }

    private static func changed(
        _ id: String,
        _ title: String,
        _ change: ConfigChange,
        of base: String,
        _ explanation: String
    ) -> Scenario {
        let base = hops.first { $0.id == base } ?? hops[0]
        return base.with {
            $0.id = id
            $0.title = title
            $0.explanation = explanation
            $0.variants = [.init(change: change)]
        }
    }

    static let operation: [Scenario] = [
        hops[0].with {
            $0.id = "timing"
            $0.title = "Stamps on and off"
            $0.explanation = """
                The plain hop with and without the histograms that say where the time goes; the difference is what \
                they cost.
                """
            var off = Scenario.Variant(label: "stamps off")
            var on = Scenario.Variant(label: "stamps on", change: .stamps)
            off.needsStamps = true
            on.needsStamps = true
            $0.variants = [off, on]
        },
        hops[0].with {
            $0.id = "scrape"
            $0.title = "Statistics are read"
            $0.explanation = """
                The plain hop with 80 more clusters, which makes some 10,000 statistics, at the fixed rate; \
                /stats/prometheus is read every second, or not.
                """
            let quiet = Scenario.Variant(label: "not read", change: .clusters(80))
            var scraped = Scenario.Variant(label: "read", change: .clusters(80))
            scraped.isScraped = true
            $0.variants = [quiet, scraped]
        },
        Scenario(
            "workloads-10000",
            "An agent with 10,000 workloads",
            hops: ["hbone-in"],
            .idleTCP,
            explanation: "Start and memory of an agent alone in a mesh of that many workloads."
        ).with {
            $0.isStartOnly = true
            $0.isStandard = false
            $0.variants = [
                .init(label: "2 workloads", change: .workloads(2)),
                .init(label: "10,000 workloads", change: .workloads(10_000)),
            ]
        },
    ]
}
