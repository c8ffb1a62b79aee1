import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime
import Testing

struct RBACExplanationTests {
    private typealias F = RBACFixture

    private static let client = "spiffe://mesh/ns/default/sa/client"
    private static let intruder = "spiffe://mesh/ns/default/sa/intruder"

    private let engine = RBACEngine(
        RBACRules(
            action: .allow,
            policies: [
                F.policy(
                    "a-orders",
                    [
                        .all([
                            .header(HeaderMatchConfig(name: ":method", .value(.exact("GET")))),
                            .urlPath(PathMatch(.prefix("/orders"))),
                        ])
                    ],
                    [F.principal(client)]
                ),
                F.policy("b-health", [F.path("/health"), F.path("/ready")]),
            ]
        )
    )

    @Test func `an intruder learns which name was wanted and which it has`() {
        let explanation = engine.explain(F.request("/orders/1"), F.stream(peer: Self.intruder))
        #expect(!explanation.isAllowed)
        #expect(explanation.summary == "denied: none of the 2 policies that ALLOW matches")
        #expect(
            explanation.policies.map(\.firstFailure) == [
                #"principal: authenticated.principal_name exact "\#(Self.client)", found "\#(Self.intruder)""#,
                #"permission: url_path exact "/health", found "/orders/1""#,
            ]
        )
    }

    @Test func `the failing member of an all is the one that is named`() {
        let explanation = engine.explain(
            F.request("/orders", method: "POST"),
            F.stream(peer: Self.client)
        )
        #expect(
            explanation.policies.first?.firstFailure
                == #"permission: header :method exact "GET", found "POST""#
        )
        let path = engine.explain(F.request("/other?q=/orders"), F.stream(peer: Self.client))
        #expect(
            path.policies.first?.firstFailure
                == #"permission: url_path prefix "/orders", found "/other""#
        )
    }

    @Test func `evaluation ends with the policy that matches`() {
        let explanation = engine.explain(F.request("/orders"), F.stream(peer: Self.client))
        #expect(explanation.isAllowed)
        #expect(explanation.matchedPolicy == "a-orders")
        #expect(explanation.summary == "allowed: policy \"a-orders\" matches")
        #expect(explanation.policies.count == 1)
        #expect(explanation.skippedPolicies == 1)
        #expect(explanation.policies.first?.firstFailure == nil)
    }

    struct Found: Sendable {
        let condition: RBACCondition
        let words: String
    }

    static let founds: [Found] = [
        Found(condition: .not(.any), words: "not (any)"),
        Found(
            condition: .not(.header(HeaderMatchConfig(name: "x", .present(true)))),
            words: #"not (header x present), found "1 | 2""#
        ),
        Found(
            condition: .header(HeaderMatchConfig(name: "y", .present(true))),
            words: "header y present, found no such header"
        ),
        Found(condition: .destinationPort(1), words: "destination_port 1, found 127.0.0.1:15006"),
        Found(
            condition: .requestedServerName(.exact("a")),
            words: #"requested_server_name exact "a", found no server name"#
        ),
        Found(
            condition: .metadata(MetadataMatchConfig(filter: "f", path: ["k"], value: .bool(true))),
            words: "metadata f k true, found nothing"
        ),
        Found(
            condition: .authenticated(.exact("s")),
            words: #"authenticated.principal_name exact "s", found a connection without TLS"#
        ),
        Found(
            condition: .filterState(FilterStateMatchConfig(key: "k", .string(.exact("v")))),
            words: #"filter state k exact "v", found no such object"#
        ),
        Found(
            condition: .anyOf([.destinationPort(1), .destinationPort(2)]),
            words: "destination_port 1, found 127.0.0.1:15006"
        ),
        Found(
            condition: .all([.any, .not(.anyOf([.any]))]),
            words: "not (any of (any))"
        ),
    ]

    @Test(arguments: founds.indices)
    func `what was found is told in words`(index: Int) {
        let test = Self.founds[index]
        let engine = RBACEngine(
            RBACRules(action: .allow, policies: [F.policy("p", [test.condition])])
        )
        let request = F.request("/", fields: [("x", "1"), ("x", "2")])
        let explanation = engine.explain(request, F.stream())
        #expect(explanation.policies.first?.firstFailure == "permission: \(test.words)")
    }

    @Test func `the explanation is JSON`() {
        var json = JSONWriter()
        let engine = RBACEngine(
            RBACRules(action: .deny, policies: [F.policy("p", [.not(F.path("/a"))])])
        )
        engine.explain(F.request("/a"), F.stream()).write(to: &json)
        let buffer = json.finish()
        #expect(
            String(bytes: buffer.bytes)
                == #"{"action":"DENY","decision":"allowed","summary":"allowed: no policy that DENIES matches","#
                + #""policies":[{"name":"p","matches":false,"first_failure":"permission: not (url_path exact \"/a\"), found \"/a\"","#
                + #""permissions":[{"condition":"not (url_path exact \"/a\")","holds":false,"#
                + #""members":[{"condition":"url_path exact \"/a\"","holds":true,"found":"\"/a\""}]}],"#
                + #""principals":[]}]}"#
        )
    }

    @Test func `explanation and decision are one`() {
        for path in ["/orders", "/health", "/ready", "/x"] {
            for peer in [Self.client, Self.intruder] {
                let request = F.request(path)
                let decision = engine.decide(request, F.stream(peer: peer))
                let explanation = engine.explain(request, F.stream(peer: peer))
                #expect(decision.isAllowed == explanation.isAllowed)
                #expect(decision.policy.map { engine.policyNames[$0] } == explanation.matchedPolicy)
            }
        }
    }
}
