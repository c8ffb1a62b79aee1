import Foundation
import MeshLoad
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
}
