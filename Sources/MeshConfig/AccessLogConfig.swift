/// One access logger: where its lines go, what they say, which streams get one
/// (envoy: accesslog.v3.AccessLog).
package struct AccessLogConfig: Hashable, Sendable {
    package enum Sink: Hashable, Sendable {
        case file(path: String)
        case standardOutput
        case standardError
    }

    package let sink: Sink
    package let format: SubstitutionFormatConfig
    package let filter: AccessLogFilterConfig?

    package init(
        sink: Sink,
        format: SubstitutionFormatConfig,
        filter: AccessLogFilterConfig? = nil
    ) {
        self.sink = sink
        self.format = format
        self.filter = filter
    }

    package init(_ object: ConfigObject) {
        _ = object.string("name")
        filter = object.object("filter").map { AccessLogFilterConfig($0) }
        guard let (type, logger) = object.typedConfig() else {
            sink = .standardOutput
            format = Self.defaultFormat
            return
        }
        switch type {
        case "envoy.extensions.access_loggers.file.v3.FileAccessLog":
            sink = .file(path: logger.requiredString("path"))
            format = Self.fileFormat(logger)
        case "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog":
            sink = .standardOutput
            format =
                logger.object("log_format").map { SubstitutionFormatConfig($0) }
                ?? Self.defaultFormat
        case "envoy.extensions.access_loggers.stream.v3.StderrAccessLog":
            sink = .standardError
            format =
                logger.object("log_format").map { SubstitutionFormatConfig($0) }
                ?? Self.defaultFormat
        default:
            logger.skip()
            object.error(
                "the access logger \(type) is not supported; use FileAccessLog, StdoutAccessLog"
                    + " or StderrAccessLog",
                at: "typed_config"
            )
            sink = .standardOutput
            format = Self.defaultFormat
        }
    }

    /// The four ways of `FileAccessLog`, three of them deprecated since Envoy 1.16.
    private static func fileFormat(_ logger: ConfigObject) -> SubstitutionFormatConfig {
        switch logger.atMostOne(of: "format", "json_format", "typed_json_format", "log_format") {
        case "format":
            return SubstitutionFormatConfig(
                .text(
                    FormatStringConfig.decode(
                        logger.string("format", default: ""),
                        in: logger,
                        at: "format"
                    )
                )
            )
        case "json_format", "typed_json_format":
            let key = logger.isPresent("json_format") ? "json_format" : "typed_json_format"
            return SubstitutionFormatConfig(
                .json(FormatTemplate.decode(logger.value(key), logger, key))
            )
        case "log_format":
            return logger.object("log_format").map { SubstitutionFormatConfig($0) }
                ?? defaultFormat
        default:
            return defaultFormat
        }
    }

    /// What Envoy logs where the configuration says nothing.
    package static let defaultFormatText = """
        [%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" \
        %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
        %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" \
        "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"

        """

    package static let defaultFormat: SubstitutionFormatConfig = {
        do throws(FormatError) {
            return SubstitutionFormatConfig(.text(try FormatStringConfig.parse(defaultFormatText)))
        } catch {
            preconditionFailure("the default access log format: \(error)")
        }
    }()
}

