import MeshConfig
import MeshNet
import MeshRuntime
import MeshSimulation
import Testing

@testable import Ztunnel

/// The three ports of an agent that is only facts, and clients of them.
private final class Ports {
    struct Answer {
        let status: Int
        let head: String
        let body: String
    }

    let simulation = Simulation(seed: 1)
    let log = Log(output: { _ in })
    var facts: AdminFacts
    var pending: [String] = []
    var refusal: [String] = []
    var identities = IdentitySnapshot()
    var quits = 0
    var questions: [(WorkerConnections) -> Void] = []
    private let loop: EventLoop
    private var ports: AdminPorts?

    init(_ yaml: String = "workloads: []") throws {
        loop = simulation.makeLoop()
        let settings = LogSettings(isJSON: false, log: log)
        log.redirect(to: .istio) { _ in }
        facts = AdminFacts(version: "0.1.0", logSettings: settings, metrics: TrafficMetrics())
        let (config, diagnostics) = ZtunnelConfig.read(
            text: Array(yaml.utf8),
            fileName: "mesh.yaml"
        )
        try #require(diagnostics.errors.map(\.description) == [])
        let known = config ?? ZtunnelConfig()
        let state = MeshState(known, network: "")
        facts.config = { known }
        facts.state = { state }
        facts.options = [("proxyMode", .string("shared")), ("packetMark", .null)]
        facts.workers = 2
        let loop = loop
        facts.now = { loop.now }
        facts.pending = { [unowned self] in pending }
        facts.refusal = { [unowned self] in refusal }
        facts.identities = { [unowned self] in identities }
        facts.quit = { [unowned self] in quits += 1 }
        facts.connections = { [unowned self] in questions.append($0) }
    }

    /// Sends one request and takes the whole answer.
    func ask(
        _ target: String,
        _ method: String = "GET",
        port: Int = 0,
        accept: String = "",
        during body: () -> Void = {}
    ) throws -> Answer {
        let ports = try started()
        let accept = accept.isEmpty ? "" : "accept: \(accept)\r\n"
        let peer = ScriptedPeer(
            connectingTo: ports.addresses[port].address,
            in: simulation,
            script: [
                .send(
                    "\(method) \(target) HTTP/1.1\r\nhost: h\r\n\(accept)connection: close\r\n\r\n"
                ),
                .awaitEnd, .close,
            ]
        )
        simulation.run(for: .milliseconds(500))
        body()
        simulation.run()
        let halves = peer.receivedText.split(separator: "\r\n\r\n", maxSplits: 1)
        let head = String(try #require(halves.first))
        return Answer(
            status: try #require(Int(head.split(separator: " ")[1])),
            head: head,
            body: halves.count > 1 ? String(halves[1]) : ""
        )
    }

    private func started() throws -> AdminPorts {
        if let ports { return ports }
        let address = try #require(IPAddress("10.0.0.1"))
        let ports = try AdminPorts(
            facts,
            admin: .ip(address, port: 15000),
            stats: .ip(address, port: 15020),
            readiness: .ip(address, port: 15021),
            loop: loop
        )
        self.ports = ports
        return ports
    }

    func json(_ target: String) throws -> ConfigValue {
        let answer = try ask(target)
        #expect(answer.status == 200)
        #expect(answer.head.contains("content-type: application/json"))
        return try #require(ConfigDocument.value(Array(answer.body.utf8), fileName: "answer.json"))
    }
}

private let meshText = """
    workloads:
    - name: client
      namespace: default
      serviceAccount: client
      workloadIps: [10.0.0.11]
      protocol: HBONE
      services: {}
    - uid: cluster/server
      name: server
      namespace: shop
      serviceAccount: server
      workloadIps: [10.0.0.12]
      protocol: HBONE
      authorizationPolicies: [shop/only-client]
      services: {shop/echo.shop.svc.cluster.local: {80: 8080}}
    - name: plain
      namespace: shop
      workloadIps: [10.0.0.13]
      protocol: TCP
      services: {}
    - name: guarded
      namespace: shop
      workloadIps: [10.0.0.14]
      protocol: HBONE
      services: {}
      waypoint: {destination: /10.0.0.15, hboneMtlsPort: 15008}
    - name: waypoint
      namespace: shop
      serviceAccount: waypoint
      workloadIps: [10.0.0.15]
      protocol: HBONE
      services: {}
    services:
    - name: echo
      namespace: shop
      hostname: echo.shop.svc.cluster.local
      vips: [/10.1.0.1]
      ports: {80: 8080}
    - name: empty
      namespace: shop
      hostname: empty.shop.svc.cluster.local
      vips: [/10.1.0.2]
      ports: {80: 8080}
    policies:
    - name: only-client
      namespace: shop
      scope: WorkloadSelector
      action: Allow
      dryRun: false
      rules:
      - - - principals: [{Exact: cluster.local/ns/default/sa/client}]
            notDestinationPorts: [9090]
    """

struct ReadinessTests {
    @Test func `the agent is ready when nothing is pending`() throws {
        let ports = try Ports()
        ports.pending = ["certificates", "mesh state"]
        var answer = try ports.ask("/healthz/ready", port: 2)
        #expect(answer.status == 500)
        #expect(answer.body == "not ready, pending: certificates, mesh state\n")
        ports.pending = []
        answer = try ports.ask("/healthz/ready", port: 2)
        #expect(answer.status == 200)
        #expect(answer.body == "ready\n")
        #expect(try ports.ask("/healthz/ready", "POST", port: 2).status == 405)
        #expect(try ports.ask("/", port: 2).status == 404)
    }
}

struct MetricsPortTests {
    @Test(arguments: ["/metrics", "/stats/prometheus"])
    func `metrics are on both paths`(_ path: String) throws {
        let ports = try Ports()
        let answer = try ports.ask(path, port: 1)
        #expect(answer.head.contains("content-type: text/plain; charset=utf-8"))
        #expect(try !Exposition(answer.body)["istio_build"].isEmpty)
        #expect(try ports.ask("/config_dump", port: 1).status == 404)
    }

