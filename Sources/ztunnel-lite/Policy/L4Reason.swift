import MeshConfig
import MeshNet

/// Which condition decided, in one phrase. Made only where somebody is turned away.
extension L4Policy {
    /// `default/strict (rule 1: notPrincipals has no identity)`, of one that matches.
    func match(_ facts: inout L4Facts) -> String {
        var phrases: [String] = []
        for (index, rule) in rules.enumerated() where Self.matches(rule, &facts) {
            for clause in rule {
                for match in clause where match.holds(&facts) {
                    phrases += match.asked.map { match.phrase($0, &facts) }
                    break
                }
            }
            let why = phrases.isEmpty ? "it asks nothing" : phrases.joined(separator: ", ")
            return "\(key) (rule \(index + 1): \(why))"
        }
        return key
    }

    /// `default/allow: principal "x" is not in principals ["y"]`: of the rule that comes nearest.
    func failure(_ facts: inout L4Facts) -> String {
        var nearest: (index: Int, held: Int)?
        for (index, rule) in rules.enumerated() {
            var held = 0
            for clause in rule where Self.matches(clause, &facts) { held += 1 }
            if held > nearest?.held ?? -1 { nearest = (index, held) }
        }
        guard let nearest else { return "\(key): it has no rules" }
        let place = rules.count > 1 ? "rule \(nearest.index + 1): " : ""
        for clause in rules[nearest.index] where !Self.matches(clause, &facts) {
            return "\(key): \(place)\(Self.failure(clause, &facts))"
        }
        return key
    }

    /// The first field that fails in each match, or in the first of many.
    private static func failure(_ clause: Clause, _ facts: inout L4Facts) -> String {
        let shown = 3
        var phrases: [String] = []
        for match in clause.prefix(shown) {
            if match.isEmpty {
                phrases.append("a match that asks nothing holds for nobody")
                continue
            }
            let failed = match.asked.first {
                let verdict = match.verdict($0, &facts)
                return verdict == .notListed || verdict == .excluded
            }
            if let failed { phrases.append(match.phrase(failed, &facts)) }
        }
        if clause.count > shown { phrases.append("\(clause.count - shown) more") }
        return phrases.joined(separator: " and ")
    }
}

extension L4Match {
    /// Fields that ask something.
    var asked: [L4Field] { L4Field.allCases.filter { !wanted($0).isEmpty } }

    /// What a field says, in both forms; for people.
    func wanted(_ field: L4Field) -> (positive: [String], negative: [String], isEmpty: Bool) {
        func texts<V>(
            _ condition: ZtunnelConfig.Policy.Condition<V>,
            _ text: (V) -> String
        ) -> (positive: [String], negative: [String], isEmpty: Bool) {
            (condition.positive.map(text), condition.negative.map(text), condition.isEmpty)
        }
        return switch field {
        case .namespaces: texts(namespaces) { $0.description }
        case .serviceAccounts: texts(serviceAccounts) { "\"\($0)\"" }
        case .principals: texts(principals) { $0.description }
        case .sourceIPs: texts(sourceIPs) { $0.description }
        case .destinationIPs: texts(destinationIPs) { $0.description }
        case .destinationPorts: texts(destinationPorts) { "\($0)" }
        }
    }

    /// One field and what was found there.
    func phrase(_ field: L4Field, _ facts: inout L4Facts) -> String {
        let wanted = wanted(field)
        let found = facts.found(field)
        let isAnonymous = field.isOfIdentity && facts.connection.identity == nil
        switch verdict(field, &facts) {
        case .notAsked: return "\(field.name) asks nothing"
        case .holds:
            if !wanted.positive.isEmpty { return "\(field.name) has \(found)" }
            return "\(field.negativeName) \(isAnonymous ? "has" : "lacks") \(found)"
        case .notListed:
            let list = Self.abridged(wanted.positive)
            return isAnonymous
                ? "no identity, \(field.name) asks for [\(list)]"
                : "\(field.noun) \(found) is not in \(field.name) [\(list)]"
        case .excluded:
            let list = Self.abridged(wanted.negative)
            return "\(isAnonymous ? found : "\(field.noun) \(found)") is in"
                + " \(field.negativeName) [\(list)]"
        }
    }

    private static func abridged(_ list: [String]) -> String {
        let shown = 4
        if list.count <= shown { return list.joined(separator: ", ") }
        return list.prefix(shown).joined(separator: ", ") + ", \(list.count - shown) more"
    }
}

extension L4Field {
    var isOfIdentity: Bool {
        switch self {
        case .namespaces, .serviceAccounts, .principals: true
        case .sourceIPs, .destinationIPs, .destinationPorts: false
        }
    }

    /// What one value of it is called.
    fileprivate var noun: String {
        switch self {
        case .namespaces: "namespace"
        case .serviceAccounts: "service account"
        case .principals: "principal"
        case .sourceIPs: "source address"
        case .destinationIPs: "destination address"
        case .destinationPorts: "port"
        }
    }
}

extension L4Facts {
    /// What the connection has there.
    mutating func found(_ field: L4Field) -> String {
        switch field {
        case .namespaces, .serviceAccounts, .principals:
            guard let identity = connection.identity else { return "no identity" }
            return switch field {
            case .namespaces: "\"\(identity.namespace)\""
            case .serviceAccounts: "\"\(identity.namespace)/\(identity.serviceAccount)\""
            default: "\"\(identity.principal)\""
            }
        case .sourceIPs: return connection.source.ip?.description ?? "no address"
        case .destinationIPs: return connection.destination.ip?.description ?? "no address"
        case .destinationPorts:
            return connection.destination.port.map { "\($0)" } ?? "no port"
        }
    }
}

extension L4Principal: CustomStringConvertible {
    var description: String {
        switch self {
        case .identity(let identity): "\"\(identity.principal)\""
        case .text(let match): match.description
        }
    }
}
