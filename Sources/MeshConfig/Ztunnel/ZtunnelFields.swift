import MeshNet

/// A word of one of the file's enumerations, spelled exactly so.
protocol ZtunnelWord: RawRepresentable, CaseIterable where RawValue == String {}

/// The scalar forms of ztunnel's file that Envoy's files do not have.
extension ConfigObject {
    func word<W: ZtunnelWord>(_ key: String, _ type: W.Type = W.self) -> W? {
        node(key).flatMap { word($0, at: path.member(key)) }
    }

    func words<W: ZtunnelWord>(_ key: String, _ type: W.Type = W.self) -> [W] {
        listed(key).enumerated().compactMap { index, node in
            word(node, at: path.member(key).element(index))
        }
    }

    private func word<W: ZtunnelWord>(_ node: ConfigNode, at path: ConfigPath) -> W? {
        let names = W.allCases.map(\.rawValue)
        var hint = ""
        if case .string(let text) = node.content {
            if let word = W(rawValue: text) { return word }
            hint = Suggestion.hint(for: text, among: names)
        }
        diagnostics.error(
            "expected one of \(names.joined(separator: ", ")), got \(node)\(hint)",
            path: path,
            at: node.position
        )
        return nil
    }

    /// Reports the absence of `keys`.
    func require(_ keys: String...) {
        for key in keys where !isPresent(key) { error("\(key) is required") }
    }

    /// As ``elements(_:)``, but a single value is no list of one: nesting has a meaning here.
    func listed(_ key: String) -> [ConfigNode] {
        guard let node = node(key) else { return [] }
        return listed(node, at: path.member(key))
    }

    func listed(_ node: ConfigNode, at path: ConfigPath) -> [ConfigNode] {
        guard case .list(let nodes) = node.content else {
            diagnostics.error("expected a list, got \(node)", path: path, at: node.position)
            return []
        }
        for node in nodes where node.isNull {
            diagnostics.error("a list must not contain null", path: path, at: node.position)
        }
        return nodes.filter { !$0.isNull }
    }

    /// The strings of list `key`, each turned into a value by `make`; nil is an error that says what was
    /// expected. `places` is where each value stands.
    func parsed<T>(
        _ key: String,
        _ expected: String,
        _ make: (String) -> T?
    ) -> (values: [T], places: [ZtunnelConfig.ListPlace]) {
        var values: [T] = []
        var places: [ZtunnelConfig.ListPlace] = []
        for (index, node) in listed(key).enumerated() {
            if case .string(let text) = node.content, let value = make(text) {
                values.append(value)
                places.append(.init(index: index, position: node.position))
                continue
            }
            diagnostics.error(
                "expected \(expected), got \(node)",
                path: path.member(key).element(index),
                at: node.position
            )
        }
        return (values, places)
    }

    /// A map from service ports to target ports: `80: 8080`, in JSON `"80": 8080`.
    func portMap(_ key: String) -> ZtunnelConfig.PortMap {
        guard let map = object(key) else { return .init() }
        return map.portMap()
    }

    func portMap() -> ZtunnelConfig.PortMap {
        var entries: [ZtunnelConfig.PortMap.Entry] = []
        for (key, node) in nodes() {
            guard let port = UInt16(key), String(port) == key else {
                diagnostics.error(
                    "\(ConfigNode.quoted(key)) is no port: expected a number from 0 to 65535",
                    path: path,
                    at: node.position
                )
                continue
            }
            var target: UInt16?
            if case .number(let digits) = node.content { target = UInt16(digits) }
            guard let target else {
                diagnostics.error(
                    "expected a port from 0 to 65535, got \(node)",
                    path: path.member(key),
                    at: node.position
                )
                continue
            }
            entries.append(.init(service: port, target: target))
        }
        return .init(entries)
    }

    /// Every member as it is, in file order; they count as read.
    func nodes() -> [(key: String, node: ConfigNode)] {
        skip()
        return writtenMembers.map { ($0.key, $0.node) }
    }
}

extension ZtunnelConfig {
    /// Where an element of a list stands, for what is checked when all is read.
    struct ListPlace: Sendable {
        let index: Int
        let position: ConfigPosition
    }
}

extension ZtunnelConfig.NetworkAddress {
    /// `network/address`; the network may be empty, the slash must be there.
    init?(_ text: String) {
        guard let slash = text.firstIndex(of: "/"),
            let address = IPAddress(String(text[text.index(after: slash)...]))
        else { return nil }
        self.init(network: String(text[..<slash]), address: address)
    }
}

extension ZtunnelConfig.NetworkRange {
    /// `network/address/length`.
    init?(_ text: String) {
        guard let slash = text.firstIndex(of: "/"),
            let range = CIDR(ztunnel: String(text[text.index(after: slash)...]))
        else { return nil }
        self.init(network: String(text[..<slash]), range: range)
    }
}

extension ZtunnelConfig.NamespacedHostname {
    /// `namespace/hostname`, neither empty.
    init?(_ text: String) {
        guard let slash = text.firstIndex(of: "/") else { return nil }
        let namespace = text[..<slash]
        let hostname = text[text.index(after: slash)...]
        guard !namespace.isEmpty, !hostname.isEmpty, !hostname.contains("/") else { return nil }
        self.init(namespace: String(namespace), hostname: String(hostname))
    }
}

extension CIDR {
    /// `10.0.0.0/8`; the length must be there.
    init?(ztunnel text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let address = IPAddress(String(parts[0])),
            let length = UInt8(parts[1]), !parts[1].hasPrefix("+")
        else { return nil }
        self.init(address, prefixLength: Int(length))
    }
}

extension ZtunnelConfig.Gateway {
    init?(_ object: ConfigObject) {
        // As ztunnel's own code calls it; its files have the other.
        let alias = "hbone_mtls_port"
        let isAlias = object.writtenMembers.contains { $0.key == alias }
        let key = isAlias ? alias : "hboneMtlsPort"
        object.require("destination", key)
        let port = object.uint32(key, in: 1...65535)
        guard let destination = Destination(object), let port else { return nil }
        self.init(
            destination: destination,
            port: UInt16(truncatingIfNeeded: port),
            place: ConfigPlace(object)
        )
    }
}

extension ZtunnelConfig.Gateway.Destination {
    /// Field `destination`: `network/address`, `namespace/hostname` or an object with the latter's parts.
    init?(_ object: ConfigObject) {
        guard let node = object.node("destination") else { return nil }
        switch node.content {
        case .object:
            guard let name = object.object("destination") else { return nil }
            let namespace = name.requiredString("namespace")
            let hostname = name.requiredString("hostname")
            self = .hostname(.init(namespace: namespace, hostname: hostname))
        case .string(let text):
            if let address = ZtunnelConfig.NetworkAddress(text) {
                self = .address(address)
            } else if let name = ZtunnelConfig.NamespacedHostname(text) {
                self = .hostname(name)
            } else {
                fallthrough
            }
        default:
            object.mismatch(
                "destination",
                "\"network/address\" or \"namespace/hostname\"",
                node
            )
            return nil
        }
    }
}
