import Foundation
import MeshLoad
import MeshSimulation
import Testing

@Suite struct LoadPlanTests {
    @Test func `a plan that went through JSON is the same plan`() throws {
        var plan = LoadPlan(target: "127.0.0.1:8080", traffic: .grpcStream)
        plan.rate = 1000
        plan.tls = LoadPlan.TLS(serverName: "server.test", authorityFile: "ca.pem")
        plan.watched = [WatchedProcess(name: "proxy", pid: 17)]
        let text = try JSONEncoder().encode(plan)
        #expect(try JSONDecoder().decode(LoadPlan.self, from: text) == plan)
    }

    @Test func `what a plan in JSON leaves out has its default`() throws {
        let text = #"{"target": "127.0.0.1:80", "traffic": "tcp-echo", "connections": 3}"#
        var plan = LoadPlan(target: "127.0.0.1:80", traffic: .tcpEcho)
        plan.connections = 3
        #expect(try JSONDecoder().decode(LoadPlan.self, from: Data(text.utf8)) == plan)
    }

    @Test(arguments: [
        #"{"target": "127.0.0.1:80", "traffic": "http1", "conections": 3}"#,
        #"{"target": "127.0.0.1:80", "traffic": "http1", "#
            + #""tls": {"serverName": "a", "authorityFile": "b", "resume": true}}"#,
    ])
    func `a plan in JSON with a field that does not exist is refused`(_ text: String) {
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode(LoadPlan.self, from: Data(text.utf8))
        }
    }

    @Test func `everything that cannot be done is told at once`() throws {
        var plan = LoadPlan(target: "127.0.0.1:80", traffic: .tcpDownload)
        plan.connections = 0
        plan.rate = 5
        plan.headers = ["no colon"]
        let loop = Simulation(seed: 1).makeLoop()
        let error = #expect(throws: LoadError.self) { try LoadGenerator(plan: plan, loop: loop) }
        let text = error?.description ?? ""
        for part in ["connections", "rate: tcp-download goes as fast as it can", "no colon"] {
            #expect(text.contains(part), "\(text)")
        }
    }

    @Test func `more connections than one source address has ports for need a loopback target`() {
        var plan = LoadPlan(target: "192.0.2.1:80", traffic: .idleHTTP1)
        plan.connections = 30_000
        let loop = Simulation(seed: 1).makeLoop()
        #expect(throws: LoadError.self) { try LoadGenerator(plan: plan, loop: loop) }
        plan.target = "127.0.0.1:80"
        #expect(throws: Never.self) { try LoadGenerator(plan: plan, loop: loop) }
    }
}
