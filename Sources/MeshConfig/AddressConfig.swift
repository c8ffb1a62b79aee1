import MeshNet

/// A network address as configured (envoy: core.v3.Address).
package struct AddressConfig: Hashable, Sendable {
    package enum Host: Hashable, Sendable {
        case ip(IPAddress)
        /// To be resolved by a DNS cluster; an error everywhere else.
        case name(String)
        /// A Unix-domain socket's path; "@" begins an abstract one.
        case path(String)
        /// A listener of this process (envoy: EnvoyInternalAddress).
        case listener(name: String, endpointID: String)
    }

    package let host: Host
    /// Zero where there are no ports.
    package let port: UInt16
    /// An IPv6 listener takes IPv4 connections as well.
    package let acceptsIPv4: Bool
    package let path: ConfigPath
    package let position: ConfigPosition

    package init(_ object: ConfigObject) {
        path = object.path
        position = object.position
        if let address = object.object("envoy_internal_address") {
            for other in ["socket_address", "pipe"] where object.isPresent(other) {
                object.error("only one of \(other), envoy_internal_address may be given", at: other)
            }
            host = .listener(
                name: address.requiredString("server_listener_name"),
                endpointID: address.string("endpoint_id", default: "")
            )
            port = 0
            acceptsIPv4 = false
            return
        }
        guard let pipe = object.object("pipe") else {
            let socket = object.object("socket_address")
            if socket == nil {
                object.error("one of socket_address, pipe, envoy_internal_address is required")
            }
            (host, port, acceptsIPv4) = Self.socketAddress(socket)
            return
        }
        if object.isPresent("socket_address") {
            object.error("only one of socket_address, pipe may be given", at: "pipe")
        }
        let name = pipe.requiredString("path")
        if name.utf8.count > 107 {
            pipe.error(
                "a Unix-domain path has at most 107 bytes, got \(name.utf8.count)",
                at: "path"
            )
        }
        pipe.unsupported("mode", "the socket's file gets the permissions of the process's umask")
        host = .path(name)
        port = 0
        acceptsIPv4 = false
    }

    private enum TransportProtocol: Int, ConfigEnum {
        case tcp = 0
        case udp = 1
    }

    private static func socketAddress(_ object: ConfigObject?) -> (Host, UInt16, Bool) {
        guard let object else { return (.name(""), 0, false) }
        if object.enumeration("protocol", default: TransportProtocol.tcp) == .udp {
            object.error("UDP is not supported", at: "protocol")
        }
        let text = object.requiredString("address")
        object.unsupported("named_port", "ports are numbers") { $0 == .string("") }
        object.unsupported("resolver_name", "addresses are resolved by their cluster's type") {
            $0 == .string("envoy.ip")
        }
        object.unsupported("network_namespace_filepath", "sockets stay in the process's namespace")
        let acceptsIPv4 = object.bool("ipv4_compat", default: false)
        let port = object.uint32("port_value", in: 0...65535)
        if port == nil, !object.isPresent("named_port"), !object.isPresent("port_value") {
            object.error("port_value is required")
        }
        let host: Host = IPAddress(text).map { .ip($0) } ?? .name(text)
        return (host, UInt16(port ?? 0), acceptsIPv4)
    }

    /// The kernel's form; nil for a name.
    package var socketAddress: SocketAddress? {
        switch host {
        case .ip(let address): .ip(address, port: port)
        case .path(let path): .unix(path: path)
        case .listener(let name, let endpointID): .internal(listener: name, endpointID: endpointID)
        case .name: nil
        }
    }

    /// As ``socketAddress``, reporting a host name as an error of `object`, this address's message, and so
    /// a listener of this process, where `allowsInternal` does not hold.
    package func requireSocketAddress(
        _ object: ConfigObject,
        _ advice: String,
        allowsInternal: Bool = false
    ) -> SocketAddress? {
        if case .listener = host, !allowsInternal {
            object.error(
                "only endpoints of STATIC clusters lead to listeners of this process",
                at: "envoy_internal_address"
            )
            return nil
        }
        if case .name(let name) = host, !name.isEmpty {
            object.object("socket_address")?.error(
                "\(ConfigNode.quoted(name)) is no IP address; \(advice)",
                at: "address"
            )
        }
        return socketAddress
    }
}

/// When the kernel probes an idle connection (envoy: core.v3.TcpKeepalive).
package struct TCPKeepaliveConfig: Hashable, Sendable {
    /// Nil leaves the kernel's value.
    package let probes: UInt32?
    package let idleSeconds: UInt32?
    package let intervalSeconds: UInt32?

    package init(_ object: ConfigObject) {
        probes = object.uint32("keepalive_probes", in: 0...127)
        idleSeconds = object.uint32("keepalive_time", in: 0...32767)
        intervalSeconds = object.uint32("keepalive_interval", in: 0...32767)
    }
}

/// Where something runs (envoy: core.v3.Locality).
package struct LocalityConfig: Hashable, Sendable {
    package let region: String
    package let zone: String
    package let subZone: String

    package init(_ object: ConfigObject?) {
        region = object?.string("region") ?? ""
        zone = object?.string("zone") ?? ""
        subZone = object?.string("sub_zone") ?? ""
    }
}

/// Free-form data by filter name (envoy: core.v3.Metadata).
package struct MetadataConfig: Hashable, Sendable {
    /// Filter name to struct, in file order.
    package let filters: ConfigValue.Fields

    package init(_ object: ConfigObject?) {
        guard let object else {
            filters = .init([])
            return
        }
        filters = .init(
            object.entries("filter_metadata").compactMap { name, value in
                guard case .object = value else {
                    object.error(
                        "\(ConfigNode.quoted(name)) must be an object",
                        at: "filter_metadata"
                    )
                    return nil
                }
                return .init(key: name, value: value)
            }
        )
        object.inert("typed_filter_metadata")
    }

    package var isEmpty: Bool { filters.isEmpty }

    /// The struct of one filter; empty if there is none.
    package subscript(filter: String) -> ConfigValue.Fields {
        if case .object(let fields) = filters[filter] { fields } else { .init([]) }
    }
}
