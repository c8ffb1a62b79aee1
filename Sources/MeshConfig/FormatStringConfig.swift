/// A text with `%OPERATOR%`s in it, parsed: what access logs, local replies and added headers are
/// made of (envoy: substitution format strings). Evaluation is the runtime's.
package struct FormatStringConfig: Hashable, Sendable {
    package let parts: [FormatPart]

    package init(parts: [FormatPart]) { self.parts = parts }

    /// Whether the text is the same for every stream.
    package var isLiteral: Bool {
        parts.allSatisfy { if case .literal = $0 { true } else { false } }
    }

    /// Parses `text`; the error says which operator is wrong and why.
    package static func parse(_ text: String) throws(FormatError) -> FormatStringConfig {
        var parser = FormatParser(text)
        return FormatStringConfig(parts: try parser.parse())
    }

    /// A header value, as header mutations have it.
    package init(headerValue text: String, at object: ConfigObject, key: String) {
        self = Self.decode(text, in: object, at: key)
    }

    /// Parses `text` that stands at `key` of `object` and reports what is wrong with it there.
    package static func decode(
        _ text: String,
        in object: ConfigObject,
        at key: String
    ) -> FormatStringConfig {
        do throws(FormatError) {
            return try parse(text)
        } catch {
            object.error(error.description, at: key)
            return FormatStringConfig(parts: [])
        }
    }
}

/// What is wrong with a format string.
package struct FormatError: Error, Hashable, Sendable, CustomStringConvertible {
    package let description: String
}

/// One piece of a format string.
package enum FormatPart: Hashable, Sendable {
    case literal(String)
    /// An operator without parameters.
    case field(FormatField)
    /// `%REQ(name?alternative):lengthMax%` and its kin. Names in lower case.
    case header(FormatHeaderSource, name: String, alternative: String?, lengthMax: Int?)
    case time(FormatTime, TimeFormat)
    case commonDuration(from: FormatTimePoint, to: FormatTimePoint, unit: FormatTimeUnit)
    /// `%METADATA(kind:namespace:key:…):lengthMax%` and the operators by kind.
    case metadata(FormatMetadataSource, namespace: String, path: [String], lengthMax: Int?)
    /// `%FILTER_STATE(key:PLAIN|TYPED|FIELD:name):lengthMax%`; quoted where TYPED asks for JSON.
    case filterState(key: String, FilterStateForm, lengthMax: Int?)
    case environment(name: String, lengthMax: Int?)
    case grpcStatus(FormatGRPCStatus)
    case requestedServerName(FormatServerName)
    case path(withQuery: FormatQueryMode, FormatPathSource, lengthMax: Int?)
    case queryParameter(name: String, lengthMax: Int?)
}

package enum FormatHeaderSource: UInt8, Hashable, Sendable {
    case request, requestWithoutQuery, response, trailer
}

package enum FormatTime: UInt8, Hashable, Sendable {
    case start, emit
    case downstreamPeerCertStart, downstreamPeerCertEnd, upstreamPeerCertStart, upstreamPeerCertEnd
}

/// `%COMMON_DURATION%`'s points in the life of a stream; those that begin with `mesh.` are ours, and
/// custom points that nobody sets to Envoy.
package enum FormatTimePoint: String, CaseIterable, Hashable, Sendable {
    case downstreamConnectionBegin = "DS_CX_BEG"
    case downstreamConnectionEnd = "DS_CX_END"
    case downstreamHandshakeBegin = "DS_HS_BEG"
    case downstreamHandshakeEnd = "DS_HS_END"
    case requestBegin = "DS_RX_BEG"
    case requestHeadEnd = "DS_RX_HDR_END"
    case requestEnd = "DS_RX_END"
    case authorized = "mesh.authorized"
    case routed = "mesh.routed"
    case poolReady = "mesh.pool_ready"
    case upstreamConnectBegin = "US_CX_BEG"
    case upstreamConnectEnd = "US_CX_END"
    case upstreamHandshakeEnd = "US_HS_END"
    case upstreamRequestBegin = "US_TX_BEG"
    case upstreamRequestEnd = "US_TX_END"
    case requestFlushed = "mesh.request_flushed"
    case upstreamResponseBegin = "US_RX_BEG"
    case upstreamResponseBodyBegin = "US_RX_BODY_BEG"
    case upstreamResponseEnd = "US_RX_END"
    case responseBegin = "DS_TX_BEG"
    case responseEnd = "DS_TX_END"
}

package enum FormatTimeUnit: String, CaseIterable, Hashable, Sendable {
    case milliseconds = "ms"
    case microseconds = "us"
    case nanoseconds = "ns"
}

