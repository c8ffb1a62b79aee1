import MeshConfig
import MeshNet
import MeshRuntime

extension L4Explanation {
    /// The tree as lines, indented by two spaces a level, each ended by a newline.
    package var text: String {
        var lines = [summary, "connection: \(connection)"]
        lines += decision.dryRun
        for key in unknownPolicies {
            lines.append("policy \(key) does not exist: it is skipped")
        }
        for policy in policies { policy.append(to: &lines) }
        return lines.map { $0 + "\n" }.joined()
    }

    /// Writes an object.
    package func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("decision", decision.isAllowed ? "allowed" : "denied")
        json.member("summary", summary)
        if !decision.policy.isEmpty { json.member("policy", decision.policy) }
        if !decision.reason.isEmpty { json.member("reason", decision.reason) }
        json.key("connection")
        json.beginObject()
        json.member("source", connection.source.description)
        json.member("identity", connection.identity?.description ?? "")
        json.member("destination", connection.destination.description)
        json.endObject()
        if !decision.dryRun.isEmpty { json.list("dry_run", decision.dryRun) }
        if !unknownPolicies.isEmpty { json.list("unknown_policies", unknownPolicies) }
        json.key("policies")
        json.beginArray()
        for policy in policies { policy.write(to: &json) }
        json.endArray()
        json.endObject()
    }
}

extension L4Connection: CustomStringConvertible {
    /// `10.0.0.1:40000 (spiffe://td/ns/a/sa/b) -> 10.0.0.2:80`
    package var description: String {
        "\(source) (\(identity?.description ?? "no identity")) -> \(destination)"
    }
}

// MARK: Text

extension L4Explanation.Policy {
    fileprivate func append(to lines: inout [String]) {
        let trial = isDryRun ? ", dry run" : ""
        let why = rules.isEmpty ? ": it has no rules" : ""
        lines.append("\(action) \(key) (\(scope)\(trial)) \(matches.verb)\(why)")
        for (index, rule) in rules.enumerated() {
            let why = rule.clauses.isEmpty ? ": it asks nothing" : ""
            lines.append("  rule \(index + 1) \(rule.matches.verb)\(why)")
            for (index, clause) in rule.clauses.enumerated() {
                let why = clause.matches.isEmpty ? ": it asks nothing" : ""
                lines.append("    clause \(index + 1) \(clause.holds.verb)\(why)")
                for (index, match) in clause.matches.enumerated() {
                    let why = match.fields.isEmpty ? ": it asks nothing" : ""
                    lines.append("      match \(index + 1) \(match.holds.verb)\(why)")
                    for field in match.fields { lines.append("        \(field.text)") }
                }
            }
        }
    }
}

extension L4Explanation.Field {
    /// `principals in ["a"] and not in ["b"]: found "c", fails`
    fileprivate var text: String {
        var parts: [String] = []
        if !wanted.isEmpty { parts.append("in [\(wanted.joined(separator: ", "))]") }
        if !unwanted.isEmpty { parts.append("not in [\(unwanted.joined(separator: ", "))]") }
        let verdict = holds ? "holds" : "fails"
        return "\(name) \(parts.joined(separator: " and ")): found \(found), \(verdict)"
    }
}

extension Bool {
    fileprivate var verb: String { self ? "matches" : "does not match" }
}

// MARK: JSON

extension L4Explanation.Policy {
    fileprivate func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("policy", key)
        json.member("action", action)
        json.member("scope", scope)
        json.member("dry_run", isDryRun)
        json.member("matches", matches)
        json.key("rules")
        json.beginArray()
        for rule in rules {
            json.beginObject()
            json.member("matches", rule.matches)
            json.key("clauses")
            json.beginArray()
            for clause in rule.clauses { clause.write(to: &json) }
            json.endArray()
            json.endObject()
        }
        json.endArray()
        json.endObject()
    }
}

extension L4Explanation.Clause {
    fileprivate func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("matches", holds)
        json.key("any_of")
        json.beginArray()
        for match in matches {
            json.beginObject()
            json.member("matches", match.holds)
            json.key("fields")
            json.beginArray()
            for field in match.fields {
                json.beginObject()
                json.member("field", field.name)
                if !field.wanted.isEmpty { json.list("in", field.wanted) }
                if !field.unwanted.isEmpty { json.list("not_in", field.unwanted) }
                json.member("found", field.found)
                json.member("holds", field.holds)
                json.endObject()
            }
            json.endArray()
            json.endObject()
        }
        json.endArray()
        json.endObject()
    }
}

extension JSONWriter {
    fileprivate mutating func list(_ key: StaticString, _ texts: [String]) {
        self.key(key)
        beginArray()
        for text in texts { string(text) }
        endArray()
    }
}
