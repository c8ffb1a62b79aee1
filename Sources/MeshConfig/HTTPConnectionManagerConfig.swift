import MeshNet

/// How HTTP is spoken with clients on one filter chain
/// (envoy: filters.network.http_connection_manager.v3.HttpConnectionManager).
package struct HTTPConnectionManagerConfig: Sendable {
    package enum CodecType: Int, ConfigEnum {
        case auto
        case http1
        case http2
        case http3
    }

    /// What becomes of the `server` field of a response.
    package enum ServerHeaderTransformation: Int, ConfigEnum {
        case overwrite
        case appendIfAbsent
        case passThrough
    }

    /// What becomes of `%2F` and `%5C` in a path.
    package enum EscapedSlashesAction: Int, ConfigEnum {
        case implementationSpecificDefault
        case keepUnchanged
        case rejectRequest
        case unescapeAndRedirect
        case unescapeAndForward
    }

    package enum HostPortStripping: Sendable {
        case none
        /// Only a port that equals the listener's.
        case matching
        case any
    }

    /// What `:scheme` becomes.
    package enum SchemeTransformation: Hashable, Sendable {
        case none
        /// `http` or `https`.
        case overwrite(String)
        /// What the upstream's transport socket is.
        case matchUpstream
    }

    package let codecType: CodecType
    package let statPrefix: String
    package private(set) var routes: RouteConfig
    package let filters: [HTTPFilterConfig]
    /// Whether an absent `user-agent` is set to the node's cluster.
    package let addsUserAgent: Bool
    package let protocolOptions: HTTPProtocolConfig
    package let http1: HTTP1ProtocolConfig
    package let http2: HTTP2ProtocolConfig
    package let serverName: String
    package let serverHeaderTransformation: ServerHeaderTransformation
    package let schemeTransformation: SchemeTransformation
    package let requestHeadersKilobytesMax: Int
    /// Zero in any of these means no limit.
    package let streamIdleTimeout: Duration
    /// Whether an HTTP/1 connection ends with a 400 of the proxy's own
    /// (envoy: stream_error_on_invalid_http_message).
    package let closesAfterBadRequest: Bool
    package let requestTimeout: Duration
    package let requestHeadersTimeout: Duration
    package let drainTimeout: Duration
    package let delayedCloseTimeout: Duration
    package let accessLogs: [AccessLogConfig]
    package let usesRemoteAddress: Bool
    package let trustedHops: Int
    package let originalIPDetection: [OriginalIPDetectionConfig]
    package let internalAddresses: InternalAddressConfig
    package let skipsForwardedForAppend: Bool
    package let via: String
    package let generatesRequestID: Bool
    package let preservesExternalRequestID: Bool
    package let alwaysSetsRequestIDInResponse: Bool
    package let packsTraceReason: Bool
    package let clientCertificate: ForwardClientCertConfig
    package let proxiesContinue: Bool
    package let upgrades: [UpgradeConfig]
    package let normalizesPath: Bool
    package let mergesSlashes: Bool
    package let escapedSlashesAction: EscapedSlashesAction
    package private(set) var localReply: LocalReplyConfig?
    package let hostPortStripping: HostPortStripping
    package let stripsTrailingHostDot: Bool
    package let appendsForwardedPort: Bool
    package let forwardedProto: ForwardedProtoConfig

    package init(_ object: ConfigObject) {
        codecType = Self.codecType(object)
        statPrefix = object.requiredString("stat_prefix")
        object.unsupported("rds", "routes are read from this file only; use route_config")
        object.unsupported("scoped_routes", "one route table serves the listener; use route_config")
        _ = object.exactlyOne(of: "route_config", "rds", "scoped_routes")
        routes =
            object.object("route_config").map { RouteConfig($0) }
            ?? RouteConfig(ConfigObject.empty(at: object))
        filters = HTTPFilterConfig.chain(object)
        addsUserAgent = object.bool("add_user_agent", default: false)
        protocolOptions =
            object.object("common_http_protocol_options").map { HTTPProtocolConfig($0) }
            ?? HTTPProtocolConfig()
        http1 =
            object.object("http_protocol_options").map { HTTP1ProtocolConfig($0) }
            ?? HTTP1ProtocolConfig()
        let endsOnlyStream = object.bool("stream_error_on_invalid_http_message")
        http2 =
            object.object("http2_protocol_options").map {
                HTTP2ProtocolConfig($0, endsOnlyStreamOnInvalidMessage: endsOnlyStream)
            } ?? HTTP2ProtocolConfig(endsOnlyStreamOnInvalidMessage: endsOnlyStream)
        closesAfterBadRequest = !(http1.endsOnlyStreamOnInvalidMessage ?? endsOnlyStream ?? false)
        let server = object.string("server_name", default: "")
        serverName = server.isEmpty ? "envoy" : server
        serverHeaderTransformation =
            object.enumeration("server_header_transformation", ServerHeaderTransformation.self)
            ?? .overwrite
        schemeTransformation = Self.schemeTransformation(object)
        requestHeadersKilobytesMax = Int(object.uint32("max_request_headers_kb", default: 60))
        if !(1...8192).contains(requestHeadersKilobytesMax) {
            object.error("must be within 1...8192", at: "max_request_headers_kb")
        }

        streamIdleTimeout = object.duration("stream_idle_timeout") ?? .seconds(300)
        requestTimeout = object.duration("request_timeout") ?? .zero
        requestHeadersTimeout = object.duration("request_headers_timeout") ?? .zero
        drainTimeout = object.duration("drain_timeout") ?? .seconds(5)
        delayedCloseTimeout = object.duration("delayed_close_timeout") ?? .seconds(1)

        accessLogs = object.objects("access_log").map { AccessLogConfig($0) }
        usesRemoteAddress = object.bool("use_remote_address", default: false)
        trustedHops = Int(object.uint32("xff_num_trusted_hops", default: 0))
        originalIPDetection = object.objects("original_ip_detection_extensions")
            .compactMap { OriginalIPDetectionConfig.decode($0) }
        internalAddresses = InternalAddressConfig(object.object("internal_address_config"))
        if object.object("internal_address_config") == nil {
            object.warning(
                "no internal_address_config: no request counts as internal, so that"
                    + " x-envoy-* request headers are taken from nobody"
            )
        }
        skipsForwardedForAppend = object.bool("skip_xff_append", default: false)
        via = object.string("via", default: "")
        generatesRequestID = object.bool("generate_request_id", default: true)
        preservesExternalRequestID = object.bool("preserve_external_request_id", default: false)
        alwaysSetsRequestIDInResponse = object.bool(
            "always_set_request_id_in_response",
            default: false
        )
        packsTraceReason = Self.packsTraceReason(object)
        clientCertificate = ForwardClientCertConfig(object)
        proxiesContinue = object.bool("proxy_100_continue", default: false)
        upgrades = object.objects("upgrade_configs").map { UpgradeConfig($0) }
        normalizesPath = object.bool("normalize_path", default: false)
        mergesSlashes = object.bool("merge_slashes", default: false)
        escapedSlashesAction =
            object.enumeration("path_with_escaped_slashes_action", EscapedSlashesAction.self)
            ?? .implementationSpecificDefault
        RBACPathLint.check(
            object,
            filters,
            normalizesPath: normalizesPath,
            mergesSlashes: mergesSlashes
        )
        localReply = object.object("local_reply_config").map { LocalReplyConfig($0) }
        hostPortStripping = Self.hostPortStripping(object)
        stripsTrailingHostDot = object.bool("strip_trailing_host_dot", default: false)
        appendsForwardedPort = object.bool("append_x_forwarded_port", default: false)
        forwardedProto = ForwardedProtoConfig(object.object("forward_proto_config"))
        Self.refuseTheRest(object)
        checkProtocolOptions(object)
        checkCombinations(object)
    }

    /// Reads what the filter chain's HTTP part names as files. Control thread only.
    package mutating func loadFiles(_ files: any ConfigFiles, problems: inout [String]) {
        routes.loadFiles(files, problems: &problems)
        localReply?.loadFiles(files, problems: &problems)
    }

    private static func codecType(_ object: ConfigObject) -> CodecType {
        let type = object.enumeration("codec_type", CodecType.self) ?? .auto
        switch type {
        case .auto, .http1, .http2: break
        case .http3: object.error("HTTP/3 is not implemented; use HTTP2 or AUTO", at: "codec_type")
        }
        object.unsupported("http3_protocol_options", "HTTP/3 is not implemented")
        return type
    }

    private static func schemeTransformation(_ object: ConfigObject) -> SchemeTransformation {
        guard let scheme = object.object("scheme_header_transformation") else { return .none }
        let text = scheme.string("scheme_to_overwrite", default: "")
        let matches = scheme.bool("match_upstream", default: false)
        if !text.isEmpty, text != "http", text != "https" {
            scheme.error("\"\(text)\" must be http or https", at: "scheme_to_overwrite")
        }
        if !text.isEmpty, matches {
            scheme.error("excludes scheme_to_overwrite", at: "match_upstream")
        }
        return !text.isEmpty ? .overwrite(text) : matches ? .matchUpstream : .none
    }

    private static func packsTraceReason(_ object: ConfigObject) -> Bool {
        guard
            let (type, config) = object.object("request_id_extension").flatMap({ $0.typedConfig() })
        else { return true }
        guard type == "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig" else {
            object.error(
                "request id extension \"\(type)\" is not implemented; only uuid is",
                at: "request_id_extension"
            )
            return true
        }
        // Without tracing nothing is sampled.
        config.inert("use_request_id_for_trace_sampling")
        return config.bool("pack_trace_reason", default: true)
    }

    private static func hostPortStripping(_ object: ConfigObject) -> HostPortStripping {
        let any = object.bool("strip_any_host_port", default: false)
        let matching = object.bool("strip_matching_host_port", default: false)
        if any, matching {
            object.error("excludes strip_matching_host_port", at: "strip_any_host_port")
        }
        return any ? .any : matching ? .matching : .none
    }

    private static func refuseTheRest(_ object: ConfigObject) {
        object.unsupported("tracing", "spans are not produced")
        object.unsupported(
            "represent_ipv4_remote_address_as_ipv4_mapped_ipv6",
            "addresses are written as they are"
        )
        object.unsupported(
            "http1_safe_max_connection_duration",
            "an aged connection is closed after drain_timeout"
        )
        object.unsupported("stream_flush_timeout", "use stream_idle_timeout")
        object.unsupported("drain_timeout_jitter", "draining is spread over drain_timeout")
        object.unsupported("early_header_mutation_extensions", "no such extension is implemented")
        object.unsupported("forward_client_cert_matcher", "matcher trees are not implemented")
        object.unsupported(
            "path_normalization_options",
            "use normalize_path and merge_slashes"
        )
        object.unsupported("proxy_status_config", "the Proxy-Status field is not produced")
        object.unsupported("typed_header_validation_config", "the validation built in is always on")
        object.unsupported("append_local_overload", "there is no overload manager")
        // One record is written, at the end of a request.
        object.object("access_log_options")?.inert(
            "access_log_flush_interval",
            "flush_access_log_on_new_request",
            "flush_log_on_tunnel_successfully_established"
        )
        object.inert("access_log_flush_interval", "flush_access_log_on_new_request")
        // Statistics only; and TLS state for a PROXY header that is never sent.
        object.inert("record_route_resolution_stats", "add_proxy_protocol_connection_state")
    }

    /// Fields that mean something to clusters only.
    private func checkProtocolOptions(_ object: ConfigObject) {
        if protocolOptions.maxResponseHeadersKilobytes != nil {
            object.object("common_http_protocol_options")?.error(
                "is for clusters only",
                at: "max_response_headers_kb"
            )
        }
        if http1.sendsFullyQualifiedURL {
            object.object("http_protocol_options")?.error(
                "is for clusters only",
                at: "send_fully_qualified_url"
            )
        }
    }

    private func checkCombinations(_ object: ConfigObject) {
        for (key, text) in [("server_name", serverName), ("via", via)]
        where text.utf8.contains(where: { $0 < 0x20 && $0 != 0x09 || $0 == 0x7F }) {
            object.error("\(ConfigNode.quoted(text)) is no header value", at: key)
        }
        UpgradeConfig.checkUnique(object, upgrades.map(\.type))
        if !originalIPDetection.isEmpty {
            if usesRemoteAddress {
                object.error(
                    "excludes original_ip_detection_extensions: either the peer is the client or"
                        + " the extensions find it",
                    at: "use_remote_address"
                )
            }
            if trustedHops > 0 {
                object.error(
                    "excludes original_ip_detection_extensions; the xff extension has its own",
                    at: "xff_num_trusted_hops"
                )
            }
        }
        checkFilterOverrides(object)
    }

    private func checkFilterOverrides(_ object: ConfigObject) {
        let names = routes.filterOverrideNames
        let kinds = Dictionary(
            filters.map { ($0.name, $0.kind) },
            uniquingKeysWith: { first, _ in first }
        )
        for filter in names.all.sorted() where kinds[filter] == nil {
            object.warning(
                "typed_per_filter_config names \"\(filter)\", but no HTTP filter has that name",
                at: "route_config"
            )
        }
        for filter in names.rbac.sorted() {
            if case .rbac? = kinds[filter] { continue }
            guard kinds[filter] != nil else { continue }
            object.error(
                "typed_per_filter_config gives \"\(filter)\" rules of RBAC, but it is another kind of"
                    + " filter; it can only be switched on and off",
                at: "route_config"
            )
        }
    }
}
