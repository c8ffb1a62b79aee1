import MeshConfig
import MeshNet
import MeshRuntime
import Testing

@testable import Ztunnel

/// A client, servers and services of all kinds. Services are reached at 10.1.0.x.
private let town = """
    workloads:
    - {name: client, namespace: web, serviceAccount: shop, workloadIps: [10.0.0.1], node: n1,
       locality: {region: r1, zone: z1, subzone: s1}, services: {}}
    - {uid: a, name: a, namespace: app, serviceAccount: a, workloadIps: [10.0.0.2], protocol: HBONE,
       node: n2, locality: {region: r1, zone: z1, subzone: s2},
       services: {app/echo.app: {80: 8080, 90: 9090}, app/near.app: {80: 8080}, app/strict.app: {80: 8080},
                  app/sick.app: {80: 80}, app/all.app: {80: 8080}}}
    - {uid: b, name: b, namespace: app, serviceAccount: b, workloadIps: [10.0.0.3], node: n1,
       locality: {region: r1, zone: z2, subzone: s1}, capacity: 3,
       services: {app/echo.app: {80: 8080}, app/near.app: {80: 8080}}}
    - {uid: sick, name: sick, namespace: app, workloadIps: [10.0.0.4], status: Unhealthy,
       services: {app/all.app: {80: 8081}, app/ill.app: {80: 80}}}
    - {uid: far, name: far, namespace: app, workloadIps: [10.0.0.2], network: remote,
       networkGateway: {destination: remote/10.9.0.1, hboneMtlsPort: 15008},
       services: {app/far.app: {80: 80}, app/echo.app: {80: 8080}}}
    - {uid: dual, name: dual, namespace: app, workloadIps: [10.0.0.5, fd00::5], protocol: HBONE,
       services: {app/dual.app: {80: 80}, app/dual4.app: {80: 80}, app/dual6.app: {80: 80}}}
    - {uid: node, name: node, namespace: app, workloadIps: [10.0.0.6], networkMode: HostNetwork,
       services: {app/host.app: {80: 80}}}
    - {uid: nameless, name: nameless, namespace: app, workloadIps: [], hostname: db.example,
       services: {app/named.app: {80: 80}}}
    services:
    - {name: echo, namespace: app, hostname: echo.app, vips: [/10.1.0.1], ports: {80: 8080, 90: 0},
       subjectAltNames: [spiffe://cluster.local/ns/app/sa/a, spiffe://cluster.local/ns/app/sa/0]}
    - {name: near, namespace: app, hostname: near.app, vips: [/10.1.0.2], ports: {80: 0, 81: 0},
       loadBalancer: {routingPreferences: [Region, Zone], mode: Failover, healthPolicy: OnlyHealthy}}
    - {name: strict, namespace: app, hostname: strict.app, vips: [/10.1.0.3], ports: {80: 80},
       loadBalancer: {routingPreferences: [Region, Zone, Subzone], mode: Strict,
                      healthPolicy: OnlyHealthy}}
    - {name: past, namespace: app, hostname: past.app, vips: [/10.1.0.4], ports: {80: 80},
       loadBalancer: {routingPreferences: [], mode: Passthrough, healthPolicy: OnlyHealthy}}
    - {name: all, namespace: app, hostname: all.app, vips: [/10.1.0.5], ports: {80: 80},
       loadBalancer: {routingPreferences: [], mode: Standard, healthPolicy: AllowAll}}
    - {name: ill, namespace: app, hostname: ill.app, vips: [/10.1.0.6], ports: {80: 80}}
    - {name: far, namespace: app, hostname: far.app, vips: [/10.1.0.7, remote/10.1.0.1], ports: {80: 80}}
    - {name: dual, namespace: app, hostname: dual.app, vips: ['/10.1.0.8', '/fd00::8'], ports: {80: 80}}
    - {name: dual4, namespace: app, hostname: dual4.app, vips: ['/fd00::4'], ports: {80: 80},
       ipFamilies: IPv4}
    - {name: dual6, namespace: app, hostname: dual6.app, vips: [/10.1.0.9], ports: {80: 80},
       ipFamilies: IPv6}
    - {name: host, namespace: app, hostname: host.app, vips: [/10.1.0.10], ports: {80: 80}}
    - {name: named, namespace: app, hostname: named.app, vips: [/10.1.0.11], ports: {80: 80}}
    - {name: wide, namespace: app, hostname: wide.app, vips: [], cidrVips: [/10.0.0.0/8, /10.2.0.0/16],
       ports: {80: 80}, endpoints: {b: {workloadUid: b, port: {80: 1}, status: Healthy}}}
    - {name: slim, namespace: app, hostname: slim.app, vips: [], cidrVips: [/10.2.3.0/24],
       ports: {80: 80}, endpoints: {b: {workloadUid: b, port: {80: 2}, status: Healthy}}}
    """

