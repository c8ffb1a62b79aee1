/// How HTTP is spoken to a cluster (envoy: extensions.upstreams.http.v3.HttpProtocolOptions, or the
/// deprecated fields of cluster.v3.Cluster).
package struct UpstreamHTTPConfig: Hashable, Sendable {
    /// Which HTTP a connection to the cluster speaks.
    package enum Version: Hashable, Sendable {
        case http1
        case http2
        /// What the client speaks.
        case asDownstream
        /// What the server chooses by ALPN.
        case negotiated
    }

    package private(set) var common = HTTPProtocolConfig()
    package private(set) var version = Version.http1
    package private(set) var http1 = HTTP1ProtocolConfig()
    package private(set) var http2 = HTTP2ProtocolConfig()
    /// The request's host is the SNI of its connection.
    package private(set) var autoSNI = false
    /// The request's host must be among the names of the server's certificate.
    package private(set) var autoSANValidation = false
    /// The header that ``autoSNI`` and ``autoSANValidation`` look at; empty: `:authority`.
    package private(set) var autoSNIHeader = ""
    /// Requests after which a connection is closed; zero is no limit.
    package private(set) var maxRequestsPerConnection: UInt32 = 0

    private static let typeName = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

    package init() {}

    init(cluster object: ConfigObject) {
        maxRequestsPerConnection = object.uint32("max_requests_per_connection", default: 0)
        var isTyped = false
        for (name, options) in object.objectEntries("typed_extension_protocol_options") {
            guard let (type, inner) = options.openedAny() else { continue }
            if name == Self.typeName, type == Self.typeName {
                isTyped = true
                read(inner)
            } else {
                options.error(
                    "options of \(ConfigNode.quoted(name)) are not supported; the one key is "
                        + Self.typeName
                )
                inner.skip()
            }
        }
        if isTyped {
            // Envoy does not look at them either then.
            object.inert(
                "upstream_http_protocol_options",
                "common_http_protocol_options",
                "http_protocol_options",
                "http2_protocol_options",
                "protocol_selection"
            )
        } else {
            readLegacy(object)
        }
        if let limit = common.maxRequestsPerConnection { maxRequestsPerConnection = limit }
    }

    private enum ProtocolSelection: Int, ConfigEnum {
        case useConfiguredProtocol = 0
        case useDownstreamProtocol
    }

    private mutating func readLegacy(_ object: ConfigObject) {
        object.object("common_http_protocol_options").map {
            common = HTTPProtocolConfig($0, isUpstream: true)
        }
        object.object("http_protocol_options").map {
            http1 = HTTP1ProtocolConfig($0, isUpstream: true)
        }
        object.object("upstream_http_protocol_options").map { readNames($0) }
        if let options = object.object("http2_protocol_options") {
            http2 = HTTP2ProtocolConfig(options)
            version = .http2
        }
        let selection = object.enumeration(
            "protocol_selection",
            default: ProtocolSelection.useConfiguredProtocol
        )
        if selection == .useDownstreamProtocol { version = .asDownstream }
    }

    private mutating func read(_ object: ConfigObject) {
        object.object("common_http_protocol_options").map {
            common = HTTPProtocolConfig($0, isUpstream: true)
        }
        object.object("upstream_http_protocol_options").map { readNames($0) }
        switch object.exactlyOne(
            of: "explicit_http_config",
            "use_downstream_protocol_config",
            "auto_config"
        )
        {
        case "explicit_http_config":
            object.object("explicit_http_config").map { readExplicit($0) }
        case "use_downstream_protocol_config":
            guard let downstream = object.object("use_downstream_protocol_config") else { break }
            version = .asDownstream
            readBoth(downstream)
            // Never chosen: no downstream connection speaks HTTP/3.
            downstream.inert("http3_protocol_options")
        case "auto_config":
            guard let negotiated = object.object("auto_config") else { break }
            version = .negotiated
            readBoth(negotiated)
            negotiated.unsupported("http3_protocol_options", "HTTP/3 is not implemented")
            negotiated.unsupported(
                "alternate_protocols_cache_options",
                "HTTP/3 is not implemented"
            )
        default: break
        }
        readFilters(object)
        object.unsupported("header_validation_config", "the codec's own rules hold")
        object.unsupported("outlier_detection", "outlier detection is not implemented yet")
        object.unsupported("request_mirror_policies", "mirroring is not implemented")
        object.unsupported("hash_policy", "hash balancing is not implemented")
        object.unsupported("retry_policy", "give the retry policy in the route")
    }

    private mutating func readBoth(_ object: ConfigObject) {
        object.object("http_protocol_options").map {
            http1 = HTTP1ProtocolConfig($0, isUpstream: true)
        }
        object.object("http2_protocol_options").map { http2 = HTTP2ProtocolConfig($0) }
    }

    private mutating func readExplicit(_ object: ConfigObject) {
        _ = object.exactlyOne(
            of: "http_protocol_options",
            "http2_protocol_options",
            "http3_protocol_options"
        )
        if object.isPresent("http2_protocol_options") { version = .http2 }
        readBoth(object)
        object.unsupported("http3_protocol_options", "HTTP/3 is not implemented")
    }

    private mutating func readNames(_ object: ConfigObject) {
        autoSNI = object.bool("auto_sni", default: false)
        autoSANValidation = object.bool("auto_san_validation", default: false)
        autoSNIHeader = object.string("override_auto_sni_header", default: "").lowercased()
    }

    /// Upstream HTTP filters: the codec alone, which is what leaving them out means too.
    private func readFilters(_ object: ConfigObject) {
        for filter in object.objects("http_filters") {
            let name = filter.requiredString("name")
            guard let (type, options) = filter.typedConfig() else { continue }
            let codec = "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"
            if type != codec {
                filter.error(
                    "\(ConfigNode.quoted(name)) is not supported: the one upstream HTTP filter is"
                        + " \(codec)"
                )
                options.skip()
            }
            filter.inert("is_optional")
            filter.unsupported("disabled", "the codec cannot be disabled")
            filter.unsupported("config_discovery", "configuration is read from this file only")
        }
    }
}
