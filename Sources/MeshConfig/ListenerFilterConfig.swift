/// What looks at a connection before its filter chain is chosen (envoy: listener.v3.ListenerFilter).
package struct ListenerFilterConfig: Hashable, Sendable {
    package enum Kind: Hashable, Sendable {
        case tlsInspector(TLSInspector)
        case httpInspector
        /// Of an internal listener: takes the addresses from what came with the connection.
        case originalDestination
    }

    package struct TLSInspector: Hashable, Sendable {
        /// A ClientHello that is longer closes the connection.
        package let maxClientHelloBytes: Int
        /// Whether what is no ClientHello, plaintext too, closes the connection.
        package let closesOnParseError: Bool

        package init() {
            maxClientHelloBytes = 16 << 10
            closesOnParseError = false
        }

        init(_ object: ConfigObject) {
            let bytes = object.uint32("max_client_hello_size", default: 16 << 10, in: 256...16384)
            maxClientHelloBytes = Int(bytes)
            closesOnParseError = object.bool(
                "close_connection_on_client_hello_parsing_errors",
                default: false
            )
            object.unsupported("enable_ja3_fingerprinting", "clients are not fingerprinted")
            object.unsupported("enable_ja4_fingerprinting", "clients are not fingerprinted")
            object.inert("initial_read_buffer_size")
        }
    }

    package let kind: Kind
    /// Connections that it does not look at; nil: none.
    package let disabled: DestinationCondition?

    package init(_ kind: Kind, disabled: DestinationCondition? = nil) {
        self.kind = kind
        self.disabled = disabled
    }

    private static let prefix = "envoy.extensions.filters.listener."

    /// Nil after an error.
    init?(_ object: ConfigObject) {
        _ = object.requiredString("name")
        disabled = object.object("filter_disabled").map { DestinationCondition($0) }
        object.unsupported("config_discovery", "configuration is read from this file only")
        if object.isPresent("config_discovery") { return nil }
        guard let (type, options) = object.typedConfig() else { return nil }
        switch type {
        case Self.prefix + "tls_inspector.v3.TlsInspector":
            kind = .tlsInspector(TLSInspector(options))
        case Self.prefix + "http_inspector.v3.HttpInspector":
            kind = .httpInspector
        case Self.prefix + "original_dst.v3.OriginalDst":
            kind = .originalDestination
            if disabled != nil {
                object.error("addresses are taken from every connection", at: "filter_disabled")
            }
        default:
            let known = [
                "tls_inspector.v3.TlsInspector", "http_inspector.v3.HttpInspector",
                "original_dst.v3.OriginalDst",
            ]
            object.error(
                "\(ConfigNode.quoted(type)) is not supported; listener filters are"
                    + " \(known.map { Self.prefix + $0 }.joined(separator: ", "))"
            )
            options.skip()
            return nil
        }
    }
}

/// Which connections, by the port they were made to (envoy: ListenerFilterChainMatchPredicate).
package indirect enum DestinationCondition: Hashable, Sendable {
    case any
    /// Half-open.
    case ports(Range<Int>)
    case anyOf([DestinationCondition])
    case all([DestinationCondition])
    case not(DestinationCondition)

    init(_ object: ConfigObject) {
        switch object.exactlyOne(
            of: "or_match",
            "and_match",
            "not_match",
            "any_match",
            "destination_port_range"
        ) {
        case "or_match": self = .anyOf(Self.list(object, "or_match"))
        case "and_match": self = .all(Self.list(object, "and_match"))
        case "not_match":
            self = object.object("not_match").map { .not(DestinationCondition($0)) } ?? .any
        case "destination_port_range":
            let range = object.object("destination_port_range")
            let start = Int(range?.int32("start", default: 0) ?? 0)
            let end = Int(range?.int32("end", default: 0) ?? 0)
            if start >= end { range?.error("\(start) to \(end) is no range; the end is exclusive") }
            self = .ports(start..<max(start, end))
        default:
            self = .any
            if object.isPresent("any_match"), object.bool("any_match") != true {
                object.error("must be true", at: "any_match")
            }
        }
    }

    private static func list(_ object: ConfigObject, _ key: String) -> [DestinationCondition] {
        guard let set = object.object(key) else { return [] }
        let rules = set.objects("rules")
        if rules.count < 2 { set.error("needs at least two", at: "rules") }
        return rules.map { DestinationCondition($0) }
    }

    /// - Parameter port: nil where there are no ports.
    package func holds(port: UInt16?) -> Bool {
        switch self {
        case .any: true
        case .ports(let range): port.map { range.contains(Int($0)) } ?? false
        case .anyOf(let conditions): conditions.contains { $0.holds(port: port) }
        case .all(let conditions): conditions.allSatisfy { $0.holds(port: port) }
        case .not(let condition): !condition.holds(port: port)
        }
    }
}
