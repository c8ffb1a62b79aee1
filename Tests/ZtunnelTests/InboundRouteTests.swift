import MeshConfig
import MeshNet
import MeshRuntime
import Testing

@testable import Ztunnel

private let mesh = """
    workloads:
    - {uid: s, name: server, namespace: app, workloadIps: [10.0.0.2, fd00::2], protocol: HBONE,
       services: {app/echo.app: {80: 8080, 90: 9090}, app/more.app: {70: 7070}, app/self.app: {}}}
    - {uid: t, name: tunnel, namespace: app, workloadIps: [10.0.0.3, fd00::3], protocol: HBONE,
       applicationTunnel: {protocol: PROXY, port: 15088},
       services: {app/echo.app: {80: 8080}, app/bare.app: {80: 80}}}
    - {uid: k, name: keeper, namespace: app, workloadIps: [10.0.0.4],
       applicationTunnel: {protocol: PROXY}, services: {}}
    - {uid: n, name: none, namespace: app, workloadIps: [10.0.0.5],
       applicationTunnel: {protocol: NONE, port: 81}, services: {}}
    - {uid: w, name: waypoint, namespace: app, workloadIps: [10.0.0.6], services: {app/wps.app: {}}}
    - {uid: x, name: behind, namespace: app, workloadIps: [10.0.0.7],
       waypoint: {destination: /10.0.0.6, hboneMtlsPort: 15008}, services: {}}
    - {uid: y, name: beside, namespace: app, workloadIps: [10.0.0.8],
       waypoint: {destination: app/wps.app, hboneMtlsPort: 15008}, services: {}}
    services:
    - {name: echo, namespace: app, hostname: echo.app, vips: ['/fd00::1', other/10.1.0.2, /10.1.0.1],
       ports: {80: 80, 90: 0, 91: 0, 70: 8080}}
    - {name: more, namespace: app, hostname: more.app, vips: [], ports: {70: 0}}
    - {name: self, namespace: app, hostname: self.app, vips: [], ports: {80: 15008}}
    - {name: bare, namespace: app, hostname: bare.app, vips: [], ports: {80: 80}}
    - {name: wps, namespace: app, hostname: wps.app, vips: [], ports: {15008: 15008}}
    - {name: front, namespace: app, hostname: front.app, vips: [/10.1.0.5], ports: {80: 80},
       waypoint: {destination: app/wps.app, hboneMtlsPort: 15008}}
    """

