import MeshConfig
import MeshNet

/// A policy, ready to be matched: any rule, of a rule all clauses, of a clause any match, of a match all
/// fields that ask something.
struct L4Policy: Sendable {
    typealias Action = ZtunnelConfig.Policy.Action
    typealias Clause = [L4Match]
    typealias Rule = [Clause]

    let key: String
    let action: Action
    let scope: ZtunnelConfig.Policy.Scope
    let isDryRun: Bool
    let rules: [Rule]

    init(_ config: ZtunnelConfig.Policy) {
        key = config.key
        action = config.action
        scope = config.scope
        isDryRun = config.isDryRun
        rules = config.rules.map { $0.map { $0.map { L4Match($0) } } }
    }

    /// Without rules it never matches.
    func matches(_ facts: inout L4Facts) -> Bool {
        for rule in rules where Self.matches(rule, &facts) { return true }
        return false
    }

    static func matches(_ rule: Rule, _ facts: inout L4Facts) -> Bool {
        for clause in rule where !matches(clause, &facts) { return false }
        return true
    }

    /// A clause without matches holds.
    static func matches(_ clause: Clause, _ facts: inout L4Facts) -> Bool {
        if clause.isEmpty { return true }
        for match in clause where match.holds(&facts) { return true }
        return false
    }
}

/// What a match compares, under the names of the file.
enum L4Field: String, CaseIterable, Sendable {
    case namespaces
    case serviceAccounts
    case principals
    case sourceIPs = "sourceIps"
    case destinationIPs = "destinationIps"
    case destinationPorts

    var name: String { rawValue }

    /// `notPrincipals`
    var negativeName: String {
        "not" + rawValue.prefix(1).uppercased() + rawValue.dropFirst()
    }
}

/// What has become of one field of a match.
enum L4FieldVerdict: Equatable {
    case notAsked
    case holds
    /// None of the values listed is the connection's.
    case notListed
    /// The `not` form lists it.
    case excluded
}

struct L4Match: Sendable {
    let namespaces: ZtunnelConfig.Policy.Condition<ZtunnelConfig.StringMatch>
    let serviceAccounts: ZtunnelConfig.Policy.Condition<ZtunnelConfig.Policy.ServiceAccount>
    let principals: ZtunnelConfig.Policy.Condition<L4Principal>
    let sourceIPs: ZtunnelConfig.Policy.Condition<CIDR>
    let destinationIPs: ZtunnelConfig.Policy.Condition<CIDR>
    let destinationPorts: ZtunnelConfig.Policy.Condition<UInt16>
    /// A match that asks nothing holds for nobody.
    let isEmpty: Bool

    init(_ config: ZtunnelConfig.Policy.Match) {
        namespaces = config.namespaces
        serviceAccounts = config.serviceAccounts
        principals = .init(
            positive: config.principals.positive.map { L4Principal($0) },
            negative: config.principals.negative.map { L4Principal($0) }
        )
        sourceIPs = config.sourceIPs
        destinationIPs = config.destinationIPs
        destinationPorts = config.destinationPorts
        isEmpty = config.isEmpty
    }

    func holds(_ facts: inout L4Facts) -> Bool {
        if isEmpty { return false }
        for field in L4Field.allCases {
            switch verdict(field, &facts) {
            case .notAsked, .holds: continue
            case .notListed, .excluded: return false
            }
        }
        return true
    }

    func verdict(_ field: L4Field, _ facts: inout L4Facts) -> L4FieldVerdict {
        switch field {
        case .namespaces: namespaces.verdict(&facts) { $0.matches($1.namespace) }
        case .serviceAccounts:
            serviceAccounts.verdict(&facts) { wanted, facts in
                guard let identity = facts.connection.identity else { return false }
                return wanted.namespace == identity.namespace
                    && wanted.serviceAccount == identity.serviceAccount
            }
        case .principals: principals.verdict(&facts) { $0.matches(&$1) }
        case .sourceIPs:
            sourceIPs.verdict(&facts) { $1.connection.source.ip.map($0.contains) ?? false }
        case .destinationIPs:
            destinationIPs.verdict(&facts) {
                $1.connection.destination.ip.map($0.contains) ?? false
            }
        case .destinationPorts:
            destinationPorts.verdict(&facts) { $0 == $1.connection.destination.port }
        }
    }
}

extension ZtunnelConfig.Policy.Condition {
    /// Any of the positive ones, if there are any, and none of the negative ones.
    fileprivate func verdict(
        _ facts: inout L4Facts,
        _ matches: (Value, inout L4Facts) -> Bool
    ) -> L4FieldVerdict {
        if isEmpty { return .notAsked }
        if !positive.isEmpty {
            var isListed = false
            for value in positive where matches(value, &facts) {
                isListed = true
                break
            }
            if !isListed { return .notListed }
        }
        for value in negative where matches(value, &facts) { return .excluded }
        return .holds
    }
}

extension ZtunnelConfig.StringMatch {
    /// Byte by byte: equivalent spellings of a character are different names.
    func matches(_ text: String) -> Bool {
        switch self {
        case .exact(let wanted): text.utf8.elementsEqual(wanted.utf8)
        case .prefix(let wanted): text.utf8.starts(with: wanted.utf8)
        case .suffix(let wanted):
            text.utf8.suffix(wanted.utf8.count).elementsEqual(wanted.utf8)
        case .presence: !text.isEmpty
        }
    }
}

/// A principal that is looked for: a whole one is compared part by part, without a string for it.
enum L4Principal: Sendable {
    case identity(SPIFFEID)
    case text(ZtunnelConfig.StringMatch)

    init(_ match: ZtunnelConfig.StringMatch) {
        if case .exact(let text) = match, let identity = SPIFFEID("spiffe://" + text) {
            self = .identity(identity)
        } else {
            self = .text(match)
        }
    }

    /// Who has no identity is never matched, whatever is looked for.
    func matches(_ facts: inout L4Facts) -> Bool {
        guard let identity = facts.connection.identity else { return false }
        switch self {
        case .identity(let wanted): return wanted == identity
        case .text(.presence): return true
        case .text(let match): return match.matches(facts.principal)
        }
    }
}

/// A connection and what is derived from it, when first asked for.
struct L4Facts {
    let connection: L4Connection
    private var knownPrincipal: String?

    init(_ connection: L4Connection) { self.connection = connection }

    /// Of the peer; empty without an identity.
    var namespace: String { connection.identity?.namespace ?? "" }

    /// Without `spiffe://`; empty without an identity.
    var principal: String {
        mutating get {
            if let knownPrincipal { return knownPrincipal }
            let principal = connection.identity?.principal ?? ""
            knownPrincipal = principal
            return principal
        }
    }
}
