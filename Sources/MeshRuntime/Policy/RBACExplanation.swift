import MeshConfig
import MeshHTTP
import MeshNet

/// Why rules decide as they do, policy by policy. Made by the evaluation that decides requests, with a
/// listener attached; for the debug header and `POST /explain`. Cold.
package struct RBACExplanation {
    /// One condition that was looked at. Members that were not needed for the result are not there.
    package struct Condition {
        /// In the configuration's words.
        package let text: String
        package let holds: Bool
        /// What the request or connection has there; nil for combinations.
        package let found: String?
        package let members: [Condition]
    }

    package struct Policy {
        package let name: String
        package let matches: Bool
        /// Of those looked at: a policy whose permissions all fail is not asked for principals.
        package let permissions: [Condition]
        package let principals: [Condition]

        /// The first condition that failed, e.g. `principal: authenticated.principal_name exact
        /// "spiffe://td/ns/a/sa/b", found "spiffe://td/ns/x/sa/y"`; nil where the policy matches.
        package var firstFailure: String? {
            if matches { return nil }
            let failed = principals.isEmpty ? permissions : principals
            let half = principals.isEmpty ? "permission" : "principal"
            guard let first = failed.first else { return "no \(half) is listed" }
            return "\(half): \(first.firstFailure)"
        }
    }

    package let action: RBACAction
    package let isAllowed: Bool
    /// The policy that matched; nil where none did.
    package let matchedPolicy: String?
    /// In order, up to the one that matched.
    package let policies: [Policy]
    /// Policies after the one that matched.
    package let skippedPolicies: Int

    /// One sentence.
    package var summary: String {
        switch (action, matchedPolicy) {
        case (.allow, let name?): "allowed: policy \"\(name)\" matches"
        case (.deny, let name?): "denied: policy \"\(name)\" matches"
        case (.log, let name?): "allowed and to be logged: policy \"\(name)\" matches"
        case (.allow, nil) where policies.isEmpty:
            "denied: rules that ALLOW without a policy allow nothing"
        case (.allow, nil) where policies.count == 1:
            "denied: the only policy that ALLOWs does not match"
        case (.allow, nil): "denied: none of the \(policies.count) policies that ALLOW matches"
        case (.deny, nil): "allowed: no policy that DENIES matches"
        case (.log, nil): "allowed and not to be logged: no policy matches"
        }
    }
}

extension RBACExplanation.Condition {
    /// The first leaf because of which this condition does not hold.
    fileprivate var firstFailure: String {
        // Of a combination that fails, the last member looked at decided an "all", any one an "any of".
        if let decisive = members.first(where: { !$0.holds }), !text.hasPrefix("not ") {
            return decisive.firstFailure
        }
        let found = found ?? members.first?.found
        return found.map { "\(text), found \($0)" } ?? text
    }
}

extension RBACEngine {
    /// Decides as ``decide(_:_:)`` does and says why.
    package func explain(_ headers: HeaderMap?, _ stream: StreamInfo) -> RBACExplanation {
        var explained: [RBACExplanation.Policy] = []
        var match: Int?
        for policy in policies.indices {
            var tracer = RBACTracer(program: program, headers: headers, stream: stream)
            let matches = matches(policy, headers, stream, &tracer)
            // The roots are the lists of permissions and principals, which the file does not name.
            explained.append(
                RBACExplanation.Policy(
                    name: policyNames[policy],
                    matches: matches,
                    permissions: tracer.finished.first?.members ?? [],
                    principals: tracer.finished.dropFirst().first?.members ?? []
                )
            )
            if matches {
                match = policy
                break
            }
        }
        return RBACExplanation(
            action: action,
            isAllowed: allows(match),
            matchedPolicy: match.map { policyNames[$0] },
            policies: explained,
            skippedPolicies: policies.count - explained.count
        )
    }
}

/// Collects what an evaluation looked at into a tree.
private struct RBACTracer: RBACTrace {
    let program: RBACProgram
    let headers: HeaderMap?
    let stream: StreamInfo
    private(set) var finished: [RBACExplanation.Condition] = []
    /// Members found so far, of each condition under way.
    private var open: [[RBACExplanation.Condition]] = []