package enum FormatMetadataSource: String, CaseIterable, Hashable, Sendable {
    case dynamic = "DYNAMIC"
    case cluster = "CLUSTER"
    case route = "ROUTE"
    case upstreamHost = "UPSTREAM_HOST"
    case virtualHost = "VIRTUAL_HOST"
    case listener = "LISTENER"
    case filterChain = "LISTENER_FILTER_CHAIN"
}

package enum FormatGRPCStatus: String, CaseIterable, Hashable, Sendable {
    case camel = "CAMEL_STRING"
    case snake = "SNAKE_STRING"
    case number = "NUMBER"
}

/// Which of TLS server name and `:authority` `%REQUESTED_SERVER_NAME%` prints.
package enum FormatServerName: String, CaseIterable, Hashable, Sendable {
    case serverNameOnly = "SNI_ONLY"
    case serverNameFirst = "SNI_FIRST"
    case hostOnly = "HOST_ONLY"
    case hostFirst = "HOST_FIRST"
}

package enum FormatQueryMode: String, CaseIterable, Hashable, Sendable {
    case with = "WQ"
    case without = "NQ"
}

package enum FormatPathSource: String, CaseIterable, Hashable, Sendable {
    case originalOrPath = "ORIG_OR_PATH"
    case path = "PATH"
    case original = "ORIG"
}

