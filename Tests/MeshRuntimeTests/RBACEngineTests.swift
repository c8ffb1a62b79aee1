import MeshConfig
import MeshHTTP
import MeshNet
import Testing

@testable import MeshRuntime

enum RBACFixture {
    static func stream(
        peer: String? = nil,
        dnsNames: [String] = [],
        subject: String = "",
        remote: String = "10.0.0.1"
    ) -> StreamInfo {
        let address = SocketAddress.ip(IPAddress(remote) ?? IPAddress(ipv4: 0), port: 1)
        let connection = ConnectionInfo(
            remoteAddress: address,
            localAddress: .ip(IPAddress(ipv4: 0x7F00_0001), port: 15_006),
            start: Instant(nanoseconds: 0),
            startWall: WallTime(nanoseconds: 0)
        )
        if let peer {
            connection.tls = TLSConnectionInfo(
                peer: CertificateInfo(uriSANs: [peer], dnsSANs: dnsNames, subject: subject)
            )
        }
        return StreamInfo(
            connection: connection,
            start: connection.start,
            startWall: connection.startWall
        )
    }

    static func request(
        _ path: String = "/",
        method: String = "GET",
        fields: [(String, String)] = []
    ) -> HeaderMap {
        let map = HeaderMap()
        map.append(.method, method)
        map.append(.path, path)
        map.append(.authority, "example")
        for (name, value) in fields { map.append(HeaderName(name), value) }
        return map
    }

    static func path(_ path: String) -> RBACCondition { .urlPath(PathMatch(.exact(path))) }
    static func principal(_ name: String) -> RBACCondition { .authenticated(.exact(name)) }

    static func policy(
        _ name: String,
        _ permissions: [RBACCondition] = [.any],
        _ principals: [RBACCondition] = [.any]
    ) -> RBACPolicyConfig {
        RBACPolicyConfig(name: name, permissions: permissions, principals: principals)
    }
}

struct RBACEngineTests {
    private typealias F = RBACFixture

    @Test func `ALLOW without policies denies and DENY without policies allows`() {
        let stream = F.stream()
        let request = F.request()
        for action in RBACAction.allCases {
            let engine = RBACEngine(RBACRules(action: action, policies: []))
            let decision = engine.decide(request, stream)
            #expect(decision == RBACDecision(isAllowed: action != .allow, policy: nil))
        }
    }

