import MeshNet
import Testing

@testable import MeshConfig

private func read(_ text: String, _ fileName: String = "mesh.yaml") -> (
    config: ZtunnelConfig?, errors: [String], warnings: [String]
) {
    let (config, diagnostics) = ZtunnelConfig.read(text: Array(text.utf8), fileName: fileName)
    return (
        config, diagnostics.errors.map(\.description), diagnostics.warnings.map(\.description)
    )
}

struct ZtunnelConfigTests {
    /// The shape of the example that comes with ztunnel.
    @Test func `a file as ztunnel's own example is read`() throws {
        let (config, errors, warnings) = read(
            """
            workloads:
            - uid: cluster1//v1/Pod/default/local
              name: local
              namespace: default
              serviceAccount: default
              workloadIps: ["127.0.0.1"]
              protocol: HBONE
              node: local
              network: ""
              services:
                "default/example.com":
                  80: 8080
                "default/example2.com":
                  80: 8080
            policies:
              - action: Allow
                rules:
                - - - notDestinationPorts:
                      - 9999
                name: deny-9999
                namespace: default
                scope: Namespace
            services:
            - name: local
              namespace: default
              hostname: example.com
              vips:
                - /127.10.0.1
              ports:
                80: 8080
              subjectAltNames:
               - spiffe://cluster.local/ns/default/sa/local
            - name: remote
              namespace: default
              hostname: example2.com
              vips:
                - remote/127.10.0.2
              ports:
                80: 8080
            """
        )
        #expect(errors == [])
        #expect(warnings == [])
        let mesh = try #require(config)
        #expect(mesh.workloads[0].addresses == [try #require(IPAddress("127.0.0.1"))])
        #expect(mesh.workloads[0].services.map(\.service.description).count == 2)
        #expect(mesh.services[1].vips.map(\.description) == ["remote/127.10.0.2"])
        #expect(mesh.policies[0].rules[0][0][0].destinationPorts.negative == [9999])
        #expect(!mesh.policies[0].isDryRun)
    }

    static let everything = """
        {"workloads": [{
           "uid": "u", "name": "n", "namespace": "ns", "serviceAccount": "sa", "trustDomain": "td",
           "workloadIps": ["10.0.0.1", "fd00::1"], "protocol": "HBONE",
           "networkMode": "HostNetwork", "node": "node", "network": "net", "clusterId": "c",
           "hostname": "h", "workloadName": "wn", "workloadType": "deployment",
           "canonicalName": "cn", "canonicalRevision": "v1",
           "waypoint": {"destination": "net/10.0.0.9", "hboneMtlsPort": 15008},
           "networkGateway": {"destination": "ns/gw.example", "hbone_mtls_port": 15009},
           "nativeTunnel": true, "applicationTunnel": {"protocol": "PROXY", "port": 15088},
           "authorizationPolicies": ["ns/p"], "status": "Unhealthy",
           "locality": {"region": "r", "zone": "z", "subzone": "s"}, "capacity": 3,
           "services": {"ns/h.example": {"80": 8080, "443": 8443}}}],
         "services": [{
           "name": "h", "namespace": "ns", "hostname": "h.example", "vips": ["net/10.1.0.1"],
           "cidrVips": ["net/10.2.0.0/16"], "ports": {"443": 0, "80": 8080},
           "endpoints": {"u": {"workloadUid": "u", "port": {"80": 1}, "status": "Healthy"}},
           "subjectAltNames": ["spiffe://td/ns/ns/sa/other"],
           "waypoint": {"destination": {"namespace": "ns", "hostname": "w.example"},
                        "hboneMtlsPort": 15008},
           "weightedWaypoints": [{"destination": "net/10.0.0.9", "hboneMtlsPort": 1, "weight": 2},
             {"destination": {"destination": "ns/w.example", "hboneMtlsPort": 3}, "weight": 4}],
           "loadBalancer": {"routingPreferences": ["Region", "Network"], "mode": "Failover",
                            "healthPolicy": "AllowAll"},
           "ipFamilies": "IPv4", "canonical": true, "visibility": "Namespace"}],
         "policies": [{
           "name": "p", "namespace": "ns", "scope": "WorkloadSelector", "action": "Deny",
           "dryRun": true, "rules": [[[{
             "namespaces": [{"Exact": "a"}], "notNamespaces": [{"Prefix": "b"}],
             "serviceAccounts": [{"namespace": "c", "serviceAccount": "d"}],
             "notServiceAccounts": [{"namespace": "e", "serviceAccount": "f"}],
             "principals": [{"Suffix": "g"}], "notPrincipals": [{"Presence": []}],
             "sourceIps": ["10.0.0.0/8"], "notSourceIps": ["fd00::/8"],
             "destinationIps": ["0.0.0.0/0"], "notDestinationIps": ["10.0.0.1/32"],
             "destinationPorts": [80], "notDestinationPorts": [81]}], []]]}]}
        """