/// Which streams an access logger logs (envoy: accesslog.v3.AccessLogFilter).
package indirect enum AccessLogFilterConfig: Hashable, Sendable {
    package enum Operation: Int, ConfigEnum {
        case equal = 0
        case atLeast = 1
        case atMost = 2
        case notEqual = 3

        package var name: String {
            switch self {
            case .equal: "EQ"
            case .atLeast: "GE"
            case .atMost: "LE"
            case .notEqual: "NE"
            }
        }
    }

    package struct Comparison: Hashable, Sendable {
        package let operation: Operation
        package let value: RuntimeUInt32

        package init(operation: Operation, value: RuntimeUInt32) {
            self.operation = operation
            self.value = value
        }
    }

    case always
    case statusCode(Comparison)
    /// In milliseconds.
    case duration(Comparison)
    case runtime(key: String, share: FractionalPercent, isIndependent: Bool)
    case and([AccessLogFilterConfig])
    case or([AccessLogFilterConfig])
    case header(HeaderMatchConfig)
    /// Short names; none means any flag.
    case responseFlags([String])
    /// gRPC status numbers.
    case grpcStatus([Int], isExcluded: Bool)
    case metadata(MetadataMatchConfig?, matchesMissing: Bool)
    case logType([AccessLogType], isExcluded: Bool)

    private static let kinds = [
        "status_code_filter", "duration_filter", "not_health_check_filter", "traceable_filter",
        "runtime_filter", "and_filter", "or_filter", "header_filter", "response_flag_filter",
        "grpc_status_filter", "extension_filter", "metadata_filter", "log_type_filter",
    ]

    package init(_ object: ConfigObject) { self = Self.decode(object) }

    private static func decode(_ object: ConfigObject) -> AccessLogFilterConfig {
        object.unsupported("traceable_filter", "nothing is traced")
        object.unsupported("extension_filter", "no filter extension is known")
        guard let kind = object.exactlyOne(of: kinds), kind != "traceable_filter",
            kind != "extension_filter", let filter = object.object(kind)
        else { return .always }
        switch kind {
        case "status_code_filter": return .statusCode(comparison(filter))
        case "duration_filter": return .duration(comparison(filter))
        case "runtime_filter":
            _ = filter.requiredString("runtime_key")
            return .runtime(
                key: filter.runtimeKey("runtime_key"),
                share: filter.object("percent_sampled").map { FractionalPercent($0) }
                    ?? FractionalPercent(0),
                isIndependent: filter.bool("use_independent_randomness", default: false)
            )
        case "and_filter": return .and(operands(filter))
        case "or_filter": return .or(operands(filter))
        case "header_filter":
            guard let header = filter.requiredObject("header") else { return .always }
            return .header(HeaderMatchConfig(header))
        case "response_flag_filter": return .responseFlags(responseFlags(filter))
        case "grpc_status_filter":
            return .grpcStatus(
                filter.enumerations("statuses", GRPCStatusCode.self).map(\.rawValue),
                isExcluded: filter.bool("exclude", default: false)
            )
        case "metadata_filter":
            return .metadata(
                filter.object("matcher").map { MetadataMatchConfig($0) },
                matchesMissing: filter.bool("match_if_key_not_found", default: true)
            )
        case "log_type_filter":
            return .logType(
                filter.enumerations("types", AccessLogType.self),
                isExcluded: filter.bool("exclude", default: false)
            )
        default:
            // not_health_check_filter: no request is a health check, since no filter makes one.
            return .always
        }
    }

    private static func comparison(_ filter: ConfigObject) -> Comparison {
        guard let comparison = filter.requiredObject("comparison") else {
            return Comparison(operation: .atLeast, value: RuntimeUInt32(0))
        }
        return Comparison(
            operation: comparison.enumeration("op", default: Operation.equal),
            value: comparison.requiredObject("value").map { RuntimeUInt32($0) } ?? RuntimeUInt32(0)
        )
    }

    private static func operands(_ filter: ConfigObject) -> [AccessLogFilterConfig] {
        let operands = filter.objects("filters").map { decode($0) }
        if operands.count < 2 { filter.error("needs at least two filters", at: "filters") }
        return operands
    }

    private static func responseFlags(_ filter: ConfigObject) -> [String] {
        let flags = filter.strings("flags")
        for flag in flags where !knownFlags.contains(flag) {
            filter.error(
                "\(ConfigNode.quoted(flag)) is not a response flag"
                    + Suggestion.hint(for: flag, among: knownFlags),
                at: "flags",
                element: flag
            )
        }
        return flags
    }

    /// The short names that `%RESPONSE_FLAGS%` prints.
    package static let knownFlags: Set<String> = [
        "LH", "UH", "UT", "LR", "UR", "UF", "UC", "UO", "NR", "DI", "FI", "RL", "UAEX", "RLSE",
        "DC",
        "URX", "SI", "IH", "DPE", "UMSDR", "RFCF", "NFCF", "DT", "UPE", "NC", "OM", "DF", "DO",
        "DR",
    ]
}

