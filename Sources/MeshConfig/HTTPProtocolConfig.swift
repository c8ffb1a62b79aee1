/// Options that all versions of HTTP share (envoy: core.v3.HttpProtocolOptions).
///
/// Nil means that the side's own default holds, which differs between downstream and upstream.
package struct HTTPProtocolConfig: Hashable, Sendable {
    package enum UnderscoresAction: Int, ConfigEnum {
        case allow = 0
        case rejectRequest
        case dropHeader
    }

    /// How long a connection may be without streams; nil is the default of an hour, zero is forever.
    package let idleTimeout: Duration?
    package let maxConnectionDuration: Duration?
    /// Fields of a head; nil is the default of 100.
    package let maxHeadersCount: UInt32?
    /// Of a response head; nil is the default of 60 KiB.
    package let maxResponseHeadersKilobytes: UInt32?
    package let maxStreamDuration: Duration?
    package let underscoresAction: UnderscoresAction
    /// Nil or zero is no limit.
    package let maxRequestsPerConnection: UInt32?

    package init() {
        idleTimeout = nil
        maxConnectionDuration = nil
        maxHeadersCount = nil
        maxResponseHeadersKilobytes = nil
        maxStreamDuration = nil
        underscoresAction = .allow
        maxRequestsPerConnection = nil
    }

    /// - Parameter isUpstream: the options are a cluster's, of which two make no sense.
    package init(_ object: ConfigObject, isUpstream: Bool = false) {
        idleTimeout = object.duration("idle_timeout")
        maxConnectionDuration = object.duration("max_connection_duration")
        object.unsupported("max_connection_duration_jitter", "the duration is exact")
        maxHeadersCount = object.uint32("max_headers_count", in: 1...UInt32.max)
        maxResponseHeadersKilobytes = object.uint32("max_response_headers_kb", in: 1...8192)
        if isUpstream {
            object.unsupported("max_stream_duration", "give it in the route or the manager")
            // About requests: the cluster sends them.
            object.inert("headers_with_underscores_action")
            maxStreamDuration = nil
            underscoresAction = .allow
        } else {
            maxStreamDuration = object.duration("max_stream_duration")
            underscoresAction = object.enumeration(
                "headers_with_underscores_action",
                default: .allow
            )
        }
        maxRequestsPerConnection = object.uint32("max_requests_per_connection")
    }
}

/// Options of HTTP/1 (envoy: core.v3.Http1ProtocolOptions).
package struct HTTP1ProtocolConfig: Hashable, Sendable {
    package enum HeaderKeyFormat: Hashable, Sendable {
        case lowerCase
        case properCase
        /// Names leave in the case in which they came.
        case preserveCase
    }

    /// Whether `GET http://host/path` is taken as a request for `host`.
    package let allowsAbsoluteURL: Bool
    package let acceptsHTTP10: Bool
    package let defaultHostForHTTP10: String
    package let headerKeyFormat: HeaderKeyFormat
    package let enablesTrailers: Bool
    /// Whether a message may have both Content-Length and chunked encoding.
    package let allowsChunkedLength: Bool
    package let sendsFullyQualifiedURL: Bool
    package let allowsCustomMethods: Bool
    /// Whether a connection outlives a request that is not valid but can be read to its end; nil is what
    /// the connection manager says (envoy: override_stream_error_on_invalid_http_message).
    package let endsOnlyStreamOnInvalidMessage: Bool?
    /// Protocols whose upgrades are taken for plain requests.
    package let ignoredUpgrades: [StringMatch]

    package init() {
        allowsAbsoluteURL = true
        acceptsHTTP10 = false
        defaultHostForHTTP10 = ""
        headerKeyFormat = .lowerCase
        enablesTrailers = false
        allowsChunkedLength = false
        sendsFullyQualifiedURL = false
        allowsCustomMethods = false
        endsOnlyStreamOnInvalidMessage = nil
        ignoredUpgrades = []
    }

    /// - Parameter isUpstream: the options are a cluster's: those of requests have no effect.
    package init(_ object: ConfigObject, isUpstream: Bool = false) {
        if isUpstream {
            object.inert(
                "allow_absolute_url",
                "accept_http_10",
                "default_host_for_http_10",
                "override_stream_error_on_invalid_http_message",
                "allow_custom_methods",
                "ignore_http_11_upgrade"
            )
            allowsAbsoluteURL = true
            acceptsHTTP10 = false
            defaultHostForHTTP10 = ""
            allowsCustomMethods = false
            endsOnlyStreamOnInvalidMessage = nil
            ignoredUpgrades = []
        } else {
            allowsAbsoluteURL = object.bool("allow_absolute_url", default: true)
            acceptsHTTP10 = object.bool("accept_http_10", default: false)
            defaultHostForHTTP10 = object.string("default_host_for_http_10", default: "")
            endsOnlyStreamOnInvalidMessage = object.bool(
                "override_stream_error_on_invalid_http_message"
            )
            allowsCustomMethods = object.bool("allow_custom_methods", default: false)
            ignoredUpgrades = object.objects("ignore_http_11_upgrade").map { StringMatch($0) }
        }
        headerKeyFormat = Self.keyFormat(object.object("header_key_format"))
        enablesTrailers = object.bool("enable_trailers", default: false)
        allowsChunkedLength = object.bool("allow_chunked_length", default: false)
        sendsFullyQualifiedURL = object.bool("send_fully_qualified_url", default: false)
        // There is one parser here.
        object.inert("use_balsa_parser")
    }

    private static let preserveCase =
        "envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig"

    private static func keyFormat(_ object: ConfigObject?) -> HeaderKeyFormat {
        guard let object else { return .lowerCase }
        switch object.exactlyOne(of: "proper_case_words", "stateful_formatter") {
        case "proper_case_words":
            _ = object.object("proper_case_words")
            return .properCase
        case "stateful_formatter":
            guard let formatter = object.object("stateful_formatter") else { return .lowerCase }
            _ = formatter.requiredString("name")
            guard let (type, options) = formatter.typedConfig() else { return .preserveCase }
            guard type == preserveCase else {
                formatter.error(
                    "\(ConfigNode.quoted(type)) is not supported; the one formatter is "
                        + preserveCase,
                    at: "typed_config"
                )
                options.skip()
                return .lowerCase
            }
            options.unsupported(
                "forward_reason_phrase",
                "responses leave with their status's own phrase"
            )
            options.unsupported(
                "formatter_type_on_envoy_headers",
                "headers of the proxy leave in lower case"
            ) {
                $0 == .string("DEFAULT")
            }
            return .preserveCase
        default: return .lowerCase
        }
    }
}