    @Test func `every field is read, from JSON and from YAML alike`() throws {
        let json = read(Self.everything, "mesh.json")
        #expect(json.errors == [])
        let mesh = try #require(json.config)
        // JSON is YAML.
        let yaml = try #require(read(Self.everything, "mesh.yaml").config)
        #expect("\(mesh.workloads[0].services)" == "\(yaml.workloads[0].services)")
        #expect("\(mesh.policies[0].rules)" == "\(yaml.policies[0].rules)")

        let workload = mesh.workloads[0]
        #expect(workload.addresses.map(\.description) == ["10.0.0.1", "fd00::1"])
        #expect(
            [
                workload.uid, workload.name, workload.namespace, workload.serviceAccount,
                workload.trustDomain, workload.node, workload.network, workload.clusterID,
                workload.hostname, workload.workloadName, workload.workloadType,
                workload.canonicalName, workload.canonicalRevision,
            ] == [
                "u", "n", "ns", "sa", "td", "node", "net", "c", "h", "wn", "deployment", "cn", "v1",
            ]
        )
        #expect(workload.tunnel == .hbone && workload.networkMode == .hostNetwork)
        #expect(workload.waypoint?.destination.description == "net/10.0.0.9")
        #expect(workload.waypoint?.port == 15008)
        #expect(workload.networkGateway?.destination.description == "ns/gw.example")
        #expect(workload.networkGateway?.port == 15009)
        #expect(workload.nativeTunnel && workload.status == .unhealthy && workload.capacity == 3)
        #expect(workload.applicationTunnel == .init(tunnel: .proxy, port: 15088))
        #expect(workload.authorizationPolicies == ["ns/p"])
        #expect(workload.locality == .init(region: "r", zone: "z", subzone: "s"))
        #expect(workload.services[0].ports[service: 443] == 8443)

        let service = mesh.services[0]
        #expect(service.key.description == "ns/h.example")
        #expect(service.vips.map(\.description) == ["net/10.1.0.1"])
        #expect(service.ranges.map(\.description) == ["net/10.2.0.0/16"])
        #expect(service.ports[service: 443] == 0 && service.ports[service: 81] == nil)
        #expect(service.endpoints[0].workloadUID == "u")
        #expect(service.subjectAltNames == ["spiffe://td/ns/ns/sa/other"])
        #expect(service.waypoint?.destination.description == "ns/w.example")
        #expect(service.weightedWaypoints.map(\.weight) == [2, 4])
        #expect(service.weightedWaypoints.map(\.gateway.port) == [1, 3])
        #expect(service.loadBalancer?.routingPreferences == [.region, .network])
        #expect(service.loadBalancer?.mode == .failover)
        #expect(service.loadBalancer?.healthPolicy == .allowAll)
        #expect(service.ipFamilies == .ipv4 && service.isCanonical)
        #expect(service.visibility == .namespace)