    @Test func `Istio's deny-all never matches and allow-all always does`() {
        let stream = F.stream()
        let none = F.policy("none", [.not(.any)], [.not(.any)])
        #expect(
            !RBACEngine(RBACRules(action: .allow, policies: [none])).decide(F.request(), stream)
                .isAllowed
        )
        #expect(
            RBACEngine(RBACRules(action: .deny, policies: [none])).decide(F.request(), stream)
                .isAllowed
        )
        let all = RBACEngine(RBACRules(action: .allow, policies: [F.policy("all")]))
        #expect(all.decide(nil, stream) == RBACDecision(isAllowed: true, policy: 0))
    }

    @Test func `the first policy in the order of names is the one that is named`() {
        // One policy in each index and one in none, so that the order has to hold across them.
        let policies = [
            F.policy("c"), F.policy("b", [F.path("/x")]),
            F.policy("a", [.any], [F.principal("spiffe://p")]),
        ]
        let engine = RBACEngine(RBACRules(action: .allow, policies: policies))
        #expect(engine.policyNames == ["a", "b", "c"])
        #expect(engine.decide(F.request("/x"), F.stream(peer: "spiffe://p")).policy == 0)
        #expect(engine.decide(F.request("/x"), F.stream(peer: "spiffe://q")).policy == 1)
        #expect(engine.decide(F.request("/x?q"), F.stream()).policy == 1)
        #expect(engine.decide(F.request("/y"), F.stream()).policy == 2)
        #expect(engine.decide(nil, F.stream(peer: "spiffe://p")).policy == 0)
    }

    @Test func `a principal is any URI name, any DNS name or the subject`() {
        let policies = ["u", "d1", "d2", "CN=s"].map { F.policy($0, [.any], [F.principal($0)]) }
        for name in ["u", "d1", "d2", "CN=s"] {
            let engine = RBACEngine(
                RBACRules(action: .allow, policies: policies.filter { $0.name == name })
            )
            let stream = F.stream(peer: "u", dnsNames: ["d1", "d2"], subject: "CN=s")
            #expect(engine.decide(F.request(), stream).isAllowed, "\(name)")
            #expect(!engine.decide(F.request(), F.stream(peer: "x")).isAllowed, "\(name)")
            #expect(!engine.decide(F.request(), F.stream()).isAllowed, "\(name)")
        }
    }

    @Test func `a peer without certificate has the empty subject`() {
        let stream = F.stream()
        stream.connection.tls = TLSConnectionInfo()
        let named = RBACEngine(
            RBACRules(action: .allow, policies: [F.policy("p", [.any], [F.principal("")])])
        )
        #expect(named.decide(nil, stream).isAllowed)
        let any = RBACEngine(
            RBACRules(action: .allow, policies: [F.policy("p", [.any], [.authenticated(nil)])])
        )
        #expect(any.decide(nil, stream).isAllowed)
        #expect(!any.decide(nil, F.stream()).isAllowed)
    }

    @Test func `where there are no headers, conditions on them fail and their negations hold`() {
        let header = RBACCondition.header(HeaderMatchConfig(name: "a", .present(false)))
        for condition in [header, F.path("/"), .urlPath(PathMatch(.prefix("/")))] {
            let engine = RBACEngine(
                RBACRules(action: .allow, policies: [F.policy("p", [condition])])
            )
            #expect(!engine.decide(nil, F.stream()).isAllowed)
            let negated = RBACEngine(
                RBACRules(action: .allow, policies: [F.policy("p", [.not(condition)])])
            )
            #expect(negated.decide(nil, F.stream()).isAllowed)
        }
    }

    @Test func `texts that only Unicode takes for equal are different keys`() {
        // U+00E9 and U+0065 U+0301 are one character in two normal forms.
        let policies = [F.policy("a", [F.path("/\u{E9}")]), F.policy("b", [F.path("/e\u{301}")])]
        let engine = RBACEngine(RBACRules(action: .deny, policies: policies))
        #expect(engine.decide(F.request("/\u{E9}"), F.stream()).policy == 0)
        #expect(engine.decide(F.request("/e\u{301}"), F.stream()).policy == 1)
        #expect(engine.decide(F.request("/e"), F.stream()).policy == nil)
    }

    @Test(arguments: [
        ("", "none"), ("plain", "plain"), ("a b\tc", "a_b_c"),
        ("ns[foo]-policy[deny-all]-rule[0]", "ns[foo]-policy[deny-all]-rule[0]"),
    ])
    func `details of a denial name the policy without blanks`(name: String, expected: String) {
        let engine = RBACEngine(RBACRules(action: .deny, policies: [F.policy(name)]))
        let decision = engine.decide(F.request(), F.stream())
        #expect(engine.deniedDetails(decision) == "rbac_access_denied_matched_policy[\(expected)]")
    }

    @Test func `indexed and plain evaluation agree on random rules`() {
        var random = SplitMix(state: 42)
        let paths = (0..<6).map { "/p\($0)" }
        let names = (0..<6).map { "spiffe://n\($0)" }
        func condition(_ depth: Int) -> RBACCondition {
            switch random.next() % (depth > 0 ? 9 : 6) {
            case 0, 1: F.path(paths[Int(random.next() % 6)])
            case 2, 3: F.principal(names[Int(random.next() % 6)])
            case 4: .any
            case 5: .header(HeaderMatchConfig(name: "x", .present(true)))
            case 6: .all((0...random.next() % 3).map { _ in condition(depth - 1) })
            case 7: .anyOf((0...random.next() % 3).map { _ in condition(depth - 1) })
            default: .not(condition(depth - 1))
            }
        }
        func list() -> [RBACCondition] { (0...random.next() % 3).map { _ in condition(2) } }
        for _ in 0..<200 {
            let policies = (0..<8).map { F.policy("\($0)", list(), list()) }
            let engine = RBACEngine(RBACRules(action: .allow, policies: policies))
            for _ in 0..<10 {
                let request = F.request(
                    paths[Int(random.next() % 6)],
                    fields: random.next() % 2 == 0 ? [("x", "")] : []
                )
                let stream = F.stream(
                    peer: random.next() % 4 == 0 ? nil : names[Int(random.next() % 6)],
                    dnsNames: [names[Int(random.next() % 6)]]
                )
                let plain = policies.indices.first { policy in
                    var trace = NoRBACTrace()
                    return engine.matches(policy, request, stream, &trace)
                }
                #expect(engine.decide(request, stream).policy == plain)
            }
        }
    }
}

/// A seeded generator, so that a failure can be run again.
private struct SplitMix {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
        return z ^ z >> 31
    }
}
