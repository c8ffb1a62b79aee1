import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// An answer the proxy gives by itself (envoy: sendLocalReply).
package struct LocalReply {
    package var status: Int
    package var body: String
    /// `%RESPONSE_CODE_DETAILS%`.
    package var detailsText: String
    package var flags: ResponseFlags
    /// Not over HTTP/2: where streams share the connection, one that went wrong is no reason to end the
    /// others'. A 400 over HTTP/1 does as the connection manager says, where this does not.
    package var closesConnection: Bool
    /// `location` of a redirect.
    package var location: String?
    /// Adds `x-envoy-overloaded: true`.
    package var isOverloaded: Bool
    /// For gRPC, where it does not follow from the HTTP status.
    package var grpcStatus: Int?
    /// `x-envoy-attempt-count`, where the virtual host wants it.
    package var attemptCount: Int?
    /// Its header mutations apply: to direct responses and redirects.
    package var route: RouteSelection?
    /// Its bytes or its format are the body, where the route has one.
    package var direct: DirectResponse?

    package init(
        status: Int,
        body: String = "",
        detailsText: String,
        flags: ResponseFlags = [],
        closesConnection: Bool = false,
        location: String? = nil,
        isOverloaded: Bool = false
    ) {
        self.status = status
        self.body = body
        self.detailsText = detailsText
        self.flags = flags
        self.closesConnection = closesConnection
        self.location = location
        self.isOverloaded = isOverloaded
    }

    package init(
        status: Int,
        body: StaticString,
        details: StaticString,
        flags: ResponseFlags = [],
        closesConnection: Bool = false
    ) {
        self.init(
            status: status,
            body: body.description,
            detailsText: details.description,
            flags: flags,
            closesConnection: closesConnection
        )
    }

    // MARK: The proxy's own replies

    static var requestTimeout: LocalReply {
        LocalReply(
            status: 408,
            body: "request timeout",
            details: "request_overall_timeout",
            closesConnection: true
        )
    }
    static var requestHeaderTimeout: LocalReply {
        LocalReply(
            status: 408,
            body: "request header timeout",
            details: "request_header_timeout",
            closesConnection: true
        )
    }

    static var streamIdleTimeout: LocalReply {
        LocalReply(
            status: 504,
            body: "stream timeout",
            details: "stream_idle_timeout"
        )
    }
    static var streamIdleTimeoutInRequest: LocalReply {
        LocalReply(
            status: 408,
            body: "stream timeout",
            details: "stream_idle_timeout",
            closesConnection: true
        )
    }

    static func maxDurationExceeded(requestComplete: Bool) -> LocalReply {
        var reply = LocalReply(
            status: requestComplete ? 504 : 408,
            body: "downstream duration timeout",
            details: "max_duration_timeout"
        )
        // DEADLINE_EXCEEDED
        reply.grpcStatus = 4
        return reply
    }

    static var routeNotFound: LocalReply {
        LocalReply(
            status: 404,
            body: "",
            details: "route_not_found",
            flags: .noRouteFound
        )
    }
    static var missingHost: LocalReply {
        LocalReply(
            status: 400,
            body: "",
            details: "missing_host_header"
        )
    }
    static var upgradeFailed: LocalReply {
        LocalReply(
            status: 403,
            body: "",
            details: "upgrade_failed",
            closesConnection: true
        )
    }
    static var noHealthyUpstream: LocalReply {
        LocalReply(
            status: 503,
            body: "no healthy upstream",
            details: "no_healthy_upstream",
            flags: .noHealthyUpstream
        )
    }

    static func clusterNotFound(status: Int) -> LocalReply {
        LocalReply(status: status, body: "", details: "cluster_not_found", flags: .noClusterFound)
    }

    /// No attempt is left and the last one ended without a response.
    static func upstreamReset(
        _ reason: StreamResetReason,
        transportFailure: String,
        attempts: Int,
        flags: ResponseFlags
    ) -> LocalReply {
        let retried = attempts > 1 ? "retried and the latest " : ""
        let body =
            "upstream connect error or disconnect/reset before headers. \(retried)reset reason: "
            + reason.text.description
        var details = "upstream_reset_before_response_started{" + reason.detail
        // What TLS or TCP said is part of the details of a refused connection only.
        if !transportFailure.isEmpty,
            reason == .remoteConnectionFailure || reason == .localConnectionFailure
        {
            details += "|" + Self.underscored(transportFailure)
        }
        return LocalReply(
            status: reason == .protocolError ? 502 : 503,
            body: body,
            detailsText: details + "}",
            flags: flags,
            isOverloaded: reason == .overflow
        )
    }

    static func upstreamTimeout(_ timeout: UpstreamTimeout) -> LocalReply {
        LocalReply(
            status: 504,
            body: timeout.body,
            details: timeout.details,
            flags: timeout == .streamDuration
                ? .upstreamMaxStreamDurationReached : .upstreamRequestTimeout
        )
    }

    static var absolutePathRejected: LocalReply {
        LocalReply(
            status: 404,
            body: "",
            details: "absolute_path_rejected"
        )
    }
    static var pathNormalizationFailed: LocalReply {
        LocalReply(
            status: 400,
            body: "",
            details: "path_normalization_failed"
        )
    }
    static var unexpectedUnderscore: LocalReply {
        LocalReply(
            status: 400,
            body: "Bad Request",
            details: "http1.unexpected_underscore",
            flags: .downstreamProtocolError,
            closesConnection: true
        )
    }

    static func redirect(status: Int, _ location: consuming ByteBuffer) -> LocalReply {
        LocalReply(
            status: status,
            detailsText: "direct_response",
            location: String(bytes: location.bytes)
        )
    }

    static func direct(_ response: DirectResponse, for head: HeaderMap) -> LocalReply {
        var reply = LocalReply(
            status: response.status,
            body: response.text,
            detailsText: "direct_response"
        )
        if response.hasLocation {
            var location = ByteBuffer()
            RedirectLocation.appendSame(head, to: &location)
            reply.location = String(bytes: location.bytes)
        }
        reply.direct = response
        return reply
    }

    /// Details and logs hold no white space, so that they stay one field.
    static func underscored(_ text: String) -> String {
        String(text.map { $0.isWhitespace ? "_" : $0 })
    }
}

extension StreamResetReason {
    /// As `%RESPONSE_CODE_DETAILS%` spells it.
    package var detail: String { LocalReply.underscored(text.description) }

    /// The response flag of an upstream that ended this way.
    package var upstreamFlag: ResponseFlags {
        switch self {
        case .localReset, .localRefused: .localReset
        case .remoteReset, .remoteRefused, .connectError: .upstreamRemoteReset
        case .localConnectionFailure, .remoteConnectionFailure, .connectionTimeout:
            .upstreamConnectionFailure
        case .connectionTermination: .upstreamConnectionTermination
        case .overflow: .upstreamOverflow
        case .protocolError: .upstreamProtocolError
        }
    }
}