        let policy = mesh.policies[0]
        #expect(policy.scope == .workloadSelector && policy.action == .deny && policy.isDryRun)
        let match = policy.rules[0][0][0]
        #expect(match.namespaces.positive == [.exact("a")])
        #expect(match.namespaces.negative == [.prefix("b")])
        #expect(match.serviceAccounts.positive.map(\.description) == ["c/d"])
        #expect(match.serviceAccounts.negative.map(\.description) == ["e/f"])
        #expect(match.principals.positive == [.suffix("g")])
        #expect(match.principals.negative == [.presence])
        #expect(match.sourceIPs.positive.map(\.description) == ["10.0.0.0/8"])
        #expect(match.destinationIPs.negative.map(\.description) == ["10.0.0.1/32"])
        #expect(match.destinationPorts.positive == [80])
        #expect(policy.rules[0][1].isEmpty)
    }

    @Test func `what a workload leaves out has the control plane's defaults`() throws {
        let (config, errors, _) = read(
            "workloads: [{namespace: a, workloadIps: [10.0.0.1], services: {}, trustDomain: ''}]"
        )
        #expect(errors == [])
        let workload = try #require(config?.workloads.first)
        #expect(workload.trustDomain == "cluster.local" && workload.serviceAccount == "default")
        #expect(workload.clusterID == "Kubernetes" && workload.capacity == 1)
        #expect(workload.tunnel == .tcp && workload.status == .healthy)
    }

    static let stringMatches: [(String, ZtunnelConfig.StringMatch)] = [
        ("!Exact a", .exact("a")), ("!Prefix a", .prefix("a")), ("!Suffix a", .suffix("a")),
        ("!Presence []", .presence), ("!Presence ", .presence), ("!Presence {}", .presence),
        ("{Exact: a}", .exact("a")), ("{Presence: null}", .presence), ("!Exact ''", .exact("")),
        ("!Exact '12'", .exact("12")),
    ]

    @Test(arguments: stringMatches)
    func `a string match has YAML's tags or JSON's objects`(
        text: String,
        match: ZtunnelConfig.StringMatch
    ) {
        let (config, errors, _) = read(Self.policy("[[[{namespaces: [\(text)]}]]]"))
        #expect(errors == [])
        #expect(config?.policies[0].rules[0][0][0].namespaces.positive == [match])
    }

    @Test(arguments: ["a", "!Exact 12", "!Exact [a]", "{Exakt: a}", "{}", "{Exact: a, Prefix: b}"])
    func `any other form of a string match is refused`(text: String) {
        let (config, errors, _) = read(Self.policy("[[[{namespaces: [\(text)]}]]]"))
        #expect(config == nil)
        #expect(errors.count == 1)
        #expect(
            errors.first?.contains("policies[0].rules[0][0][0].namespaces[0]: expected one of")
                == true
        )
    }

    private static func policy(_ rules: String) -> String {
        "policies: [{name: p, namespace: a, scope: Namespace, action: Allow, dryRun: false,"
            + " rules: \(rules)}]"
    }

    private static let workload = "namespace: a, workloadIps: [10.0.0.1], services: {}"
    private static let service = "name: s, namespace: a, hostname: h, vips: [], ports: {}"

    static let refused: [(String, String)] = [
        // Names of fields.
        (
            "workload: []",
            "1:1: unknown field \"workload\"; did you mean \"workloads\"?"
        ),
        (
            "workloads: [{\(workload), workload_ips: []}]",
            "1:67: workloads[0]: unknown field \"workload_ips\"; did you mean \"workloadIps\"?"
        ),
        (
            "workloads: [{\(workload), serviceaccount: x}]",
            "1:67: workloads[0]: unknown field \"serviceaccount\"; did you mean \"serviceAccount\"?"
        ),
        (
            policy("[[[{principal: []}]]]"),
            "1:95: policies[0].rules[0][0][0]: unknown field \"principal\"; did you mean"
                + " \"principals\"?"
        ),
        (
            policy("[[[{serviceAccounts: [{namespace: a, serviceAccount: b, name: c}]}]]]"),
            "1:147: policies[0].rules[0][0][0].serviceAccounts[0]: unknown field \"name\"; did you"
                + " mean \"namespace\"?"
        ),
        // What must be there.
        ("workloads: [{}]", "1:13: workloads[0]: workloadIps is required"),
        ("workloads: [{}]", "1:13: workloads[0]: services is required"),
        ("workloads: [{}]", "1:13: workloads[0]: namespace is required"),
        ("services: [{}]", "1:12: services[0]: vips is required"),
        ("services: [{}]", "1:12: services[0]: ports is required"),
        ("services: [{}]", "1:12: services[0]: hostname is required"),
        ("policies: [{}]", "1:12: policies[0]: scope is required"),
        ("policies: [{}]", "1:12: policies[0]: rules is required"),
        (
            "workloads: [{\(workload), waypoint: {destination: /10.0.0.9}}]",
            "1:77: workloads[0].waypoint: hboneMtlsPort is required"
        ),
        (
            "workloads: [{\(workload), locality: {region: a}}]",
            "1:77: workloads[0].locality: zone is required"
        ),
        // Words.
        (
            "workloads: [{\(workload), protocol: Hbone}]",
            "1:77: workloads[0].protocol: expected one of TCP, HBONE, got \"Hbone\"; did you mean"
                + " \"HBONE\"?"
        ),
        (
            "workloads: [{\(workload), protocol: 1}]",
            "1:77: workloads[0].protocol: expected one of TCP, HBONE, got 1"
        ),
        (
            "services: [{\(service), loadBalancer: {routingPreferences: [region], mode: Strict,"
                + " healthPolicy: AllowAll}}]",
            "1:106: services[0].loadBalancer.routingPreferences[0]: expected one of Region, Zone,"
                + " Subzone, Node, Cluster, Network, got \"region\"; did you mean \"Region\"?"
        ),
        // Addresses and ports.
        (
            "workloads: [{namespace: a, workloadIps: [10.0.0.256], services: {}}]",
            "1:42: workloads[0].workloadIps[0]: expected an IP address, got \"10.0.0.256\""
        ),
        (
            "workloads: [{namespace: a, workloadIps: 10.0.0.1, services: {}}]",
            "1:41: workloads[0].workloadIps: expected a list, got \"10.0.0.1\""
        ),
        (
            "services: [{name: s, namespace: a, hostname: h, vips: [10.0.0.1], ports: {}}]",
            "1:56: services[0].vips[0]: expected \"network/address\", got \"10.0.0.1\""
        ),
        (
            "services: [{\(service), cidrVips: [/10.0.0.0/33]}]",
            "1:81: services[0].cidrVips[0]: expected \"network/address/length\","
                + " got \"/10.0.0.0/33\""
        ),
        (
            "services: [{name: s, namespace: a, hostname: h, vips: [], ports: {80: 65536}}]",
            "1:71: services[0].ports.80: expected a port from 0 to 65535, got 65536"
        ),
        (
            "services: [{name: s, namespace: a, hostname: h, vips: [], ports: {http: 80}}]",
            "1:73: services[0].ports: \"http\" is no port: expected a number from 0 to 65535"
        ),
        (
            "workloads: [{\(workload), applicationTunnel: {protocol: PROXY, port: 0}}]",
            "1:110: workloads[0].applicationTunnel.port: expected a number from 1 to 65535, got 0"
        ),
        (
            "workloads: [{\(workload), waypoint: {destination: nowhere, hboneMtlsPort: 1}}]",
            "1:91: workloads[0].waypoint.destination: expected \"network/address\" or"
                + " \"namespace/hostname\", got \"nowhere\""
        ),
        (
            "workloads: [{namespace: a, workloadIps: [], services: {example.com: {80: 80}}}]",
            "1:69: workloads[0].services[\"example.com\"]: expected \"namespace/hostname\" as key,"
                + " got \"example.com\""
        ),
        // Policies.
        (policy("[[{}]]"), "1:93: policies[0].rules[0][0]: expected a list, got an empty object"),
        (policy("{}"), "1:91: policies[0].rules: expected a list, got an empty object"),
        (
            policy("[[[{sourceIps: [10.0.0.1]}]]]"),
            "1:107: policies[0].rules[0][0][0].sourceIps[0]: expected a network such as"
                + " \"10.0.0.0/8\", got \"10.0.0.1\"; did you mean \"10.0.0.1/32\"?"
        ),
        (
            policy("[[[{destinationPorts: [70000]}]]]"),
            "1:114: policies[0].rules[0][0][0].destinationPorts[0]: expected a port from 0 to 65535,"
                + " got 70000"
        ),
        (
            policy("[[[{principals: [!Exact spiffe://td/ns/a/sa/b]}]]]"),
            "1:108: policies[0].rules[0][0][0].principals[0]: principals are compared without"
                + " \"spiffe://\": this never matches"
        ),
        (
            policy("[[[{notPrincipals: [!Exact td/ns/a]}]]]"),
            "1:111: policies[0].rules[0][0][0].notPrincipals[0]: \"td/ns/a\" is no identity:"
                + " expected \"TRUST_DOMAIN/ns/NAMESPACE/sa/SERVICE_ACCOUNT\""
        ),
        // What is there twice.
        (
            "workloads: [{uid: u, \(workload)}, {uid: u, \(workload)}]",
            "1:76: workloads[1]: \"u\" is the uid of another workload"
        ),
        (
            "services: [{\(service)}, {\(service)}]",
            "1:71: services[1]: there is another service \"a/h\""
        ),
        (
            "workloads: [{namespace: a/b, workloadIps: [10.0.0.1], services: {}}]",
            "1:25: workloads[0].namespace: must not contain a slash: it becomes a part of the identity"
        ),
    ]

    @Test(arguments: refused)
    func `what is wrong is said with its place`(text: String, problem: String) {
        let (config, errors, _) = read(text)
        #expect(config == nil)
        #expect(errors.contains(problem), "\(errors)")
    }

    static let doubtful: [(String, String)] = [
        (
            "workloads: [{\(workload)}, {namespace: b, workloadIps: [10.0.0.1], services: {}}]",
            "1:97: workloads[1].workloadIps[0]: 10.0.0.1 is an address of \"a/\" too: pods come"
                + " before others, then those with HBONE, then the last"
        ),
        (
            "services: [{\(service)}, {name: t, namespace: a, hostname: i, vips: [/10.0.0.1],"
                + " ports: {}}, {name: u, namespace: a, hostname: j, vips: [/10.0.0.1], ports: {}}]",
            "1:183: services[2].vips[0]: 10.0.0.1 is a VIP of \"a/i\" too: connections to it come here"
        ),
        (
            "workloads: [{namespace: a, workloadIps: [10.0.0.1], services: {a/g: {80: 80}}}]\n"
                + "services: [{\(service)}]",
            "1:69: workloads[0].services[\"a/g\"]: there is no service \"a/g\"; did you mean \"a/h\"?"
        ),
        (
            "workloads: [{namespace: a, workloadIps: [10.0.0.1], services: {a/h: {80: 80}}}]\n"
                + "services: [{\(service)}]",
            "1:69: workloads[0].services[\"a/h\"]: the service has no port 80: nobody gets here by it"
        ),
        (
            "workloads: [{\(workload), authorizationPolicies: [a/q]}]\n" + policy("[]"),
            "1:91: workloads[0].authorizationPolicies[0]: there is no policy \"a/q\": it is skipped;"
                + " did you mean \"a/p\"?"
        ),
        (
            "workloads: [{\(workload), waypoint: {destination: a/w, hboneMtlsPort: 15008}}]",
            "1:77: workloads[0].waypoint: there is no waypoint \"a/w\": connections through it are"
                + " refused"
        ),
        (
            "workloads: [{\(workload), networkGateway: {destination: /10.0.0.1,"
                + " hboneMtlsPort: 15008}}]",
            "1:83: workloads[0].networkGateway: double HBONE through a network gateway is not"
                + " supported: connections to another network are refused"
        ),
        (
            "workloads: [{namespace: a, workloadIps: [], hostname: db.example, services: {}}]",
            "1:13: workloads[0]: \"db.example\" is not resolved: without an address nobody gets here"
        ),
        (
            policy("[[[{}]]]"),
            "1:12: policies[0]: rule 1, clause 1 has a match that asks nothing: it holds for nobody;"
                + " a clause without matches holds for all"
        ),
        (
            "services: [{\(service), subjectAltNames: [db.example]}]",
            "1:88: services[0].subjectAltNames[0]: \"db.example\" is no identity and ignored:"
                + " expected \"spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/SERVICE_ACCOUNT\""
        ),
    ]

    @Test(arguments: doubtful)
    func `what does not work is warned of with its place`(text: String, problem: String) {
        let (config, errors, warnings) = read(text)
        #expect(errors == [])
        #expect(config != nil)
        #expect(warnings.contains(problem), "\(warnings)")
    }

    /// As `LOCAL_XDS` and files of any name are.
    @Test func `a text whose name does not tell is JSON if it begins so, else YAML`() {
        let yaml = "workloads: [{\(Self.workload)}]"
        let json = #" {"workloads": [{"namespace": "a", "workloadIps": [], "services": {}}]}"#
        for name in ["LOCAL_XDS", "mesh", "mesh.conf"] {
            #expect(read(yaml, name).config?.workloads.count == 1)
            #expect(read(json, name).config?.workloads.count == 1)
        }
        #expect(read(yaml, "mesh.json").config == nil)
        #expect(read(json, "mesh.yaml").config?.workloads.count == 1)
    }

    @Test func `all errors are found in one run, in the order of the file`() {
        let (_, errors, warnings) = read(
            """
            services:
            - {name: s, namespace: a, hostname: h, vips: [x], ports: {80: y}}
            workloads:
            - {namespace: a, workloadIps: [z], services: {}, colour: red}
            """
        )
        #expect(
            errors == [
                "2:47: services[0].vips[0]: expected \"network/address\", got \"x\"",
                "2:63: services[0].ports.80: expected a port from 0 to 65535, got \"y\"",
                "4:32: workloads[0].workloadIps[0]: expected an IP address, got \"z\"",
                "4:50: workloads[0]: unknown field \"colour\"",
            ]
        )
        // What was not read is not said to be missing.
        #expect(warnings == [])
    }

    @Test func `a tag that is none of the file's is refused`() {
        let (config, errors, _) = read(Self.policy("[[[{namespaces: [!Regex a]}]]]"))
        #expect(config == nil)
        #expect(errors.first?.contains("!Regex") == true, "\(errors)")
    }
}
