import Glibc
import MeshNet

/// Header names the proxy itself reads or writes: each finds its field in a ``HeaderMap`` in O(1).
package enum KnownHeader: UInt8, CaseIterable, Sendable {
    // Pseudo-headers (RFC 9113 §8.3) come first; HTTP/1's request line and Host map to them.
    case method, path, scheme, authority, status, `protocol`
    case connection, contentLength, transferEncoding, host, te, trailer, upgrade, keepAlive
    case proxyConnection, proxyAuthenticate, http2Settings, expect, date, server, via, location
    case contentType, cookie, setCookie, userAgent, accept, origin, referer, retryAfter,
        authorization
    case requestID, forwardedFor, forwardedProto, forwardedHost, forwardedPort, forwardedClientCert
    case envoyExpectedRequestTimeout, envoyAttemptCount, envoyOriginalPath, envoyOriginalHost
    case envoyOriginalURL
    case envoyExternalAddress, envoyInternal, envoyUpstreamServiceTime, envoyOverloaded
    case envoyRetryOn, envoyRetryGRPCOn, envoyMaxRetries, envoyRetriableStatusCodes
    case envoyRetriableHeaderNames, envoyUpstreamRequestTimeout, envoyUpstreamRequestPerTryTimeout
    case envoyUpstreamAltStatName, envoyUpstreamCanary, envoyRateLimited,
        envoyImmediateHealthCheckFail
    case envoyHedgeOnPerTryTimeout, envoyDecoratorOperation, envoyDownstreamServiceCluster
    case envoyDownstreamServiceNode, envoyUpstreamHealthCheckedCluster, envoyForceTrace
    case envoyUpstreamStreamDurationMilliseconds, envoyIPTags, envoyDegraded, envoyNotForwarded
    case envoyIsTimeoutRetry, envoyUpstreamRequestTimeoutAltResponse
    case clientTraceID, traceparent, tracestate, b3, b3TraceID, grpcTimeout, grpcStatus, grpcMessage
    // `etag` stays last: ``count`` follows from it.
    case serverTiming, contentEncoding, acceptEncoding, cacheControl, meshExplain, meshTiming
    case etag

    /// The name on the wire, in lower case.
    package var name: StaticString {
        switch self {
        case .method: ":method"
        case .path: ":path"
        case .scheme: ":scheme"
        case .authority: ":authority"
        case .status: ":status"
        case .protocol: ":protocol"
        case .connection: "connection"
        case .contentLength: "content-length"
        case .transferEncoding: "transfer-encoding"
        case .host: "host"
        case .te: "te"
        case .trailer: "trailer"
        case .upgrade: "upgrade"
        case .keepAlive: "keep-alive"
        case .proxyConnection: "proxy-connection"
        case .proxyAuthenticate: "proxy-authenticate"
        case .http2Settings: "http2-settings"
        case .expect: "expect"
        case .date: "date"
        case .server: "server"
        case .via: "via"
        case .location: "location"
        case .contentType: "content-type"
        case .cookie: "cookie"
        case .setCookie: "set-cookie"
        case .userAgent: "user-agent"
        case .accept: "accept"
        case .origin: "origin"
        case .referer: "referer"
        case .retryAfter: "retry-after"
        case .authorization: "authorization"
        case .requestID: "x-request-id"
        case .forwardedFor: "x-forwarded-for"
        case .forwardedProto: "x-forwarded-proto"
        case .forwardedHost: "x-forwarded-host"
        case .forwardedPort: "x-forwarded-port"
        case .forwardedClientCert: "x-forwarded-client-cert"
        case .envoyExpectedRequestTimeout: "x-envoy-expected-rq-timeout-ms"
        case .envoyAttemptCount: "x-envoy-attempt-count"
        case .envoyOriginalPath: "x-envoy-original-path"
        case .envoyOriginalHost: "x-envoy-original-host"
        case .envoyOriginalURL: "x-envoy-original-url"
        case .envoyExternalAddress: "x-envoy-external-address"
        case .envoyInternal: "x-envoy-internal"
        case .envoyUpstreamServiceTime: "x-envoy-upstream-service-time"
        case .envoyOverloaded: "x-envoy-overloaded"
        case .envoyRetryOn: "x-envoy-retry-on"
        case .envoyRetryGRPCOn: "x-envoy-retry-grpc-on"
        case .envoyMaxRetries: "x-envoy-max-retries"
        case .envoyRetriableStatusCodes: "x-envoy-retriable-status-codes"
        case .envoyRetriableHeaderNames: "x-envoy-retriable-header-names"
        case .envoyUpstreamRequestTimeout: "x-envoy-upstream-rq-timeout-ms"
        case .envoyUpstreamRequestPerTryTimeout: "x-envoy-upstream-rq-per-try-timeout-ms"
        case .envoyUpstreamAltStatName: "x-envoy-upstream-alt-stat-name"
        case .envoyUpstreamCanary: "x-envoy-upstream-canary"
        case .envoyRateLimited: "x-envoy-ratelimited"
        case .envoyImmediateHealthCheckFail: "x-envoy-immediate-health-check-fail"
        case .envoyHedgeOnPerTryTimeout: "x-envoy-hedge-on-per-try-timeout"
        case .envoyDecoratorOperation: "x-envoy-decorator-operation"
        case .envoyDownstreamServiceCluster: "x-envoy-downstream-service-cluster"
        case .envoyDownstreamServiceNode: "x-envoy-downstream-service-node"
        case .envoyUpstreamHealthCheckedCluster: "x-envoy-upstream-healthchecked-cluster"
        case .envoyForceTrace: "x-envoy-force-trace"
        case .envoyUpstreamStreamDurationMilliseconds: "x-envoy-upstream-stream-duration-ms"
        case .envoyIPTags: "x-envoy-ip-tags"
        case .envoyDegraded: "x-envoy-degraded"
        case .envoyNotForwarded: "x-envoy-not-forwarded"
        case .envoyIsTimeoutRetry: "x-envoy-is-timeout-retry"
        case .envoyUpstreamRequestTimeoutAltResponse: "x-envoy-upstream-rq-timeout-alt-response"
        case .clientTraceID: "x-client-trace-id"
        case .traceparent: "traceparent"
        case .tracestate: "tracestate"
        case .b3: "b3"
        case .b3TraceID: "x-b3-traceid"
        case .grpcTimeout: "grpc-timeout"
        case .grpcStatus: "grpc-status"
        case .grpcMessage: "grpc-message"
        case .serverTiming: "server-timing"
        case .contentEncoding: "content-encoding"
        case .acceptEncoding: "accept-encoding"
        case .cacheControl: "cache-control"
        case .meshExplain: "x-mesh-explain"
        case .meshTiming: "x-mesh-timing"
        case .etag: "etag"
        }
    }

    /// How many there are; also the mark for "not a known header".
    @inline(__always)
    package static var count: UInt8 { Self.etag.rawValue + 1 }

    /// Finds the known header of a lower-case name, or ``count``.
    static func index(of name: Bytes) -> UInt8 { KnownHeaderTable.shared.find(name) }

    package init?(name: Bytes) {
        self.init(rawValue: Self.index(of: name))
    }
}