    @Test func `who asks for OpenMetrics is told that it is`() throws {
        let answer = try Ports().ask(
            "/metrics",
            port: 1,
            accept: "application/vnd.google.protobuf;q=0.6, "
                + "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2"
        )
        let type = "content-type: application/openmetrics-text;charset=utf-8;version=1.0.0"
        #expect(answer.head.contains(type))
    }
}

struct ZtunnelAdminTests {
    @Test func `the index names every path`() throws {
        let answer = try Ports().ask("/")
        #expect(answer.head.contains("content-type: text/html"))
        for path in ["config_dump", "connections", "explain", "logging", "quitquitquit"] {
            #expect(answer.body.contains("<a href=\"\(path)"))
        }
        #expect(try Ports().ask("/nothing").status == 404)
    }

    @Test func `levels are shown, changed and reset by POST alone`() throws {
        let ports = try Ports()
        let get = try ports.ask("/logging?level=debug")
        #expect(get.status == 405)
        #expect(get.body.hasPrefix("Invalid HTTP method\n"))
        #expect(get.body.contains("usage: POST /logging"))
        func post(_ query: String) throws -> String {
            try ports.ask("/logging\(query)", "POST").body
        }
        #expect(try post("") == "current log level is info\n")
        #expect(try post("?level=debug") == "current log level is debug\n")
        #expect(try post("?level=access=warn") == "current log level is access=warn,debug\n")
        #expect(
            try post("?level=admin:error") == "current log level is access=warn,admin=error,debug\n"
        )
        #expect(ports.log.level(of: .admin) == .error)
        #expect(ports.log.level(of: .main) == .debug)
        #expect(try post("?reset") == "current log level is info\n")
        for level in ["loud", "ztunnel::proxy=debug"] {
            let refused = try ports.ask("/logging?level=\(level)", "POST")
            #expect(refused.status == 400)
            #expect(refused.body.hasPrefix("Invalid level provided: \(level)\n"))
        }
        #expect(try post("") == "current log level is info\n")
    }

    @Test func `the agent stops when it is asked by POST`() throws {
        let ports = try Ports()
        #expect(try ports.ask("/quitquitquit").status == 405)
        #expect(ports.quits == 0)
        #expect(try ports.ask("/quitquitquit", "POST").body == "shutdown now\n")
        #expect(ports.quits == 1)
    }

