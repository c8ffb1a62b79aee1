import MeshConfig
import MeshHTTP
import MeshNet

/// Conditions laid out flat, for evaluation without recursion into boxes. Immutable.
///
/// Nodes stand in prefix order: a node's members follow it, and `end` is the index after the last.
/// A class, so that evaluation borrows its tables instead of counting references to each of them.
final class RBACProgram {
    enum Operation: UInt8 {
        case any, all, anyOf, not, header, urlPath, uriTemplate, destinationIP, destinationPort
        case requestedServerName, metadata, routeMetadata, authenticated, anyAuthenticated
        case sourceIP, directRemoteIP, remoteIP, filterState
    }

    struct Node {
        let operation: Operation
        /// Index into the table of the operation's kind.
        let operand: Int32
        var end: Int32
    }

    private(set) var nodes: [Node] = []
    /// What each node was made of, for explanations.
    private(set) var conditions: [RBACCondition] = []
    private(set) var headers: [HeaderMatcher] = []
    private var paths: [PathMatch] = []
    private var templates: [URITemplate] = []
    private var ranges: [CIDR] = []
    private var ports: [Range<Int>] = []
    private var texts: [StringMatch] = []
    private var metadata: [MetadataMatchConfig] = []
    private var filterStates: [FilterStateMatchConfig] = []

    /// Appends a condition; returns the index of its node.
    @discardableResult
    func append(_ condition: RBACCondition) -> Int {
        let at = nodes.count
        conditions.append(condition)
        switch condition {
        case .any: add(.any, 0)
        case .all(let members): addGroup(.all, members)
        case .anyOf(let members): addGroup(.anyOf, members)
        case .not(let member): addGroup(.not, [member])
        case .header(let match): add(.header, Self.store(HeaderMatcher(match), &headers))
        case .urlPath(let match):
            add(.urlPath, Self.store(PathMatch(match.match.workerCopy()), &paths))
        case .uriTemplate(let template):
            add(.uriTemplate, Self.store(template.workerCopy(), &templates))
        case .destinationIP(let range): add(.destinationIP, Self.store(range, &ranges))
        case .destinationPort(let port):
            add(.destinationPort, Self.store(Int(port)..<(Int(port) + 1), &ports))
        case .destinationPortRange(let range): add(.destinationPort, Self.store(range, &ports))
        case .requestedServerName(let match):
            add(.requestedServerName, Self.store(match.workerCopy(), &texts))
        case .metadata(let match): add(.metadata, Self.store(match, &metadata))
        case .routeMetadata(let match): add(.routeMetadata, Self.store(match, &metadata))
        case .authenticated(nil): add(.anyAuthenticated, 0)
        case .authenticated(.some(let match)):
            add(.authenticated, Self.store(match.workerCopy(), &texts))
        case .sourceIP(let range): add(.sourceIP, Self.store(range, &ranges))
        case .directRemoteIP(let range): add(.directRemoteIP, Self.store(range, &ranges))
        case .remoteIP(let range): add(.remoteIP, Self.store(range, &ranges))
        case .filterState(let match): add(.filterState, Self.store(match, &filterStates))
        }
        return at
    }

    private func add(_ operation: Operation, _ operand: Int) {
        nodes.append(
            Node(operation: operation, operand: Int32(operand), end: Int32(nodes.count + 1))
        )
    }

    private func addGroup(_ operation: Operation, _ members: [RBACCondition]) {
        let at = nodes.count
        add(operation, 0)
        for member in members { append(member) }
        nodes[at].end = Int32(nodes.count)
    }

    private static func store<T>(_ value: T, _ table: inout [T]) -> Int {
        table.append(value)
        return table.count - 1
    }

    // MARK: Evaluation

    /// Whether the condition at a node holds. A condition on what is not there (a header where there
    /// are no headers, a path without one) does not hold.
    ///
    /// - Parameter trace: hears of every node that is looked at; ``NoRBACTrace`` costs nothing.
    func holds<Trace: RBACTrace>(
        _ at: Int,
        _ headers: HeaderMap?,
        _ stream: StreamInfo,
        _ trace: inout Trace
    ) -> Bool {
        trace.enter(at)
        let node = nodes[at]
        let result: Bool
        switch node.operation {
        case .all, .anyOf:
            // "All" ends at the first member that fails, "any of" at the first that holds.
            let decisive = node.operation == .anyOf
            var member = at &+ 1
            var outcome = !decisive
            while member < Int(node.end) {
                if holds(member, headers, stream, &trace) == decisive {
                    outcome = decisive
                    break
                }
                member = Int(nodes[member].end)
            }
            result = outcome
        case .not: result = !holds(at &+ 1, headers, stream, &trace)
        default: result = leafHolds(node, headers, stream)
        }
        trace.leave(at, holds: result)
        return result
    }

    private func leafHolds(_ node: Node, _ headers: HeaderMap?, _ stream: StreamInfo) -> Bool {
        let operand = Int(node.operand)
        switch node.operation {
        case .any, .all, .anyOf, .not: return true
        case .header:
            guard let headers else { return false }
            return self.headers[operand].matches(headers)
        case .urlPath:
            guard let path = headers?[.path] else { return false }
            return paths[operand].matches(path)
        case .uriTemplate:
            guard let path = headers?[.path] else { return false }
            return templates[operand].matches(path)
        case .destinationIP: return contains(operand, stream.connection.localAddress)
        case .destinationPort:
            guard case .ip(_, let port) = stream.connection.localAddress else { return false }
            return ports[operand].contains(Int(port))
        case .requestedServerName:
            return texts[operand].matches(stream.connection.requestedServerName)
        case .metadata: return metadata[operand].matches(stream.dynamicMetadata)
        case .routeMetadata: return metadata[operand].matches(stream.routeMetadata)
        case .anyAuthenticated: return stream.connection.tls != nil
        case .authenticated:
            guard let tls = stream.connection.tls else { return false }
            return Self.principal(tls.peer, texts[operand])
        case .sourceIP: return contains(operand, stream.connection.remoteAddress)
        case .directRemoteIP: return contains(operand, stream.connection.directRemoteAddress)
        case .remoteIP: return contains(operand, stream.remoteAddress)
        case .filterState:
            let match = filterStates[operand]
            return match.matches(stream.filterStateObject(match.key))
        }
    }

    private func contains(_ range: Int, _ address: SocketAddress) -> Bool {
        guard case .ip(let ip, _) = address else { return false }
        return ranges[range].contains(ip)
    }

    /// Any URI name, any DNS name, or the subject may match; a missing certificate has the subject "".
    private static func principal(_ peer: CertificateInfo?, _ match: StringMatch) -> Bool {
        guard let peer else { return match.matches("") }
        for name in peer.uriSANs where match.matches(name) { return true }
        for name in peer.dnsSANs where match.matches(name) { return true }
        return match.matches(peer.subject)
    }
}

/// Listens to an evaluation, node by node.
protocol RBACTrace {
    mutating func enter(_ node: Int)
    mutating func leave(_ node: Int, holds: Bool)
}

/// Listens to nothing, and is compiled to nothing.
struct NoRBACTrace: RBACTrace {
    mutating func enter(_ node: Int) {}
    mutating func leave(_ node: Int, holds: Bool) {}
}