struct MeshStateTests {
    static let routes: [(destination: String, port: UInt16, route: String)] = [
        // Workloads, by their addresses: the port is the client's.
        ("10.0.0.2", 80, "tunnel 10.0.0.2:15008 10.0.0.2:80"),
        ("10.0.0.3", 81, "direct 10.0.0.3:81"),
        ("10.0.0.4", 80, "direct 10.0.0.4:80"),
        ("fd00::5", 80, "tunnel [fd00::5]:15008 [fd00::5]:80"),
        // A node's address is nobody's.
        ("192.0.2.1", 80, "passthrough"),
        // Services: ports are translated, the workload's own before the service's.
        ("10.1.0.1", 90, "tunnel 10.0.0.2:15008 10.0.0.2:9090"),
        ("10.1.0.1", 81, "no healthy upstream: 10.1.0.1:81"),
        ("10.1.0.2", 81, "no healthy upstream: 10.1.0.2:81"),
        // Zone z1 is nearer than z2; strictly nobody is near enough.
        ("10.1.0.2", 80, "tunnel 10.0.0.2:15008 10.0.0.2:8080"),
        ("10.1.0.3", 80, "no healthy upstream: 10.1.0.3:80"),
        ("10.1.0.4", 80, "passthrough"),
        ("10.1.0.6", 80, "no healthy upstream: 10.1.0.6:80"),
        (
            "10.1.0.7", 80,
            "unsupported feature: far.app is in another network, and double HBONE through its gateway"
                + " is not supported"
        ),
        // The family of the client's address, unless the service has another.
        ("10.1.0.8", 80, "tunnel 10.0.0.5:15008 10.0.0.5:80"),
        ("fd00::8", 80, "tunnel [fd00::5]:15008 [fd00::5]:80"),
        ("fd00::4", 80, "tunnel 10.0.0.5:15008 10.0.0.5:80"),
        ("10.1.0.9", 80, "tunnel [fd00::5]:15008 [fd00::5]:80"),
        ("10.1.0.10", 80, "direct 10.0.0.6:80"),
        ("10.1.0.11", 80, "no healthy upstream: 10.1.0.11:80"),
        // Ranges come last, the longest prefix first.
        ("10.0.0.6", 80, "direct 10.0.0.3:1"),
        ("10.2.0.1", 80, "direct 10.0.0.3:1"),
        ("10.2.3.4", 80, "direct 10.0.0.3:2"),
        ("10.2.3.4", 81, "no healthy upstream: 10.2.3.4:81"),
        ("11.0.0.1", 80, "passthrough"),
    ]

    @Test(arguments: routes)
    func `a connection goes where its address says`(
        destination: String,
        port: UInt16,
        route: String
    ) throws {
        #expect(try Mesh(town).text(destination, port) == route)
    }

