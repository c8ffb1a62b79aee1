import Foundation

@testable import MeshConfig

/// The fields of Envoy's messages, as far as they are decoded here: Fixtures/envoy-messages.txt.
struct EnvoySchema {
    struct Field {
        let name: String
        /// A scalar, `enum:` and its numbers, `map:` and the values' type, or a message.
        let type: String
        let isRepeated: Bool
        /// The group of which one may be given.
        let oneof: String?
    }

    private(set) var messages: [String: [Field]] = [:]

    init() {
        let file = URL(filePath: #filePath).resolvingSymlinksInPath()
            .deletingLastPathComponent().appending(path: "Fixtures/envoy-messages.txt")
        var current = ""
        for line in (try? String(contentsOf: file, encoding: .utf8))?.split(separator: "\n") ?? [] {
            guard line.hasPrefix("  ") else {
                current = String(line)
                messages[current] = []
                continue
            }
            let parts = line.split(separator: " ")
            let isRepeated = parts[1].hasSuffix("[]")
            messages[current]?.append(
                Field(
                    name: String(parts[0]),
                    type: String(parts[1].dropLast(isRepeated ? 2 : 0)),
                    isRepeated: isRepeated,
                    oneof: parts.count > 2 ? String(parts[2].dropFirst()) : nil
                )
            )
        }
    }
}

/// Makes messages with every kind of field, a different choice of alternatives for every seed.
struct MessageGenerator {
    private let schema: EnvoySchema
    private var state: UInt64
    /// Which message stands at a path of what was made.
    private(set) var messages: [ConfigPath: String] = [:]
    private var open: [String] = []

    init(_ schema: EnvoySchema, seed: UInt64) {
        self.schema = schema
        state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 1
    }

    /// What an extension field may hold, by the field's message and name.
    private static let extensions: [String: [String]] = {
        let prefix = "envoy.extensions."
        let network = prefix + "filters.network."
        let http = prefix + "filters.http."
        let tls = prefix + "transport_sockets.tls.v3."
        let balancing = prefix + "load_balancing_policies."
        let resolvers = [
            "cares.v3.CaresDnsResolverConfig", "getaddrinfo.v3.GetAddrInfoDnsResolverConfig",
        ].map { prefix + "network.dns_resolver." + $0 }
        let overrides = ["envoy.config.route.v3.FilterConfig", http + "rbac.v3.RBACPerRoute"]
        let inputs = ["FilterStateInput", "DestinationIPInput", "DestinationPortInput"].map {
            prefix + "matching.common_inputs.network.v3." + $0
        }
        return [
            "envoy.config.listener.v3.Filter.typed_config": [
                network + "http_connection_manager.v3.HttpConnectionManager",
                network + "tcp_proxy.v3.TcpProxy", network + "rbac.v3.RBAC",
                network + "set_filter_state.v3.Config",
            ],
            network + "http_connection_manager.v3.HttpFilter.typed_config": [
                http + "router.v3.Router", http + "rbac.v3.RBAC", http + "grpc_web.v3.GrpcWeb",
                http + "grpc_stats.v3.FilterConfig", http + "set_filter_state.v3.Config",
            ],
            "envoy.config.accesslog.v3.AccessLog.typed_config": [
                "file.v3.FileAccessLog", "stream.v3.StdoutAccessLog", "stream.v3.StderrAccessLog",
            ].map { prefix + "access_loggers." + $0 },
            "envoy.config.core.v3.TransportSocket.typed_config": [
                tls + "DownstreamTlsContext", tls + "UpstreamTlsContext",
                prefix + "transport_sockets.internal_upstream.v3.InternalUpstreamTransport",
            ],
            "envoy.config.listener.v3.ListenerFilter.typed_config": [
                "tls_inspector.v3.TlsInspector", "http_inspector.v3.HttpInspector",
                "original_dst.v3.OriginalDst",
            ].map { prefix + "filters.listener." + $0 },
            "xds.type.matcher.v3.Matcher.MatcherTree.input": inputs,
            "xds.type.matcher.v3.Matcher.MatcherList.Predicate.SinglePredicate.input": inputs,
            "xds.type.matcher.v3.Matcher.MatcherTree.custom_match": [
                "xds.type.matcher.v3.IPMatcher"
            ],
            "envoy.config.cluster.v3.Cluster.CustomClusterType.typed_config": [
                prefix + "clusters.dns.v3.DnsCluster"
            ],
            "envoy.config.cluster.v3.LoadBalancingPolicy.Policy.typed_extension_config": [
                balancing + "round_robin.v3.RoundRobin",
                balancing + "least_request.v3.LeastRequest", balancing + "random.v3.Random",
                balancing + "subset.v3.Subset",
            ],
            "envoy.config.cluster.v3.Cluster.typed_dns_resolver_config": resolvers,
            "envoy.config.bootstrap.v3.Bootstrap.typed_dns_resolver_config": resolvers,
            prefix + "clusters.dns.v3.DnsCluster.typed_dns_resolver_config": resolvers,
            "envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat.stateful_formatter": [
                prefix + "http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig"
            ],
            network
                + "http_connection_manager.v3.HttpConnectionManager.original_ip_detection_extensions":
                [
                    "xff.v3.XffConfig", "custom_header.v3.CustomHeaderConfig",
                ].map { prefix + "http.original_ip_detection." + $0 },
            network + "http_connection_manager.v3.RequestIDExtension.typed_config": [
                prefix + "request_id.uuid.v3.UuidRequestIdConfig"
            ],
            "envoy.config.route.v3.RetryPolicy.RetryHostPredicate.typed_config": [
                prefix + "retry.host.previous_hosts.v3.PreviousHostsPredicate"
            ],
            "envoy.config.route.v3.InternalRedirectPolicy.predicates": [
                "allow_listed_routes.v3.AllowListedRoutesConfig",
                "previous_routes.v3.PreviousRoutesConfig",
                "safe_cross_scheme.v3.SafeCrossSchemeConfig",
            ].map { prefix + "internal_redirect." + $0 },
            "envoy.config.route.v3.Route.typed_per_filter_config": overrides,
            "envoy.config.route.v3.VirtualHost.typed_per_filter_config": overrides,
            "envoy.config.route.v3.RouteConfiguration.typed_per_filter_config": overrides,
            "envoy.config.route.v3.WeightedCluster.ClusterWeight.typed_per_filter_config":
                overrides,
            "envoy.config.route.v3.FilterConfig.config": [http + "rbac.v3.RBACPerRoute"],
            "envoy.config.core.v3.SubstitutionFormatString.formatters": [
                prefix + "formatter.metadata.v3.Metadata",
                prefix + "formatter.req_without_query.v3.ReqWithoutQuery",
            ],
            "envoy.config.cluster.v3.Cluster.typed_extension_protocol_options": [
                prefix + "upstreams.http.v3.HttpProtocolOptions"
            ],
            prefix + "upstreams.http.v3.HttpProtocolOptions.http_filters": [
                prefix + "filters.http.upstream_codec.v3.UpstreamCodec"
            ],
            "envoy.config.bootstrap.v3.Bootstrap.bootstrap_extensions": [
                prefix + "bootstrap.internal_listener.v3.InternalListener"
            ],
            "envoy.config.bootstrap.v3.Bootstrap.default_regex_engine": [
                "envoy.extensions.regex_engines.v3.GoogleRE2"
            ],
            "envoy.config.rbac.v3.Permission.uri_template": [
                prefix + "path.match.uri_template.v3.UriTemplateMatchConfig"
            ],
        ]
    }()