/// An open-addressing hash table over the known names, built once and only read afterwards.
struct KnownHeaderTable: @unchecked Sendable {
    static let shared = KnownHeaderTable()

    private struct Slot {
        var text: UnsafePointer<UInt8>?
        var length: UInt16 = 0
        var index: UInt8 = 0
    }

    /// A power of two, several times the number of names: probes are short.
    private static let size = 512
    private let slots: UnsafeMutablePointer<Slot>

    private init() {
        slots = .allocate(capacity: Self.size)
        slots.initialize(repeating: Slot(), count: Self.size)
        for header in KnownHeader.allCases {
            let name = header.name
            let bytes = Bytes(start: name.utf8Start, count: name.utf8CodeUnitCount)
            guard let base = bytes.baseAddress else { continue }
            var at = Self.hash(base, bytes.count)
            while slots[at].text != nil { at = (at &+ 1) & (Self.size - 1) }
            slots[at] = Slot(
                text: name.utf8Start,
                length: UInt16(name.utf8CodeUnitCount),
                index: header.rawValue
            )
        }
    }

    /// Length, first, middle and last byte: enough to part the names, and four loads.
    @inline(__always)
    private static func hash(_ name: UnsafeRawPointer, _ length: Int) -> Int {
        let first = Int(name.load(as: UInt8.self))
        let middle = Int(name.load(fromByteOffset: length &>> 1, as: UInt8.self))
        let last = Int(name.load(fromByteOffset: length &- 1, as: UInt8.self))
        return (length &* 37 &+ first &* 11 &+ middle &* 5 &+ last) & (size - 1)
    }

    func find(_ name: Bytes) -> UInt8 {
        guard let base = name.baseAddress, name.count > 0 else { return KnownHeader.count }
        return find(base, name.count)
    }

    /// The index of a lower-case name of at least one byte.
    @inline(__always)
    func find(_ name: UnsafeRawPointer, _ length: Int) -> UInt8 {
        var at = Self.hash(name, length)
        while let text = slots[at].text {
            if Int(slots[at].length) == length, Self.isEqual(UnsafeRawPointer(text), name, length) {
                return slots[at].index
            }
            at = (at &+ 1) & (Self.size - 1)
        }
        return KnownHeader.count
    }

    @inline(__always)
    private static func isEqual(
        _ left: UnsafeRawPointer,
        _ right: UnsafeRawPointer,
        _ length: Int
    ) -> Bool {
        if length >= 4, length < 8 {
            return left.loadUnaligned(as: UInt32.self) == right.loadUnaligned(as: UInt32.self)
                && left.loadUnaligned(fromByteOffset: length &- 4, as: UInt32.self)
                    == right.loadUnaligned(fromByteOffset: length &- 4, as: UInt32.self)
        }
        guard length >= 8 else {
            for at in 0..<length
            where left.load(fromByteOffset: at, as: UInt8.self)
                != right.load(fromByteOffset: at, as: UInt8.self)
            { return false }
            return true
        }
        // Words, the last of them overlapping the one before.
        var at = 0
        while at &+ 8 <= length {
            if left.loadUnaligned(fromByteOffset: at, as: UInt64.self)
                != right.loadUnaligned(fromByteOffset: at, as: UInt64.self)
            {
                return false
            }
            at &+= 8
        }
        return left.loadUnaligned(fromByteOffset: length &- 8, as: UInt64.self)
            == right.loadUnaligned(fromByteOffset: length &- 8, as: UInt64.self)
    }
}

/// A header name out of the configuration: lower case, resolved to its known header where it is one.
package struct HeaderName: Hashable, Sendable {
    package let text: String
    package let known: KnownHeader?

    package init(_ text: String) {
        var lower = text.lowercased()
        // HTTP/1's Host and HTTP/2's :authority are one field, kept under the latter name.
        if lower == "host" { lower = ":authority" }
        known = lower.withUTF8 { KnownHeader(name: Bytes($0)) }
        self.text = lower
    }
}