/// When a line is logged in the life of a stream (envoy: data.accesslog.v3.AccessLogType).
package enum AccessLogType: Int, ConfigEnum {
    case notSet = 0
    case tcpUpstreamConnected = 1
    case tcpPeriodic = 2
    case tcpConnectionEnd = 3
    case downstreamStart = 4
    case downstreamPeriodic = 5
    case downstreamEnd = 6
    case upstreamPoolReady = 7
    case upstreamPeriodic = 8
    case upstreamEnd = 9
    case downstreamTunnelSuccessfullyEstablished = 10
    case udpTunnelUpstreamConnected = 11
    case udpPeriodic = 12
    case udpSessionEnd = 13

    package var name: String { text.description }

    /// As `%ACCESS_LOG_TYPE%` prints it.
    package var text: StaticString {
        switch self {
        case .notSet: "NotSet"
        case .tcpUpstreamConnected: "TcpUpstreamConnected"
        case .tcpPeriodic: "TcpPeriodic"
        case .tcpConnectionEnd: "TcpConnectionEnd"
        case .downstreamStart: "DownstreamStart"
        case .downstreamPeriodic: "DownstreamPeriodic"
        case .downstreamEnd: "DownstreamEnd"
        case .upstreamPoolReady: "UpstreamPoolReady"
        case .upstreamPeriodic: "UpstreamPeriodic"
        case .upstreamEnd: "UpstreamEnd"
        case .downstreamTunnelSuccessfullyEstablished: "DownstreamTunnelSuccessfullyEstablished"
        case .udpTunnelUpstreamConnected: "UdpTunnelUpstreamConnected"
        case .udpPeriodic: "UdpPeriodic"
        case .udpSessionEnd: "UdpSessionEnd"
        }
    }
}

/// Status codes of gRPC (envoy: accesslog.v3.GrpcStatusFilter.Status).
package enum GRPCStatusCode: Int, ConfigEnum {
    case ok, canceled, unknown, invalidArgument, deadlineExceeded, notFound, alreadyExists
    case permissionDenied, resourceExhausted, failedPrecondition, aborted, outOfRange, unimplemented
    case `internal`, unavailable, dataLoss, unauthenticated

    /// In files, whose spelling of the second is not that of logs.
    package var name: String { self == .canceled ? "CANCELED" : snake.description }

    /// As `%GRPC_STATUS(SNAKE_STRING)%` prints it.
    package var snake: StaticString {
        switch self {
        case .ok: "OK"
        case .canceled: "CANCELLED"
        case .unknown: "UNKNOWN"
        case .invalidArgument: "INVALID_ARGUMENT"
        case .deadlineExceeded: "DEADLINE_EXCEEDED"
        case .notFound: "NOT_FOUND"
        case .alreadyExists: "ALREADY_EXISTS"
        case .permissionDenied: "PERMISSION_DENIED"
        case .resourceExhausted: "RESOURCE_EXHAUSTED"
        case .failedPrecondition: "FAILED_PRECONDITION"
        case .aborted: "ABORTED"
        case .outOfRange: "OUT_OF_RANGE"
        case .unimplemented: "UNIMPLEMENTED"
        case .internal: "INTERNAL"
        case .unavailable: "UNAVAILABLE"
        case .dataLoss: "DATA_LOSS"
        case .unauthenticated: "UNAUTHENTICATED"
        }
    }

    /// As `%GRPC_STATUS%` prints it.
    package var camel: StaticString {
        switch self {
        case .ok: "OK"
        case .canceled: "Canceled"
        case .unknown: "Unknown"
        case .invalidArgument: "InvalidArgument"
        case .deadlineExceeded: "DeadlineExceeded"
        case .notFound: "NotFound"
        case .alreadyExists: "AlreadyExists"
        case .permissionDenied: "PermissionDenied"
        case .resourceExhausted: "ResourceExhausted"
        case .failedPrecondition: "FailedPrecondition"
        case .aborted: "Aborted"
        case .outOfRange: "OutOfRange"
        case .unimplemented: "Unimplemented"
        case .internal: "Internal"
        case .unavailable: "Unavailable"
        case .dataLoss: "DataLoss"
        case .unauthenticated: "Unauthenticated"
        }
    }
}
