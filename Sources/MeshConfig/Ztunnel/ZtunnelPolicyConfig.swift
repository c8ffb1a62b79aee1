import MeshNet

extension ZtunnelConfig {
    /// Whom a workload serves (ztunnel: `Authorization`, which istiod makes of AuthorizationPolicies).
    package struct Policy: Sendable {
        package enum Scope: String, ZtunnelWord, Sendable {
            case global = "Global"
            case namespace = "Namespace"
            /// For the workloads that name it in `authorizationPolicies`.
            case workloadSelector = "WorkloadSelector"
        }

        package enum Action: String, ZtunnelWord, Sendable {
            case allow = "Allow"
            case deny = "Deny"
        }

        /// What a match compares. The raw values are the keys of the file.
        package struct Match: Sendable {
            package var namespaces: Condition<StringMatch> = .init()
            package var serviceAccounts: Condition<ServiceAccount> = .init()
            package var principals: Condition<StringMatch> = .init()
            package var sourceIPs: Condition<CIDR> = .init()
            package var destinationIPs: Condition<CIDR> = .init()
            package var destinationPorts: Condition<UInt16> = .init()

            package init() {}

            /// Nothing is asked: such a match holds for nobody.
            package var isEmpty: Bool {
                namespaces.isEmpty && serviceAccounts.isEmpty && principals.isEmpty
                    && sourceIPs.isEmpty && destinationIPs.isEmpty && destinationPorts.isEmpty
            }
        }

        /// A field and its `not` form: any of `positive`, if there are any, and none of `negative`.
        package struct Condition<Value: Sendable>: Sendable {
            package var positive: [Value]
            package var negative: [Value]

            package init(positive: [Value] = [], negative: [Value] = []) {
                self.positive = positive
                self.negative = negative
            }

            package var isEmpty: Bool { positive.isEmpty && negative.isEmpty }
        }

        package struct ServiceAccount: Hashable, Sendable, CustomStringConvertible {
            package var namespace: String
            package var serviceAccount: String

            package var description: String { "\(namespace)/\(serviceAccount)" }
        }

        package typealias Clause = [Match]
        package typealias Rule = [Clause]

        package var name: String
        package var namespace: String
        package var scope: Scope
        package var action: Action
        package var rules: [Rule]
        package var isDryRun: Bool
        package var place: ConfigPlace

        package var key: String { "\(namespace)/\(name)" }

        init(_ object: ConfigObject) {
            object.require("namespace", "scope", "action", "rules")
            name = object.requiredString("name")
            namespace = object.string("namespace") ?? ""
            scope = object.word("scope") ?? .namespace
            action = object.word("action") ?? .allow
            isDryRun = object.bool("dryRun") ?? false
            rules = object.rules()
            place = ConfigPlace(object)
        }
    }

    package enum StringMatch: Hashable, Sendable, CustomStringConvertible {
        case exact(String)
        case prefix(String)
        case suffix(String)
        /// Anything but the empty string.
        case presence

        /// For people: `"a"`, `Prefix "a"`, `Presence`.
        package var description: String {
            switch self {
            case .exact(let text): "\"\(text)\""
            case .prefix(let text): "Prefix \"\(text)\""
            case .suffix(let text): "Suffix \"\(text)\""
            case .presence: "Presence"
            }
        }

        static let tags: Set<String> = ["!Exact", "!Prefix", "!Suffix", "!Presence"]
    }
}

extension ConfigObject {
    /// Field `rules`: a list of rules, each a list of clauses, each a list of matches.
    fileprivate func rules() -> [ZtunnelConfig.Policy.Rule] {
        let path = path.member("rules")
        return listed("rules").enumerated().map { index, rule in
            let path = path.element(index)
            return listed(rule, at: path).enumerated().map { index, clause in
                let path = path.element(index)
                return listed(clause, at: path).enumerated().map { index, match in
                    let object = ConfigObject(
                        match,
                        path: path.element(index),
                        diagnostics: diagnostics
                    )
                    let decoded = ZtunnelConfig.Policy.Match(object)
                    object.finish()
                    return decoded
                }
            }
        }
    }
}

extension ZtunnelConfig.Policy.Match {
    fileprivate init(_ object: ConfigObject) {
        namespaces = object.condition("namespaces", "notNamespaces") { $0.stringMatches($1) }
        serviceAccounts = object.condition("serviceAccounts", "notServiceAccounts") {
            $0.serviceAccounts($1)
        }
        principals = object.condition("principals", "notPrincipals") { $0.principals($1) }
        sourceIPs = object.condition("sourceIps", "notSourceIps") { $0.ranges($1) }
        destinationIPs = object.condition("destinationIps", "notDestinationIps") { $0.ranges($1) }
        destinationPorts = object.condition("destinationPorts", "notDestinationPorts") {
            $0.ports($1)
        }
    }
}