    private mutating func pick(_ count: Int) -> Int {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return Int((state >> 33) % UInt64(count))
    }

    /// The members of message `name` as JSON, `@type` first if it is an Any's.
    mutating func message(
        _ name: String,
        at path: ConfigPath,
        holder: String,
        isAny: Bool = false
    ) -> String {
        messages[path] = name
        guard let fields = schema.messages[name], open.count(where: { $0 == name }) < 3,
            open.count < 40
        else { return isAny ? "{\"@type\":\"type.googleapis.com/\(name)\"}" : "{}" }
        open.append(name)
        defer { open.removeLast() }
        var members = isAny ? ["\"@type\":\"type.googleapis.com/\(name)\""] : []
        var chosen: [String: String] = [:]
        for group in Set(fields.compactMap(\.oneof)).sorted() {
            let alternatives = fields.filter { $0.oneof == group }
            chosen[group] = alternatives[pick(alternatives.count)].name
        }
        for field in fields {
            if let group = field.oneof {
                if chosen[group] != field.name { continue }
            } else if pick(5) == 0 {
                continue
            }
            // An extension without a name of its own goes by where it is held.
            let place =
                name.hasSuffix(".core.v3.TypedExtensionConfig")
                ? holder : "\(name).\(field.name)"
            members.append("\"\(field.name)\":" + value(field, path.member(field.name), place))
        }
        return "{" + members.joined(separator: ",") + "}"
    }

    private mutating func value(_ field: EnvoySchema.Field, _ path: ConfigPath, _ place: String)
        -> String
    {
        if field.type.hasPrefix("map:") {
            let type = String(field.type.dropFirst(4))
            var key = "k"
            if let extensions = Self.extensions[place], place.hasSuffix("protocol_options") {
                key = extensions[0]
            }
            return "{\"\(key)\":" + single(type, path.member(key), place) + "}"
        }
        if field.isRepeated { return "[" + single(field.type, path.element(0), place) + "]" }
        return single(field.type, path, place)
    }

    private mutating func single(_ type: String, _ path: ConfigPath, _ place: String) -> String {
        switch type {
        case "string", "google.protobuf.StringValue":
            return text(place)
        case "bool", "google.protobuf.BoolValue": return pick(2) == 0 ? "true" : "false"
        case "bytes": return "\"eA==\""
        case "uint32", "uint64", "int32", "int64", "double", "float",
            "google.protobuf.UInt32Value", "google.protobuf.UInt64Value",
            "google.protobuf.DoubleValue", "google.protobuf.FloatValue",
            "google.protobuf.Int32Value", "google.protobuf.Int64Value":
            return "\(1 + pick(3))"
        case "google.protobuf.Duration": return "\"\(1 + pick(3))s\""
        case "google.protobuf.Struct": return #"{"k":"v"}"#
        case "google.protobuf.Value": return #""v""#
        case "google.protobuf.ListValue": return "[]"
        case "google.protobuf.Empty": return "{}"
        case "google.protobuf.Any":
            guard let types = Self.extensions[place] else {
                return #"{"@type":"type.googleapis.com/unknown"}"#
            }
            return message(types[pick(types.count)], at: path, holder: place, isAny: true)
        default: break
        }
        if type.hasPrefix("enum:") {
            let numbers = type.dropFirst(5).split(separator: ",")
            return String(numbers[pick(numbers.count)])
        }
        return message(type, at: path, holder: place)
    }

    private mutating func text(_ place: String) -> String {
        if place.hasSuffix("SocketAddress.address") || place.hasSuffix(".address_prefix") {
            return "\"127.0.0.1\""
        }
        return pick(2) == 0 ? "\"/x\"" : "\"x\""
    }
}