    @Test func `the dump has the file under the file's keys`() throws {
        let ports = try Ports(meshText)
        ports.refusal = ["mesh.yaml:3:1: wrong"]
        let dump = try ports.json("/config_dump")
        #expect(dump.text("config.proxyMode") == "shared")
        #expect(dump.text("config.logFilter") == "info")
        #expect(dump.text("refusedConfig.0") == "mesh.yaml:3:1: wrong")
        #expect(dump.text("version.version") == "0.1.0")
        #expect(dump.text("workloads.1.uid") == "cluster/server")
        #expect(dump.text("workloads.1.workloadIps.0") == "10.0.0.12")
        #expect(dump.text("workloads.1.protocol") == "HBONE")
        #expect(dump.text("workloads.1.status") == "Healthy")
        #expect(dump.text("workloads.1.authorizationPolicies.0") == "shop/only-client")
        #expect(dump.text("workloads.1.services.0") == "shop/echo.shop.svc.cluster.local")
        #expect(dump.text("workloads.3.waypoint.destination") == "/10.0.0.15")
        #expect(dump.text("workloads.3.waypoint.hboneMtlsPort") == "15008")
        #expect(dump.text("services.0.vips.0") == "/10.1.0.1")
        #expect(dump.text("services.0.ports.80") == "8080")
        #expect(dump.text("policies.0.scope") == "WorkloadSelector")
        #expect(dump.text("policies.0.rules.0.0.0.notDestinationPorts.0") == "9090")
        let principal = dump.text("policies.0.rules.0.0.0.principals.0.Exact")
        #expect(principal?.hasSuffix("cluster.local/ns/default/sa/client") == true)
    }

    @Test func `connections are gathered from all workers`() throws {
        let ports = try Ports()
        let mesh = try Mesh.observed()
        let record = try ConnectionRecord.outbound(mesh)
        TrafficObserver(metrics: TrafficMetrics()).carried(record, sent: 490, received: 67)
        let answer = try ports.ask("/connections") {
            ports.questions[0](WorkerConnections([record]))
            ports.questions[0](WorkerConnections([try? .inbound(mesh)].compactMap { $0 }))
        }
        let json = try #require(
            ConfigDocument.value(Array(answer.body.utf8), fileName: "answer.json")
        )
        #expect(json.text("open") == "2")
        #expect(json.text("silent_workers") == "0")
        #expect(json.text("connections.1.direction") == "inbound")
        let first = json.member("connections")?.member("0")
        #expect(first?.member("src.addr")?.text == "10.244.0.24:46238")
        #expect(first?.member("dst.hbone_addr")?.text == "10.96.108.116:80")
        #expect(first?.member("bytes_sent")?.text == "67")
        #expect(first?.member("bytes_recv")?.text == "490")
    }

    @Test func `a worker that does not answer holds up nobody`() throws {
        let ports = try Ports()
        let answer = try ports.ask("/connections") {
            ports.questions[0](WorkerConnections([]))
        }
        #expect(answer.status == 200)
        #expect(answer.body.contains("\"silent_workers\": 1"))
        // Too late.
        ports.questions[0](WorkerConnections([]))
    }
}

struct ExplainTests {
    private let ports: Ports

    init() throws { ports = try Ports(meshText) }

    private func explain(_ query: String) throws -> String {
        try ports.ask("/explain?" + query).body
    }

