import MeshConfig
import MeshNet
import MeshRuntime
import Testing

@testable import Ztunnel

/// The policies of a workload in namespace `default` that names `default/named`.
private func policies(_ yaml: String) throws -> PolicySet {
    let mesh = try Mesh(
        """
        workloads:
        - {name: server, namespace: default, workloadIps: [10.0.0.2], services: {},
           authorizationPolicies: [default/named]}
        policies:
        \(yaml)
        """
    )
    return mesh.state.policies(for: try mesh.workload("server"))
}

/// A policy of namespace `default` in YAML.
private func policy(
    _ action: String,
    _ rules: String,
    name: String = "p",
    scope: String = "Namespace",
    isDryRun: Bool = false
) -> String {
    "- {name: \(name), namespace: default, scope: \(scope), action: \(action),"
        + " dryRun: \(isDryRun), rules: \(rules)}\n"
}

private func connection(
    _ identity: String? = "spiffe://td/ns/web/sa/shop",
    from source: String = "10.0.0.1",
    to port: UInt16 = 80
) throws -> L4Connection {
    L4Connection(
        source: .ip(try #require(IPAddress(source)), port: 40000),
        identity: try identity.map { try #require(SPIFFEID($0)) },
        destination: .ip(try #require(IPAddress("10.0.0.2")), port: port)
    )
}

struct PolicySetTests {
    // MARK: Any, all and nothing

    /// T and F are matches that hold and do not.
    static let nesting: [(rules: String, matches: Bool)] = [
        ("[]", false),
        ("[[]]", true),
        ("[[[]]]", true),
        ("[[[{}]]]", false),
        ("[[[{}, T]]]", true),
        ("[[[T]]]", true),
        ("[[[F]]]", false),
        ("[[[F, T]]]", true),
        ("[[[F, F]]]", false),
        ("[[[T], [T]]]", true),
        ("[[[T], [F]]]", false),
        ("[[[F], [T]]]", false),
        ("[[[T], []]]", true),
        ("[[[F], []]]", false),
        ("[[[T], [{}]]]", false),
        ("[[[F]], [[T]]]", true),
        ("[[[F]], [[F]]]", false),
        ("[[[F]], []]", true),
        ("[[[T, F], [F, T]]]", true),
        ("[[[{destinationPorts: [80], notSourceIps: [10.0.0.0/8]}]]]", false),
        ("[[[{destinationPorts: [80], sourceIps: [10.0.0.0/8]}]]]", true),
        ("[[[{destinationPorts: [81], sourceIps: [10.0.0.0/8]}]]]", false),
    ]

    @Test(arguments: nesting)
    func `any rule, all its clauses, any match of a clause, all fields of a match`(
        rules: String,
        matches: Bool
    ) throws {
        var text = ""
        for character in rules {
            switch character {
            case "T": text += "{destinationPorts: [80]}"
            case "F": text += "{destinationPorts: [81]}"
            default: text.append(character)
            }
        }
        let denying = try policies(policy("Deny", text)).decide(try connection())
        #expect(denying.isAllowed != matches)
        #expect(denying.policy == (matches ? "default/p" : ""))
        let allowing = try policies(policy("Allow", text)).decide(try connection())
        #expect(allowing.isAllowed == matches)
        #expect(allowing.policy == (matches ? "default/p" : ""))
    }

    // MARK: Fields

    /// For each field a value that is the connection's, and one that is not.
    static let fields: [(field: String, yes: String, no: String)] = [
        ("namespaces", "!Exact web", "!Exact we"),
        ("namespaces", "!Prefix we", "!Prefix eb"),
        ("namespaces", "!Suffix eb", "!Suffix we"),
        ("namespaces", "!Presence []", "!Exact x"),
        ("namespaces", "!Prefix ''", "!Exact ''"),
        (
            "serviceAccounts", "{namespace: web, serviceAccount: shop}",
            "{namespace: web, serviceAccount: other}"
        ),
        (
            "serviceAccounts", "{namespace: web, serviceAccount: shop}",
            "{namespace: other, serviceAccount: shop}"
        ),
        ("principals", "!Exact td/ns/web/sa/shop", "!Exact other/ns/web/sa/shop"),
        ("principals", "!Exact td/ns/web/sa/shop", "!Exact td/ns/web/sa/shopp"),
        ("principals", "!Prefix td/ns/web/", "!Prefix ns/web"),
        ("principals", "!Suffix /sa/shop", "!Suffix /sa/sho"),
        ("principals", "!Presence []", "!Suffix x"),
        ("sourceIps", "10.0.0.1/32", "10.0.0.2/32"),
        ("sourceIps", "10.9.9.9/8", "11.0.0.0/8"),
        ("sourceIps", "0.0.0.0/0", "'::/0'"),
        ("destinationIps", "10.0.0.2/32", "10.0.0.1/32"),
        ("destinationPorts", "80", "81"),
    ]

    @Test(arguments: fields)
    func `a field holds for any listed value and none of its not form`(
        field: String,
        yes: String,
        no: String
    ) throws {
        let not = "not" + field.prefix(1).uppercased() + field.dropFirst()
        let cases: [(String, Bool)] = [
            ("\(field): [\(yes)]", true),
            ("\(field): [\(no)]", false),
            ("\(field): [\(no), \(yes)]", true),
            ("\(not): [\(yes)]", false),
            ("\(not): [\(no)]", true),
            ("\(not): [\(no), \(yes)]", false),
            ("\(field): [\(yes)], \(not): [\(no)]", true),
            ("\(field): [\(yes)], \(not): [\(yes)]", false),
            ("\(field): [\(no)], \(not): [\(no)]", false),
            ("\(field): [], \(not): []", false),
        ]
        for (match, holds) in cases {
            let set = try policies(policy("Allow", "[[[{\(match)}]]]"))
            #expect(set.decide(try connection()).isAllowed == holds, "{\(match)}")
        }
    }

    /// Who has not proved who it is.
    static let anonymous: [(match: String, holds: Bool)] = [
        ("principals: [!Presence []]", false),
        ("principals: [!Prefix '']", false),
        ("principals: [!Suffix '']", false),
        ("principals: [!Exact td/ns/web/sa/shop]", false),
        ("notPrincipals: [!Presence []]", true),
        ("notPrincipals: [!Prefix '']", true),
        ("notPrincipals: [!Exact td/ns/web/sa/shop]", true),
        ("namespaces: [!Presence []]", false),
        ("namespaces: [!Prefix '']", true),
        ("namespaces: [!Exact '']", true),
        ("notNamespaces: [!Presence []]", true),
        ("notNamespaces: [!Exact web]", true),
        ("notNamespaces: [!Exact '']", false),
        ("serviceAccounts: [{namespace: web, serviceAccount: shop}]", false),
        ("notServiceAccounts: [{namespace: web, serviceAccount: shop}]", true),
    ]

    @Test(arguments: anonymous)
    func `without an identity the namespace is empty and no principal matches`(
        match: String,
        holds: Bool
    ) throws {
        let set = try policies(policy("Allow", "[[[{\(match)}]]]"))
        #expect(set.decide(try connection(nil)).isAllowed == holds)
    }

    @Test func `names are compared byte by byte`() throws {
        // One letter with an accent and a letter followed by one look the same.
        let set = try policies(policy("Allow", "[[[{namespaces: [!Exact \"caf\\u00e9\"]}]]]"))
        #expect(set.decide(try connection("spiffe://td/ns/caf\u{E9}/sa/a")).isAllowed)
        #expect(!set.decide(try connection("spiffe://td/ns/cafe\u{301}/sa/a")).isAllowed)
        let prefix = try policies(policy("Allow", "[[[{namespaces: [!Prefix cafe]}]]]"))
        #expect(prefix.decide(try connection("spiffe://td/ns/cafe\u{301}/sa/a")).isAllowed)
    }

    // MARK: Which policies, in which order

    private static let all = "[[]]"
    private static let none = "[]"

    static let orders: [(policies: [String], allowed: Bool, by: String)] = [
        ([], true, ""),
        ([policy("Allow", none)], false, ""),
        ([policy("Deny", none)], true, ""),
        ([policy("Deny", all)], false, "default/p"),
        ([policy("Allow", all), policy("Deny", all, name: "d")], false, "default/d"),
        ([policy("Allow", none), policy("Allow", all, name: "b")], true, "default/b"),
        ([policy("Allow", none), policy("Allow", none, name: "b")], false, ""),
        ([policy("Deny", none), policy("Allow", none, name: "b")], false, ""),
        // Those under test decide nothing, and do not count as an Allow.
        ([policy("Deny", all, isDryRun: true)], true, ""),
        ([policy("Allow", none, isDryRun: true)], true, ""),
        ([policy("Allow", all, isDryRun: true), policy("Allow", none, name: "b")], false, ""),
        // Scopes.
        ([policy("Deny", all, scope: "Global")], false, "default/p"),
        ([policy("Deny", all, scope: "WorkloadSelector")], true, ""),
        ([policy("Deny", all, name: "named", scope: "WorkloadSelector")], false, "default/named"),
        (
            ["- {name: p, namespace: other, scope: Namespace, action: Deny, rules: [[]]}\n"], true,
            ""
        ),
        (
            ["- {name: p, namespace: other, scope: Global, action: Deny, rules: [[]]}\n"], false,
            "other/p"
        ),
    ]

    @Test(arguments: orders)
    func `deny comes first, then everybody where nothing is allowed by name, then who is`(
        list: [String],
        allowed: Bool,
        by: String
    ) throws {
        let text = list.joined()
        let set = try policies(text.isEmpty ? "  []" : text)
        let decision = set.decide(try connection())
        #expect(decision.isAllowed == allowed)
        #expect(decision.policy == by)
        #expect(decision.reason.isEmpty == allowed)
    }

    @Test func `a policy that does not exist is skipped`() throws {
        let set = try policies("  []")
        #expect(set.decide(try connection()).isAllowed)
        #expect(set.explain(try connection()).unknownPolicies == ["default/named"])
        #expect(set.explain(try connection()).text.contains("policy default/named does not exist"))
    }

    @Test func `workloads with the same policies share one set`() throws {
        let mesh = try Mesh(
            """
            workloads:
            - {name: a, namespace: x, workloadIps: [10.0.0.1], services: {}}
            - {name: b, namespace: x, workloadIps: [10.0.0.2], services: {}}
            - {name: c, namespace: y, workloadIps: [10.0.0.3], services: {}}
            policies:
            - {name: p, namespace: x, scope: Namespace, action: Deny, rules: []}
            """
        )
        let (a, b, c) = (
            try mesh.workload("a"), try mesh.workload("b"), try mesh.workload("c")
        )
        #expect(mesh.state.policies(for: a) === mesh.state.policies(for: b))
        #expect(mesh.state.policies(for: c).isEmpty)
    }

    @Test func `policies hold for connections to a workload that is gone`() throws {
        let text = """
            policies:
            - {name: p, namespace: x, scope: Namespace, action: Deny, rules: [[]]}
            """
        let before = try Mesh(
            "workloads: [{name: a, namespace: x, workloadIps: [10.0.0.1], services: {}}]\n" + text
        )
        let after = try Mesh(text)
        let set = after.state.policies(for: try before.workload("a"))
        #expect(set.decide(try connection()).policy == "x/p")
    }

    // MARK: Reasons

    static let reasons: [(policies: String, identity: String?, reason: String)] = [
        (
            policy("Deny", "[[[{notPrincipals: [!Presence []]}]]]", name: "strict"), nil,
            "explicitly denied by: default/strict (rule 1: notPrincipals has no identity)"
        ),
        (
            policy("Deny", "[[[{destinationPorts: [81]}]], [[{destinationPorts: [80]}]]]"), nil,
            "explicitly denied by: default/p (rule 2: destinationPorts has 80)"
        ),
        (
            policy(
                "Deny",
                "[[[{namespaces: [!Exact web]}], [{notDestinationPorts: [9090]}]]]"
            ), "spiffe://td/ns/web/sa/shop",
            "explicitly denied by: default/p (rule 1: namespaces has \"web\", notDestinationPorts"
                + " lacks 80)"
        ),
        (
            policy("Deny", "[[]]"), nil,
            "explicitly denied by: default/p (rule 1: it asks nothing)"
        ),
        (
            policy("Allow", "[[[{principals: [!Exact td/ns/a/sa/b]}]]]"),
            "spiffe://td/ns/web/sa/shop",
            "allow policies exist, but none allowed (default/p: principal \"td/ns/web/sa/shop\" is"
                + " not in principals [\"td/ns/a/sa/b\"])"
        ),
        (
            policy("Allow", "[[[{principals: [!Exact td/ns/a/sa/b]}]]]"), nil,
            "allow policies exist, but none allowed (default/p: no identity, principals asks for"
                + " [\"td/ns/a/sa/b\"])"
        ),
        (
            policy("Allow", "[]"), nil,
            "allow policies exist, but none allowed (default/p: it has no rules)"
        ),
        (
            policy("Allow", "[[[{}]]]"), nil,
            "allow policies exist, but none allowed (default/p: a match that asks nothing holds for"
                + " nobody)"
        ),
        (
            policy(
                "Allow",
                "[[[{destinationPorts: [81]}], [{destinationPorts: [82]}]],"
                    + " [[{destinationPorts: [80]}], [{notSourceIps: [10.0.0.0/8]}]]]"
            ), nil,
            "allow policies exist, but none allowed (default/p: rule 2: source address 10.0.0.1 is in"
                + " notSourceIps [10.0.0.0/8])"
        ),
        (
            (1...5).map { policy("Allow", "[]", name: "p\($0)") }.joined(), nil,
            "allow policies exist, but none allowed (default/p1: it has no rules; default/p2: it has"
                + " no rules; default/p3: it has no rules; and 2 more)"
        ),
    ]

    @Test(arguments: reasons)
    func `a denial says which policy and which condition`(
        text: String,
        identity: String?,
        reason: String
    ) throws {
        let decision = try policies(text).decide(try connection(identity))
        #expect(!decision.isAllowed)
        #expect(decision.reason == reason)
    }

    @Test func `policies under test say what they would do`() throws {
        let set = try policies(
            policy("Deny", "[[[{destinationPorts: [80]}]]]", name: "d", isDryRun: true)
                + policy("Deny", "[[[{destinationPorts: [81]}]]]", name: "e", isDryRun: true)
                + policy("Allow", "[[[{destinationPorts: [80]}]]]", name: "f", isDryRun: true)
                + policy("Allow", "[[[{destinationPorts: [81]}]]]", name: "g", isDryRun: true)
        )
        let decision = set.decide(try connection())
        #expect(decision.isAllowed)
        #expect(
            decision.dryRun == [
                "dry run: would be denied by: default/d (rule 1: destinationPorts has 80)",
                "dry run: would be allowed by: default/f",
                "dry run: would not be allowed by: default/g: port 80 is not in destinationPorts"
                    + " [81]",
            ]
        )
    }

    // MARK: Explanations

    private static let strict =
        policy("Allow", "[[[{principals: [!Exact td/ns/a/sa/b], notNamespaces: [!Prefix w]}], []]]")
        + policy(
            "Deny",
            "[[[{notPrincipals: [!Presence []]}], [{notDestinationPorts: [80]}]]]",
            name: "strict",
            scope: "Global"
        )

    @Test func `an explanation shows the whole tree with what was found`() throws {
        let explanation = try policies(Self.strict).explain(try connection())
        #expect(
            explanation.text == """
                denied: allow policies exist, but none allowed (default/p: namespace "web" is in \
                notNamespaces [Prefix "w"])
                connection: 10.0.0.1:40000 (spiffe://td/ns/web/sa/shop) -> 10.0.0.2:80
                policy default/named does not exist: it is skipped
                Deny default/strict (Global) does not match
                  rule 1 does not match
                    clause 1 does not match
                      match 1 does not match
                        principals not in [Presence]: found "td/ns/web/sa/shop", fails
                    clause 2 does not match
                      match 1 does not match
                        destinationPorts not in [80]: found 80, fails
                Allow default/p (Namespace) does not match
                  rule 1 does not match
                    clause 1 does not match
                      match 1 does not match
                        namespaces not in [Prefix "w"]: found "web", fails
                        principals in ["td/ns/a/sa/b"]: found "td/ns/web/sa/shop", fails
                    clause 2 matches: it asks nothing

                """
        )
    }

    @Test func `an explanation is JSON too`() throws {
        var json = JSONWriter()
        try policies(policy("Deny", "[[[{notPrincipals: [!Presence []]}]]]"))
            .explain(try connection(nil)).write(to: &json)
        let buffer = json.finish()
        let text = String(bytes: buffer.bytes)
        #expect(
            text
                == #"{"decision":"denied","summary":"denied: explicitly denied by: default/p (rule 1: "#
                + #"notPrincipals has no identity)","policy":"default/p","reason":"explicitly denied by: "#
                + #"default/p (rule 1: notPrincipals has no identity)","connection":{"source":"#
                + #""10.0.0.1:40000","identity":"","destination":"10.0.0.2:80"},"unknown_policies":"#
                + #"["default/named"],"policies":[{"policy":"default/p","action":"Deny","scope":"#
                + #""Namespace","dry_run":false,"matches":true,"rules":[{"matches":true,"clauses":"#
                + #"[{"matches":true,"any_of":[{"matches":true,"fields":[{"field":"principals","#
                + #""not_in":["Presence"],"found":"no identity","holds":true}]}]}]}]}]}"#
        )
    }

    static let summaries: [(policies: String, summary: String)] = [
        (policy("Allow", "[[]]"), "allowed by: default/p"),
        (
            policy("Deny", "[]"),
            "allowed: no Deny policy matches and there is no Allow policy"
        ),
        ("  []", "allowed: no policy holds for this workload"),
    ]

    @Test(arguments: summaries)
    func `a summary says why somebody is let in`(text: String, summary: String) throws {
        #expect(try policies(text).explain(try connection()).summary == summary)
    }
}