/// Operators without parameters; the raw value is Envoy's name.
package enum FormatField: String, CaseIterable, Hashable, Sendable {
    case proto = "PROTOCOL"
    case upstreamProtocol = "UPSTREAM_PROTOCOL"
    case responseCode = "RESPONSE_CODE"
    case responseCodeDetails = "RESPONSE_CODE_DETAILS"
    case responseFlags = "RESPONSE_FLAGS"
    case responseFlagsLong = "RESPONSE_FLAGS_LONG"
    case connectionTerminationDetails = "CONNECTION_TERMINATION_DETAILS"
    case bytesReceived = "BYTES_RECEIVED"
    case bytesSent = "BYTES_SENT"
    case upstreamWireBytesReceived = "UPSTREAM_WIRE_BYTES_RECEIVED"
    case upstreamWireBytesSent = "UPSTREAM_WIRE_BYTES_SENT"
    case downstreamWireBytesReceived = "DOWNSTREAM_WIRE_BYTES_RECEIVED"
    case downstreamWireBytesSent = "DOWNSTREAM_WIRE_BYTES_SENT"
    case requestHeadersBytes = "REQUEST_HEADERS_BYTES"
    case responseHeadersBytes = "RESPONSE_HEADERS_BYTES"
    case responseTrailersBytes = "RESPONSE_TRAILERS_BYTES"
    case duration = "DURATION"
    case requestDuration = "REQUEST_DURATION"
    case requestTxDuration = "REQUEST_TX_DURATION"
    case responseDuration = "RESPONSE_DURATION"
    case responseTxDuration = "RESPONSE_TX_DURATION"
    case downstreamHandshakeDuration = "DOWNSTREAM_HANDSHAKE_DURATION"
    case upstreamHost = "UPSTREAM_HOST"
    case upstreamHostName = "UPSTREAM_HOST_NAME"
    case upstreamHostNameWithoutPort = "UPSTREAM_HOST_NAME_WITHOUT_PORT"
    case upstreamCluster = "UPSTREAM_CLUSTER"
    case upstreamClusterRaw = "UPSTREAM_CLUSTER_RAW"
    case upstreamLocalAddress = "UPSTREAM_LOCAL_ADDRESS"
    case upstreamLocalAddressWithoutPort = "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT"
    case upstreamLocalPort = "UPSTREAM_LOCAL_PORT"
    case upstreamRemoteAddress = "UPSTREAM_REMOTE_ADDRESS"
    case upstreamRemoteAddressWithoutPort = "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT"
    case upstreamRemotePort = "UPSTREAM_REMOTE_PORT"
    case upstreamRequestAttemptCount = "UPSTREAM_REQUEST_ATTEMPT_COUNT"
    case upstreamTransportFailureReason = "UPSTREAM_TRANSPORT_FAILURE_REASON"
    case upstreamConnectionID = "UPSTREAM_CONNECTION_ID"
    case upstreamServerName = "UPSTREAM_SERVER_NAME"
    case upstreamTLSVersion = "UPSTREAM_TLS_VERSION"
    case upstreamTLSCipher = "UPSTREAM_TLS_CIPHER"
    case upstreamTLSSessionID = "UPSTREAM_TLS_SESSION_ID"
    case upstreamPeerSubject = "UPSTREAM_PEER_SUBJECT"
    case upstreamPeerIssuer = "UPSTREAM_PEER_ISSUER"
    case upstreamPeerCert = "UPSTREAM_PEER_CERT"
    case upstreamPeerURISAN = "UPSTREAM_PEER_URI_SAN"
    case upstreamPeerDNSSAN = "UPSTREAM_PEER_DNS_SAN"
    case upstreamPeerIPSAN = "UPSTREAM_PEER_IP_SAN"
    case upstreamLocalURISAN = "UPSTREAM_LOCAL_URI_SAN"
    case upstreamLocalDNSSAN = "UPSTREAM_LOCAL_DNS_SAN"
    case upstreamLocalIPSAN = "UPSTREAM_LOCAL_IP_SAN"
    case downstreamRemoteAddress = "DOWNSTREAM_REMOTE_ADDRESS"
    case downstreamRemoteAddressWithoutPort = "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT"
    case downstreamRemotePort = "DOWNSTREAM_REMOTE_PORT"
    case downstreamDirectRemoteAddress = "DOWNSTREAM_DIRECT_REMOTE_ADDRESS"
    case downstreamDirectRemoteAddressWithoutPort =
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT"
    case downstreamDirectRemotePort = "DOWNSTREAM_DIRECT_REMOTE_PORT"
    case downstreamLocalAddress = "DOWNSTREAM_LOCAL_ADDRESS"
    case downstreamLocalAddressWithoutPort = "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT"
    case downstreamLocalPort = "DOWNSTREAM_LOCAL_PORT"
    case downstreamDirectLocalAddress = "DOWNSTREAM_DIRECT_LOCAL_ADDRESS"
    case downstreamDirectLocalAddressWithoutPort = "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT"
    case downstreamDirectLocalPort = "DOWNSTREAM_DIRECT_LOCAL_PORT"
    case downstreamTransportFailureReason = "DOWNSTREAM_TRANSPORT_FAILURE_REASON"
    case downstreamTLSVersion = "DOWNSTREAM_TLS_VERSION"
    case downstreamTLSCipher = "DOWNSTREAM_TLS_CIPHER"
    case downstreamTLSSessionID = "DOWNSTREAM_TLS_SESSION_ID"
    case downstreamPeerURISAN = "DOWNSTREAM_PEER_URI_SAN"
    case downstreamPeerDNSSAN = "DOWNSTREAM_PEER_DNS_SAN"
    case downstreamPeerIPSAN = "DOWNSTREAM_PEER_IP_SAN"
    case downstreamPeerEmailSAN = "DOWNSTREAM_PEER_EMAIL_SAN"
    case downstreamPeerSubject = "DOWNSTREAM_PEER_SUBJECT"
    case downstreamPeerIssuer = "DOWNSTREAM_PEER_ISSUER"
    case downstreamPeerSerial = "DOWNSTREAM_PEER_SERIAL"
    case downstreamPeerFingerprint256 = "DOWNSTREAM_PEER_FINGERPRINT_256"
    case downstreamPeerFingerprint1 = "DOWNSTREAM_PEER_FINGERPRINT_1"
    case downstreamPeerChainSerials = "DOWNSTREAM_PEER_CHAIN_SERIALS"
    case downstreamPeerChainFingerprints256 = "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256"
    case downstreamPeerChainFingerprints1 = "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1"
    case downstreamPeerCert = "DOWNSTREAM_PEER_CERT"
    case downstreamLocalURISAN = "DOWNSTREAM_LOCAL_URI_SAN"
    case downstreamLocalDNSSAN = "DOWNSTREAM_LOCAL_DNS_SAN"
    case downstreamLocalIPSAN = "DOWNSTREAM_LOCAL_IP_SAN"
    case downstreamLocalEmailSAN = "DOWNSTREAM_LOCAL_EMAIL_SAN"
    case downstreamLocalSubject = "DOWNSTREAM_LOCAL_SUBJECT"
    case routeName = "ROUTE_NAME"
    case virtualClusterName = "VIRTUAL_CLUSTER_NAME"
    case filterChainName = "FILTER_CHAIN_NAME"
    case connectionID = "CONNECTION_ID"
    case streamID = "STREAM_ID"
    case hostname = "HOSTNAME"
    case localReplyBody = "LOCAL_REPLY_BODY"
    case grpcStatusNumber = "GRPC_STATUS_NUMBER"
    case accessLogType = "ACCESS_LOG_TYPE"
    case queryParameters = "QUERY_PARAMS"
    /// Absent and empty: no spans are made, and no filter sets flags of its own.
    case traceID = "TRACE_ID"
    case spanID = "SPAN_ID"
    case customFlags = "CUSTOM_FLAGS"
}

/// What is shown of an object of the filter state.
package enum FilterStateForm: Hashable, Sendable {
    case plain
    case typed
    /// One part of an object that has parts: `ip` or `port` of an address.
    case field(String)
}