    @Test func `a connection through a tunnel is judged at its end`() throws {
        let text = try explain("src=10.0.0.11&dst=10.1.0.1:80")
        #expect(text.hasPrefix("allowed by: shop/only-client\n"))
        #expect(text.contains("source: 10.0.0.11 (default/client)\n"))
        #expect(
            text.contains(
                "way: HBONE to 10.0.0.12:15008, CONNECT 10.0.0.12:8080, expecting "
                    + "spiffe://cluster.local/ns/shop/sa/server\n"
            )
        )
        #expect(text.contains("service: shop/echo.shop.svc.cluster.local\n"))
        #expect(text.contains("workload: shop/server\n"))
        #expect(text.contains("Allow shop/only-client (WorkloadSelector) matches"))
        let json = try ports.json("/explain?src=10.0.0.11&dst=10.1.0.1:80&format=json")
        #expect(json.text("decision") == "allowed")
        #expect(json.text("source.identity") == "spiffe://cluster.local/ns/default/sa/client")
        #expect(json.text("route.kind") == "hbone")
        #expect(json.text("route.authority") == "10.0.0.12:8080")
        #expect(json.text("authorization.decision") == "allowed")
        #expect(json.text("authorization.connection.destination") == "10.0.0.12:8080")
    }

    @Test func `a hostname means its service`() throws {
        let text = try explain("src=10.0.0.11&dst=echo.shop.svc.cluster.local:80")
        #expect(text.contains("destination: 10.1.0.1:80\n"))
        #expect(text.hasPrefix("allowed by: shop/only-client\n"))
    }

    @Test func `the condition that fails is named`() throws {
        let text = try explain("src=10.0.0.11&dst=10.0.0.12:9090")
        #expect(text.hasPrefix("denied: allow policies exist, but none allowed"))
        #expect(text.contains("destinationPorts not in [9090]: found 9090, fails"))
    }

    @Test func `another identity may be tried`() throws {
        let other = "spiffe://cluster.local/ns/default/sa/other"
        let text = try explain("src=10.0.0.11&src_identity=\(other)&dst=10.0.0.12:8080")
        #expect(text.hasPrefix("denied: "))
        #expect(text.contains(other))
    }

    @Test func `who is outside the mesh comes without identity`() throws {
        let text = try explain("src=192.0.2.1&dst=10.0.0.12:8080")
        #expect(text.hasPrefix("denied: "))
        #expect(text.contains("source: 192.0.2.1 (unknown to the mesh)\n"))
        #expect(text.contains("way: in the clear: the source is no workload of the mesh\n"))
    }

    @Test func `ways other than a tunnel are told`() throws {
        let plain = try explain("src=10.0.0.11&dst=10.0.0.13:80")
        #expect(plain.hasPrefix("allowed: "))
        #expect(plain.contains("way: in the clear to 10.0.0.13:80, which takes no HBONE\n"))
        let unknown = try explain("src=10.0.0.11&dst=192.0.2.7:443")
        #expect(unknown.hasPrefix("allowed: no workload of the mesh is at the destination\n"))
        #expect(unknown.contains("way: in the clear, as it is"))
        let empty = try explain("src=10.0.0.11&dst=10.1.0.2:80")
        #expect(
            empty.hasPrefix("refused by the source's agent: no healthy upstream: 10.1.0.2:80\n")
        )
        let waypoint = try explain("src=10.0.0.11&dst=10.0.0.14:80")
        #expect(waypoint.contains("way: HBONE to the waypoint at 10.0.0.15:15008"))
        #expect(waypoint.contains("workload: shop/waypoint\n"))
        #expect(waypoint.hasPrefix("allowed: "))
    }

    @Test(arguments: [
        "", "src=10.0.0.11", "src=x&dst=10.0.0.12:80", "src=10.0.0.11&dst=10.0.0.12",
        "src=10.0.0.11&dst=10.0.0.12:99999", "src=10.0.0.11&dst=nobody.example:80",
        "src=10.0.0.11&dst=10.0.0.12:80&src_identity=somebody",
    ])
    func `a question without sense is answered with the usage`(_ query: String) throws {
        let answer = try ports.ask("/explain?" + query)
        #expect(answer.status == 400)
        #expect(answer.body.contains("usage: /explain?src="))
    }
}

struct SerialNumberTests {
    @Test(arguments: [
        ("0", "0"), ("ff", "255"), ("2f965e0a12c1e5a2b06ad9d3125c6705e7f00bb8", nil), ("x", "x"),
        ("ffffffffffffffffffffffff", "79228162514264337593543950335"),
    ])
    func `serial numbers are decimal`(_ hexadecimal: String, _ decimal: String?) {
        let text = Decimal.text(hexadecimal: hexadecimal)
        if let decimal { #expect(text == decimal) }
        #expect(text.allSatisfy { $0.isNumber } || text == "x")
    }

    @Test(arguments: [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy"),
    ])
    func `base64 is RFC 4648's`(_ text: String, _ encoded: String) {
        #expect(Base64.text(Array(text.utf8)) == encoded)
    }
}

extension ConfigValue {
    fileprivate func member(_ name: String) -> ConfigValue? {
        switch self {
        case .object(let fields): fields.first { $0.key == name }?.value
        case .list(let values): Int(name).flatMap { values.indices.contains($0) ? values[$0] : nil }
        default: nil
        }
    }

    /// A scalar as text.
    fileprivate var text: String? {
        switch self {
        case .string(let text): text
        case .number(let number): "\(Int(number))"
        case .bool(let value): "\(value)"
        default: nil
        }
    }

    /// The scalar at a path of keys and indices, with dots between.
    fileprivate func text(_ path: String) -> String? {
        var value: ConfigValue? = self
        for part in path.split(separator: ".") { value = value?.member(String(part)) }
        return value?.text
    }
}
