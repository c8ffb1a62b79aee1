import MeshConfig
import MeshHTTP
import MeshNet

/// What a stream to a cluster carries.
package enum UpstreamPayload: Hashable, Sendable {
    /// A request that came in this version, and its response.
    case http(HTTPVersion)
    /// Bytes: a tunnel that ends here (envoy: connect_config).
    case raw
}

/// What is spoken to a cluster, and who makes the codecs of its connections.
package struct UpstreamCodecs: Sendable {
    private let choice: UpstreamHTTPConfig.Version
    private var http1: any ClientCodecFactory
    private let http2: any ClientCodecFactory

    /// The same to everybody.
    package init(only codec: any ClientCodecFactory) {
        choice = .http1
        http1 = codec
        http2 = codec
    }

    package init(_ config: UpstreamHTTPConfig, runtime: RuntimeConfig) {
        choice = config.version
        http1 = HTTP1ClientCodecFactory(HTTP1Settings(upstream: config, runtime: runtime))
        http2 = HTTP2ClientCodecFactory(HTTP2Settings(upstream: config))
    }

    /// Connections made from now on are as lenient as these runtime values say.
    mutating func apply(_ config: UpstreamHTTPConfig, _ runtime: RuntimeConfig) {
        guard http1 is HTTP1ClientCodecFactory else { return }
        http1 = HTTP1ClientCodecFactory(HTTP1Settings(upstream: config, runtime: runtime))
    }

    /// Nil where the server chooses, see ``negotiated(_:)``.
    package func codec(for payload: UpstreamPayload) -> (any ClientCodecFactory)? {
        guard case .http(let downstream) = payload else { return RawClientCodecFactory() }
        return switch choice {
        case .http1: http1
        case .http2: http2
        case .asDownstream: downstream == .http2 ? http2 : http1
        case .negotiated: nil
        }
    }

    /// What the server has chosen by ALPN; without a choice HTTP/1.1.
    func negotiated(_ alpn: String?) -> any ClientCodecFactory {
        alpn == HTTP2ClientCodecFactory.applicationProtocol ? http2 : http1
    }

    /// What the server may choose from (envoy: auto_config).
    static let negotiable = [
        HTTP2ClientCodecFactory.applicationProtocol, HTTP1ClientCodecFactory.applicationProtocol,
    ]

    /// Requests of different versions need different connections.
    var dependsOnDownstream: Bool { choice == .asDownstream }
}

/// Makes the codec of a new upstream connection.
package protocol ClientCodecFactory: Sendable {
    /// Names in ALPN (RFC 7301) of what its codecs speak; empty for none.
    var applicationProtocols: [String] { get }
    /// What `%UPSTREAM_PROTOCOL%` says; nil for bytes without a protocol.
    var version: HTTPVersion? { get }
    /// How many requests a connection is expected to take at once.
    var streamsPerConnection: Int { get }
    func makeCodec(
        sink: ByteSink,
        delegate: any ClientCodecDelegate,
        cluster: Cluster
    ) -> any ClientCodec
}

extension ClientCodecFactory {
    package var applicationProtocols: [String] { [] }
    package var streamsPerConnection: Int { 1 }
}

/// HTTP/1.1, one request at a time.
package struct HTTP1ClientCodecFactory: ClientCodecFactory {
    static let applicationProtocol = "http/1.1"
    private let settings: HTTP1Settings

    package init(_ settings: HTTP1Settings) { self.settings = settings }

    package var applicationProtocols: [String] { [Self.applicationProtocol] }
    package var version: HTTPVersion? { .http11 }

    package func makeCodec(
        sink: ByteSink,
        delegate: any ClientCodecDelegate,
        cluster: Cluster
    ) -> any ClientCodec {
        HTTP1ClientCodec(
            sink: sink,
            delegate: delegate,
            settings: settings,
            pool: cluster.worker.headers
        )
    }
}

/// HTTP/2, many requests at once.
package struct HTTP2ClientCodecFactory: ClientCodecFactory {
    static let applicationProtocol = "h2"
    private let settings: HTTP2Settings

    package init(_ settings: HTTP2Settings) { self.settings = settings }

    package var applicationProtocols: [String] { [Self.applicationProtocol] }
    package var version: HTTPVersion? { .http2 }
    package var streamsPerConnection: Int { Int(settings.maxConcurrentStreams) }

    package func makeCodec(
        sink: ByteSink,
        delegate: any ClientCodecDelegate,
        cluster: Cluster
    ) -> any ClientCodec {
        HTTP2ClientCodec(
            sink: sink,
            delegate: delegate,
            settings: settings,
            pool: cluster.worker.headers,
            stats: cluster.http2Stats,
            seed: cluster.worker.random.next()
        )
    }
}

/// The payload of tunnels, one to a connection.
struct RawClientCodecFactory: ClientCodecFactory {
    var version: HTTPVersion? { nil }

    func makeCodec(
        sink: ByteSink,
        delegate: any ClientCodecDelegate,
        cluster: Cluster
    ) -> any ClientCodec {
        RawClientCodec(sink: sink, delegate: delegate, pool: cluster.worker.headers)
    }
}