struct InboundRouteTests {
    /// `ADDRESS`, with a tunnel `ADDRESS PROXY TARGET`; or the status and the reason.
    private func text(
        _ workload: String,
        _ authority: String,
        at address: String? = nil
    ) throws -> String {
        let mesh = try Mesh(mesh)
        let workload = try mesh.workload(workload)
        let local = try address.map { try #require(IPAddress($0)) } ?? workload.addresses[0]
        let route = mesh.state.inboundRoute(
            InboundRequest(
                authority: authority,
                localAddress: .ip(local, port: 15008),
                workload: workload,
                illegalPorts: [15001, 15006, 15008]
            )
        )
        switch route {
        case .connect(let target):
            #expect(target.proxyProtocol || target.address == target.destination)
            return target.proxyProtocol
                ? "\(target.address) PROXY \(target.tunnelTarget)" : "\(target.address)"
        case .refused(let status, let reason): return "\(status) \(reason)"
        }
    }

    static let routes: [(workload: String, authority: String, route: String)] = [
        // Its own address: only the port counts.
        ("server", "10.0.0.2:80", "10.0.0.2:80"),
        ("server", "10.0.0.9:80", "400 ip mismatch: 10.0.0.2 != 10.0.0.9"),
        ("server", "10.0.0.2:15008", "503 attempted recursive call to ourselves"),
        ("server", "10.0.0.2:15001", "503 attempted recursive call to ourselves"),
        // A service: its own port first, then the service's; 0 is none.
        ("server", "echo.app:80", "10.0.0.2:8080"),
        ("server", "echo.app:90", "10.0.0.2:9090"),
        ("server", "echo.app:70", "10.0.0.2:8080"),
        (
            "server", "echo.app:91",
            "503 requested service echo.app:91 found, but cannot resolve port"
        ),
        (
            "server", "echo.app:99",
            "503 requested service echo.app:99 found, but cannot resolve port"
        ),
        ("server", "nobody.app:80", "503 no service or workload for hostname: nobody.app"),
        ("server", "self.app:80", "503 attempted recursive call to ourselves"),
        // No address and no name with a port.
        ("server", "", "400 no valid authority pseudo header: "),
        ("server", "10.0.0.2", "400 no valid authority pseudo header: 10.0.0.2"),
        ("server", "echo.app", "400 no valid authority pseudo header: echo.app"),
        ("server", ":80", "400 no valid authority pseudo header: :80"),
        ("server", "10.0.0.2:", "400 no valid authority pseudo header: 10.0.0.2:"),
        ("server", "10.0.0.2:65536", "400 no valid authority pseudo header: 10.0.0.2:65536"),
        ("server", "10.0.0.2:+80", "400 no valid authority pseudo header: 10.0.0.2:+80"),
        ("server", "fd00::2:80", "400 no valid authority pseudo header: fd00::2:80"),
        ("server", "[10.0.0.2]:80", "400 no valid authority pseudo header: [10.0.0.2]:80"),
        ("server", "user@echo.app:80", "400 no valid authority pseudo header: user@echo.app:80"),
        // A tunnel goes to the loopback address; what is meant goes into PROXY.
        ("tunnel", "10.0.0.3:80", "127.0.0.1:15088 PROXY 10.0.0.3:80"),
        ("tunnel", "10.0.0.9:80", "127.0.0.1:15088 PROXY 10.0.0.9:80"),
        ("tunnel", "echo.app:80", "127.0.0.1:15088 PROXY 10.1.0.1:80"),
        ("tunnel", "bare.app:80", "503 requested service bare.app found, but has no IP addresses"),
        ("tunnel", "10.0.0.3:15008", "503 attempted recursive call to ourselves"),
        ("keeper", "10.1.2.3:80", "127.0.0.1:80 PROXY 10.1.2.3:80"),
        ("none", "10.0.0.5:80", "10.0.0.5:81"),
        // A waypoint serves those that name it, by address or as a service.
        ("waypoint", "10.0.0.7:80", "10.0.0.6:80"),
        ("waypoint", "10.0.0.8:80", "10.0.0.6:80"),
        ("waypoint", "10.1.0.5:80", "10.0.0.6:80"),
        ("waypoint", "10.0.0.2:80", "400 ip mismatch: 10.0.0.6 != 10.0.0.2"),
        ("server", "10.0.0.7:80", "400 ip mismatch: 10.0.0.2 != 10.0.0.7"),
    ]

    @Test(arguments: routes)
    func `a CONNECT goes to the workload where it came in, or is refused with a status`(
        workload: String,
        authority: String,
        route: String
    ) throws {
        #expect(try text(workload, authority) == route)
    }

    @Test func `a CONNECT over IPv6 stays there`() throws {
        #expect(try text("server", "[fd00::2]:80", at: "fd00::2") == "[fd00::2]:80")
        #expect(
            try text("tunnel", "echo.app:80", at: "fd00::3") == "[::1]:15088 PROXY 10.1.0.1:80"
        )
        #expect(
            try text("server", "10.0.0.2:80", at: "fd00::2")
                == "400 ip mismatch: fd00::2 != 10.0.0.2"
        )
    }

    static let guesses: [(authority: String, forwarded: String?, service: String?)] = [
        ("10.0.0.2:8080", nil, "echo"),
        ("10.0.0.2:9090", nil, "echo"),
        ("10.0.0.2:7070", nil, "more"),
        ("10.0.0.2:1234", nil, nil),
        ("10.0.0.2:8080", "more.app", "more"),
        // Services of others are not believed.
        ("10.0.0.2:8080", "front.app", "echo"),
        ("echo.app:80", "more.app", "echo"),
    ]

    @Test(arguments: guesses)
    func `which service is meant is told by name, by header, by port`(
        authority: String,
        forwarded: String?,
        service: String?
    ) throws {
        let mesh = try Mesh(mesh)
        let server = try mesh.workload("server")
        let route = mesh.state.inboundRoute(
            InboundRequest(
                authority: authority,
                localAddress: .ip(server.addresses[0], port: 15008),
                workload: server,
                illegalPorts: [],
                forwardedHost: forwarded
            )
        )
        guard case .connect(let target) = route else {
            Issue.record("refused")
            return
        }
        #expect(target.service?.name == service)
    }

    @Test func `policies see the workload's address and port, not the loopback's`() throws {
        let mesh = try Mesh(mesh)
        let tunnel = try mesh.workload("tunnel")
        let route = mesh.state.inboundRoute(
            InboundRequest(
                authority: "10.0.0.3:80",
                localAddress: .ip(tunnel.addresses[0], port: 15008),
                workload: tunnel,
                illegalPorts: []
            )
        )
        guard case .connect(let target) = route else {
            Issue.record("refused")
            return
        }
        #expect(target.destination.description == "10.0.0.3:15088")
        #expect(target.address.description == "127.0.0.1:15088")
    }
}