    init(program: RBACProgram, headers: HeaderMap?, stream: StreamInfo) {
        self.program = program
        self.headers = headers
        self.stream = stream
    }

    mutating func enter(_ node: Int) { open.append([]) }

    mutating func leave(_ node: Int, holds: Bool) {
        let members = open.popLast() ?? []
        let condition = RBACExplanation.Condition(
            text: program.conditions[node].description,
            holds: holds,
            found: program.found(node, headers, stream),
            members: members
        )
        if open.isEmpty {
            finished.append(condition)
        } else {
            open[open.count - 1].append(condition)
        }
    }
}

extension RBACProgram {
    /// What a leaf was compared with, in words; nil for combinations and `any`.
    fileprivate func found(_ node: Int, _ headers: HeaderMap?, _ stream: StreamInfo) -> String? {
        let connection = stream.connection
        switch conditions[node] {
        case .any, .all, .anyOf, .not: return nil
        case .header(let match):
            guard let headers else { return "no request" }
            return HeaderMatcher(match).text(headers).map(Self.quoted) ?? "no such header"
        case .urlPath, .uriTemplate:
            guard let headers else { return "no request" }
            return headers[.path].map { Self.quoted(String(bytes: PathMatch.withoutQuery($0))) }
                ?? "no path"
        case .destinationIP, .destinationPort, .destinationPortRange:
            return connection.localAddress.description
        case .requestedServerName:
            let name = connection.requestedServerName
            return name.isEmpty ? "no server name" : Self.quoted(name)
        case .metadata(let match): return Self.text(match.value(in: stream.dynamicMetadata))
        case .routeMetadata(let match): return Self.text(match.value(in: stream.routeMetadata))
        case .authenticated: return Self.names(connection.tls)
        case .sourceIP: return connection.remoteAddress.description
        case .directRemoteIP: return connection.directRemoteAddress.description
        case .remoteIP: return stream.remoteAddress.description
        case .filterState(let match):
            return stream.filterStateObject(match.key).map { Self.quoted($0.text) }
                ?? "no such object"
        }
    }

    /// Every name a principal is compared with.
    private static func names(_ tls: TLSConnectionInfo?) -> String {
        guard let tls else { return "a connection without TLS" }
        guard let peer = tls.peer else { return "a peer without a certificate" }
        let names = peer.uriSANs + peer.dnsSANs + (peer.subject.isEmpty ? [] : [peer.subject])
        return names.isEmpty
            ? "a certificate without names" : names.map(quoted).joined(separator: ", ")
    }

    private static func text(_ value: MetadataValue?) -> String {
        switch value {
        case nil: "nothing"
        case .null: "null"
        case .bool(let value): "\(value)"
        case .number(let value): "\(value)"
        case .string(let value): quoted(value)
        case .list(let values): "[\(values.map { text($0) }.joined(separator: ", "))]"
        case .structure(let fields):
            "an object with \(fields.keys.sorted().joined(separator: ", "))"
        }
    }

    private static func quoted(_ text: String) -> String { "\"\(text)\"" }
}

extension RBACExplanation {
    /// Writes an object.
    package func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("action", action.name)
        json.member("decision", isAllowed ? "allowed" : "denied")
        if let matchedPolicy { json.member("matched_policy", matchedPolicy) }
        json.member("summary", summary)
        json.key("policies")
        json.beginArray()
        for policy in policies { policy.write(to: &json) }
        json.endArray()
        if skippedPolicies > 0 { json.member("policies_after_the_match", skippedPolicies) }
        json.endObject()
    }
}

extension RBACExplanation.Policy {
    fileprivate func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("name", name)
        json.member("matches", matches)
        if let firstFailure { json.member("first_failure", firstFailure) }
        json.key("permissions")
        json.beginArray()
        for condition in permissions { condition.write(to: &json) }
        json.endArray()
        json.key("principals")
        json.beginArray()
        for condition in principals { condition.write(to: &json) }
        json.endArray()
        json.endObject()
    }
}

extension RBACExplanation.Condition {
    fileprivate func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("condition", text)
        json.member("holds", holds)
        if let found { json.member("found", found) }
        if !members.isEmpty {
            json.key("members")
            json.beginArray()
            for member in members { member.write(to: &json) }
            json.endArray()
        }
        json.endObject()
    }
}
