import MeshNet

/// What an agent knows of its mesh: ztunnel's local file, JSON or YAML (ztunnel: `LOCAL_XDS_PATH`).
///
/// Keys are ztunnel's, in camelCase and in that spelling alone.
package struct ZtunnelConfig: Sendable {
    package var workloads: [Workload]
    package var services: [Service]
    package var policies: [Policy]

    package init(
        workloads: [Workload] = [],
        services: [Service] = [],
        policies: [Policy] = []
    ) {
        self.workloads = workloads
        self.services = services
        self.policies = policies
    }

    /// Reads `text`. Its name tells YAML from JSON, or where it does not, its first character. The
    /// configuration is nil exactly if there are errors; every one of them is found in one run. Control
    /// thread only.
    package static func read(
        text: [UInt8],
        fileName: String
    ) -> (ZtunnelConfig?, ConfigDiagnostics) {
        let diagnostics = ConfigDiagnostics()
        let config = decode(text, fileName, diagnostics)
        // What was decoded took ten times the memory that is kept.
        if text.count >= largeText { HeapMemory.giveBackUnused() }
        return (config, diagnostics)
    }

    private static let largeText = 1 << 20

    private static func isYAML(_ text: [UInt8], _ fileName: String) -> Bool {
        if fileName.hasSuffix(".yaml") || fileName.hasSuffix(".yml") { return true }
        if fileName.hasSuffix(".json") { return false }
        let first = text.first { !" \t\r\n".utf8.contains($0) }
        return first != UInt8(ascii: "{")
    }

    private static func decode(
        _ text: [UInt8],
        _ fileName: String,
        _ diagnostics: ConfigDiagnostics
    ) -> ZtunnelConfig? {
        guard
            let object = ConfigDocument.parse(
                text,
                fileName: isYAML(text, fileName) ? "mesh.yaml" : "mesh.json",
                variantTags: StringMatch.tags,
                diagnostics: diagnostics
            )
        else { return nil }
        let config = ZtunnelConfig(object)
        object.finish()
        ZtunnelChecks(config, diagnostics).run()
        return diagnostics.hasErrors ? nil : config.compacted()
    }

    init(_ object: ConfigObject) {
        workloads = object.objects("workloads").map { Workload($0) }
        services = object.objects("services").map { Service($0) }
        policies = object.objects("policies").map { Policy($0) }
    }
}

extension ZtunnelConfig {
    /// An address and the network in which it means something, written `network/address`.
    package struct NetworkAddress: Hashable, Sendable, CustomStringConvertible {
        package var network: String
        package var address: IPAddress

        package init(network: String, address: IPAddress) {
            self.network = network
            self.address = address
        }

        package var description: String { "\(network)/\(address)" }
    }

    /// Many addresses of one network, written `network/address/length`.
    package struct NetworkRange: Hashable, Sendable, CustomStringConvertible {
        package var network: String
        package var range: CIDR

        package init(network: String, range: CIDR) {
            self.network = network
            self.range = range
        }

        package var description: String { "\(network)/\(range)" }
    }

    /// The key of a service, written `namespace/hostname`.
    package struct NamespacedHostname: Hashable, Sendable, CustomStringConvertible {
        package var namespace: String
        package var hostname: String

        package init(namespace: String, hostname: String) {
            self.namespace = namespace
            self.hostname = hostname
        }

        package var description: String { "\(namespace)/\(hostname)" }
    }

    /// A waypoint or a gateway between networks: where it is and the port at which it takes HBONE.
    package struct Gateway: Hashable, Sendable {
        package enum Destination: Hashable, Sendable, CustomStringConvertible {
            case address(NetworkAddress)
            case hostname(NamespacedHostname)

            package var description: String {
                switch self {
                case .address(let address): address.description
                case .hostname(let name): name.description
                }
            }
        }

        package var destination: Destination
        package var port: UInt16
        package var place: ConfigPlace

        package init(destination: Destination, port: UInt16, place: ConfigPlace) {
            self.destination = destination
            self.port = port
            self.place = place
        }
    }

    /// From ports of a service to ports of what serves it, ascending; 0 says that an endpoint knows.
    package struct PortMap: Hashable, Sendable {
        package struct Entry: Hashable, Sendable {
            package var service: UInt16
            package var target: UInt16
        }

        package private(set) var entries: [Entry]

        package init(_ entries: [Entry] = []) {
            self.entries = entries.sorted { $0.service < $1.service }
        }

        package subscript(service port: UInt16) -> UInt16? {
            entries.first { $0.service == port }?.target
        }
    }
}