    @Test func `a tunnel knows whom it must meet and whom it is for`() throws {
        let mesh = try Mesh(town)
        let direct = try #require(mesh.tunnel("10.0.0.2", 80))
        #expect(direct.identities.map(\.description) == ["spiffe://cluster.local/ns/app/sa/a"])
        #expect(direct.workload === (try mesh.workload("a")))
        #expect(direct.service == nil && direct.forwardedHost == nil && !direct.isWaypoint)

        // The service's names come on top, sorted, without repetitions.
        let service = try #require(mesh.tunnel("10.1.0.1", 90))
        #expect(
            service.identities.map(\.description) == [
                "spiffe://cluster.local/ns/app/sa/0", "spiffe://cluster.local/ns/app/sa/a",
            ]
        )
        #expect(service.service?.hostname == "echo.app" && service.forwardedHost == "echo.app")
    }

    @Test func `endpoints are chosen at random by capacity`() throws {
        let mesh = try Mesh(town)
        var counts: [String: Int] = [:]
        for _ in 0..<4000 { counts[mesh.text("10.1.0.1", 80), default: 0] += 1 }
        #expect(counts.count == 2)
        let share = counts["direct 10.0.0.3:8080"] ?? 0
        #expect((2900...3100).contains(share), "b has three quarters of the capacity: \(share)")
    }

    @Test func `the unhealthy are chosen where the service says so`() throws {
        let mesh = try Mesh(town)
        var found: Set<String> = []
        for _ in 0..<100 { found.insert(mesh.text("10.1.0.5", 80)) }
        #expect(found == ["tunnel 10.0.0.2:15008 10.0.0.2:8080", "direct 10.0.0.4:8081"])
    }

    @Test func `who has no capacity is not chosen`() throws {
        let mesh = try Mesh(
            """
            workloads:
            - {name: client, namespace: a, workloadIps: [10.0.0.1], services: {}}
            - {name: x, namespace: a, workloadIps: [10.0.0.2], capacity: 0, services: {a/s: {}}}
            services: [{name: s, namespace: a, hostname: s, vips: [/10.1.0.1], ports: {80: 80}}]
            """
        )
        #expect(mesh.text("10.1.0.1", 80) == "no healthy upstream: 10.1.0.1:80")
    }

    @Test func `of services with one address that of the client's namespace is meant`() throws {
        let mesh = try Mesh(
            """
            workloads:
            - {name: client, namespace: a, workloadIps: [10.0.0.1], services: {}}
            - {name: other, namespace: z, workloadIps: [10.0.0.2], services: {}}
            - {name: wa, namespace: a, workloadIps: [10.0.0.3], services: {a/s: {}}}
            - {name: wb, namespace: b, workloadIps: [10.0.0.4], services: {b/s: {}}}
            services:
            - {name: s, namespace: a, hostname: s, vips: [/10.1.0.1], ports: {80: 80}}
            - {name: s, namespace: b, hostname: s, vips: [/10.1.0.1], ports: {80: 80}, canonical: true}
            """
        )
        #expect(mesh.text("10.1.0.1", 80) == "direct 10.0.0.3:80")
        #expect(mesh.text("10.1.0.1", 80, from: "other") == "direct 10.0.0.4:80")
        #expect(mesh.state.service(hostname: "s")?.namespace == "b")
        #expect(mesh.state.service(at: try #require(IPAddress("10.1.0.1")))?.namespace == "b")
    }

    @Test func `a service of a namespace is not there for others, whatever it hides`() throws {
        let mesh = try Mesh(
            """
            workloads:
            - {name: client, namespace: a, workloadIps: [10.0.0.1], services: {}}
            - {name: other, namespace: z, workloadIps: [10.0.0.2], services: {}}
            - {name: wa, namespace: a, workloadIps: [10.0.0.3], services: {a/s: {}, a/r: {}}}
            - {name: wb, namespace: b, workloadIps: [10.0.0.4], services: {b/s: {}, b/r: {}}}
            services:
            - {name: s, namespace: a, hostname: s, vips: [/10.1.0.1], ports: {80: 80},
               visibility: Namespace}
            - {name: s, namespace: b, hostname: s, vips: [/10.1.0.1], ports: {80: 80}}
            - {name: o, namespace: a, hostname: o, vips: [/10.1.0.2], ports: {80: 80},
               visibility: Namespace}
            - {name: r, namespace: a, hostname: r, vips: [], cidrVips: [/10.2.0.0/24], ports: {80: 80},
               visibility: Namespace}
            - {name: r, namespace: b, hostname: r, vips: [], cidrVips: [/10.2.0.0/16], ports: {80: 80},
               visibility: Public}
            """
        )
        #expect(mesh.text("10.1.0.1", 80) == "direct 10.0.0.3:80")
        #expect(mesh.text("10.1.0.1", 80, from: "other") == "direct 10.0.0.4:80")
        #expect(mesh.text("10.1.0.2", 80) == "no healthy upstream: 10.1.0.2:80")
        #expect(mesh.text("10.1.0.2", 80, from: "other") == "passthrough")
        #expect(mesh.text("10.2.0.1", 80) == "direct 10.0.0.3:80")
        #expect(mesh.text("10.2.0.1", 80, from: "other") == "direct 10.0.0.4:80")
    }

    @Test func `addresses mean something in one's own network alone`() throws {
        let mesh = try Mesh(town, network: "remote")
        #expect(mesh.text("10.0.0.2", 80) == "direct 10.0.0.2:80")
        #expect(mesh.text("10.0.0.3", 80) == "passthrough")
        #expect(mesh.text("10.1.0.1", 80) == "direct 10.0.0.2:80")
    }

    @Test func `of workloads with one address the pod is meant, then who speaks HBONE`() throws {
        let mesh = try Mesh(
            """
            workloads:
            - {uid: c//Pod/x, name: pod, namespace: a, workloadIps: [10.0.0.1], services: {}}
            - {uid: e, name: entry, namespace: a, workloadIps: [10.0.0.1, 10.0.0.2], protocol: HBONE,
               services: {}}
            - {uid: f, name: plain, namespace: a, workloadIps: [10.0.0.2], services: {}}
            """
        )
        let first = try #require(IPAddress("10.0.0.1"))
        let second = try #require(IPAddress("10.0.0.2"))
        #expect(mesh.state.workload(at: first)?.name == "pod")
        #expect(mesh.state.workload(at: second)?.name == "entry")
    }

    @Test func `a workload is found by name and in the state that comes next`() throws {
        let before = try Mesh(town)
        let after = try Mesh(town)
        let client = try before.workload("client")
        #expect(
            before.state.workload(named: "client", namespace: "web", serviceAccount: "shop")
                === client
        )
        #expect(
            before.state.workload(named: "client", namespace: "web", serviceAccount: "x") == nil
        )
        #expect(before.state.current(client) === client)
        #expect(after.state.current(client) === (try after.workload("client")))
        #expect(after.state.current(try before.workload("a")) === (try after.workload("a")))
        #expect(MeshState.empty.current(client) == nil)
        #expect(MeshState.empty.policies(for: client).isEmpty)
    }
}