extension ConfigObject {
    fileprivate func condition<V>(
        _ positive: String,
        _ negative: String,
        _ read: (ConfigObject, String) -> [V]
    ) -> ZtunnelConfig.Policy.Condition<V> {
        .init(positive: read(self, positive), negative: read(self, negative))
    }

    fileprivate func stringMatches(_ key: String) -> [ZtunnelConfig.StringMatch] {
        listed(key).enumerated().compactMap { index, node in
            ZtunnelConfig.StringMatch(
                node,
                path: path.member(key).element(index),
                diagnostics: diagnostics
            )
        }
    }

    /// As ``stringMatches(_:)``; what no identity can match is a mistake that would open or close doors.
    fileprivate func principals(_ key: String) -> [ZtunnelConfig.StringMatch] {
        let nodes = listed(key)
        let matches = stringMatches(key)
        guard nodes.count == matches.count else { return matches }
        for (index, match) in matches.enumerated() {
            guard let problem = match.principalProblem else { continue }
            diagnostics.error(
                problem,
                path: path.member(key).element(index),
                at: nodes[index].position
            )
        }
        return matches
    }

    fileprivate func serviceAccounts(
        _ key: String
    ) -> [ZtunnelConfig.Policy.ServiceAccount] {
        objects(key).map {
            .init(
                namespace: $0.requiredString("namespace"),
                serviceAccount: $0.requiredString("serviceAccount")
            )
        }
    }

    fileprivate func ranges(_ key: String) -> [CIDR] {
        listed(key).enumerated().compactMap { index, node in
            var hint = ""
            if case .string(let text) = node.content {
                if let range = CIDR(ztunnel: text) { return range }
                if let address = IPAddress(text) {
                    hint = "; did you mean \"\(address)/\(address.bitWidth)\"?"
                }
            }
            diagnostics.error(
                "expected a network such as \"10.0.0.0/8\", got \(node)\(hint)",
                path: path.member(key).element(index),
                at: node.position
            )
            return nil
        }
    }

    fileprivate func ports(_ key: String) -> [UInt16] {
        listed(key).enumerated().compactMap { index, node in
            if case .number(let digits) = node.content, let port = UInt16(digits) { return port }
            diagnostics.error(
                "expected a port from 0 to 65535, got \(node)",
                path: path.member(key).element(index),
                at: node.position
            )
            return nil
        }
    }
}

extension ZtunnelConfig.StringMatch {
    /// `!Exact a` or `{"Exact": "a"}`, `!Presence []` or `{"Presence": []}`.
    fileprivate init?(_ node: ConfigNode, path: ConfigPath, diagnostics: ConfigDiagnostics) {
        if case .object(let members) = node.content, members.count == 1 {
            switch (members[0].key, members[0].node.content) {
            case ("Exact", .string(let text)): self = .exact(text)
            case ("Prefix", .string(let text)): self = .prefix(text)
            case ("Suffix", .string(let text)): self = .suffix(text)
            case ("Presence", .null): self = .presence
            case ("Presence", .list(let items)) where items.isEmpty: self = .presence
            case ("Presence", .object(let items)) where items.isEmpty: self = .presence
            default:
                diagnostics.error(Self.expected(node), path: path, at: node.position)
                return nil
            }
            return
        }
        diagnostics.error(Self.expected(node), path: path, at: node.position)
        return nil
    }

    private static func expected(_ node: ConfigNode) -> String {
        var got = "\(node)"
        if case .object(let members) = node.content {
            let keys = members.map { ConfigNode.quoted($0.key) }.joined(separator: ", ")
            got = members.isEmpty ? "an empty object" : "an object with \(keys)"
        }
        return "expected one of !Exact TEXT, !Prefix TEXT, !Suffix TEXT, !Presence []"
            + " (in JSON {\"Exact\": \"TEXT\"} and so on), got \(got)"
    }

    /// Why no identity can match; nil if one can.
    fileprivate var principalProblem: String? {
        switch self {
        case .exact(let text) where text.hasPrefix("spiffe://"),
            .prefix(let text) where text.hasPrefix("spiffe://"):
            return "principals are compared without \"spiffe://\": this never matches"
        case .exact(let text):
            return Self.isPrincipal(text)
                ? nil
                : "\(ConfigNode.quoted(text)) is no identity: expected"
                    + " \"TRUST_DOMAIN/ns/NAMESPACE/sa/SERVICE_ACCOUNT\""
        default: return nil
        }
    }

    /// `TRUST_DOMAIN/ns/NAMESPACE/sa/SERVICE_ACCOUNT`
    static func isPrincipal<T: StringProtocol>(_ text: T) -> Bool {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        return parts.count == 5 && parts[1] == "ns" && parts[3] == "sa"
            && parts.allSatisfy { !$0.isEmpty }
    }
}