// MARK: - Waypoints

/// Waypoint `wp` is a workload, and with `wp2` also the service `wps`.
private func waypoints(_ target: String, weighted: String = "") -> String {
    """
    workloads:
    - {name: client, namespace: web, workloadIps: [10.0.0.1], services: {}}
    - {uid: wp, name: wp, namespace: app, serviceAccount: wp, workloadIps: [10.0.0.9, fd00::9],
       protocol: HBONE, services: {app/wps.app: {}}}
    - {uid: wp2, name: wp2, namespace: app, serviceAccount: wp2, workloadIps: [10.0.0.8],
       hostname: wp2.app, applicationTunnel: {protocol: PROXY, port: 15088}, services: {}}
    - {uid: imposter, name: imposter, namespace: app, serviceAccount: wp, workloadIps: [10.0.0.7],
       services: {}}
    - {uid: s, name: s, namespace: app, workloadIps: [10.0.0.2, fd00::2], protocol: HBONE,
       waypoint: {destination: \(target), hboneMtlsPort: 15018},
       services: {app/svc.app: {80: 8080}, app/plain.app: {80: 8080}}}
    services:
    - {name: svc, namespace: app, hostname: svc.app, vips: ['/10.1.0.1', '/fd00::1'], ports: {80: 80},
       waypoint: {destination: \(target), hboneMtlsPort: 15018},
       subjectAltNames: [spiffe://cluster.local/ns/app/sa/svc]\(weighted)}
    - {name: plain, namespace: app, hostname: plain.app, vips: [/10.1.0.2], ports: {80: 80}}
    - {name: wps, namespace: app, hostname: wps.app, vips: [/10.1.0.9], ports: {15018: 15008},
       subjectAltNames: [spiffe://cluster.local/ns/app/sa/wps]}
    - {name: tun, namespace: app, hostname: tun.app, vips: [/10.1.0.10], ports: {},
       endpoints: {wp2: {workloadUid: wp2, port: {}, status: Healthy}}}
    """
}

struct WaypointTests {
    static let targets: [(target: String, gateway: String)] = [
        ("/10.0.0.9", "10.0.0.9:15018"),
        ("'/fd00::9'", "[fd00::9]:15018"),
        ("app/wps.app", "10.0.0.9:15008"),
        ("{namespace: app, hostname: wps.app}", "10.0.0.9:15008"),
        ("/10.1.0.9", "10.0.0.9:15008"),
        ("app/wp2.app", "10.0.0.8:15018"),
        // An application tunnel takes ports that no service has.
        ("app/tun.app", "10.0.0.8:15018"),
    ]

    @Test(arguments: targets)
    func `a service and a workload are reached through their waypoint, with the address meant`(
        target: String,
        gateway: String
    ) throws {
        let mesh = try Mesh(waypoints(target))
        #expect(mesh.text("10.1.0.1", 80) == "waypoint \(gateway) 10.1.0.1:80")
        #expect(mesh.text("10.0.0.2", 81) == "waypoint \(gateway) 10.0.0.2:81")
        // A service without one goes past the workload's.
        #expect(mesh.text("10.1.0.2", 80) == "tunnel 10.0.0.2:15008 10.0.0.2:8080")
    }

    @Test func `a waypoint's family is the client's, unless it has an address`() throws {
        let named = try Mesh(waypoints("app/wps.app"))
        #expect(named.text("fd00::1", 80) == "waypoint [fd00::9]:15008 [fd00::1]:80")
        let address = try Mesh(waypoints("/10.0.0.9"))
        #expect(address.text("fd00::1", 80) == "waypoint 10.0.0.9:15018 [fd00::1]:80")
    }

    @Test func `a waypoint proves its own identity or its service's, not the target's`() throws {
        let mesh = try Mesh(waypoints("app/wps.app"))
        let tunnel = try #require(mesh.tunnel("10.1.0.1", 80))
        #expect(
            tunnel.identities.map(\.description) == [
                "spiffe://cluster.local/ns/app/sa/wp", "spiffe://cluster.local/ns/app/sa/wps",
            ]
        )
        #expect(tunnel.workload?.name == "wp" && tunnel.service?.name == "svc")
        #expect(tunnel.isWaypoint && tunnel.forwardedHost == "svc.app")
        let workload = try #require(mesh.tunnel("10.0.0.2", 80))
        #expect(workload.service == nil && workload.forwardedHost == nil)
    }

    @Test(arguments: ["/10.0.0.9", "app/wps.app"])
    func `a waypoint's own connections go to the workload itself`(target: String) throws {
        let mesh = try Mesh(waypoints(target))
        #expect(mesh.text("10.0.0.2", 80, from: "wp") == "tunnel 10.0.0.2:15008 10.0.0.2:80")
        // The identity alone is not enough.
        let other = mesh.text("10.0.0.2", 80, from: "imposter")
        #expect(other.hasPrefix("waypoint 10.0.0.9:"))
    }

    static let missing: [(target: String, reason: String)] = [
        ("app/nobody.app", "unknown waypoint: waypoint app/nobody.app not found"),
        ("/10.9.9.9", "unknown waypoint: waypoint /10.9.9.9 not found"),
        ("app/plain.app", "unknown waypoint: waypoint app/plain.app has no endpoint"),
    ]

    @Test(arguments: missing)
    func `without its waypoint nothing is reached`(target: String, reason: String) throws {
        let mesh = try Mesh(waypoints(target))
        #expect(mesh.text("10.1.0.1", 80) == reason)
        #expect(mesh.text("10.0.0.2", 80) == reason)
    }

    @Test func `weighted waypoints share connections`() throws {
        let weighted = """
            , weightedWaypoints: [
              {destination: {destination: /10.0.0.9, hboneMtlsPort: 1}, weight: 3},
              {destination: /10.0.0.8, hboneMtlsPort: 2, weight: 1},
              {destination: /10.0.0.7, hboneMtlsPort: 3, weight: 0}]
            """
        let mesh = try Mesh(waypoints("/10.0.0.9", weighted: weighted))
        var counts: [String: Int] = [:]
        for _ in 0..<4000 { counts[mesh.text("10.1.0.1", 80), default: 0] += 1 }
        #expect(
            counts.keys.sorted() == [
                "waypoint 10.0.0.8:2 10.1.0.1:80", "waypoint 10.0.0.9:1 10.1.0.1:80",
            ]
        )
        let share = counts["waypoint 10.0.0.9:1 10.1.0.1:80"] ?? 0
        #expect((2900...3100).contains(share), "\(share)")
    }
}
