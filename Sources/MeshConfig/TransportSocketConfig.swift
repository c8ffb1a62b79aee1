import MeshNet

/// What lies between a filter chain and its sockets (envoy: core.v3.TransportSocket on a listener).
package enum DownstreamTransportConfig: Sendable {
    case rawBuffer
    case tls(DownstreamTLSConfig)

    /// An absent transport socket is plain TCP.
    package init(_ object: ConfigObject?) {
        self = .rawBuffer
        guard let object, let opened = TransportSocketOpener.open(object) else { return }
        if opened.type == "\(TransportSocketOpener.tls).DownstreamTlsContext" {
            self = .tls(DownstreamTLSConfig(opened.object))
        } else {
            TransportSocketOpener.refuse(
                object,
                opened,
                wanted: "DownstreamTlsContext",
                side: "a listener"
            )
        }
    }
}

/// What lies between a cluster's connections and their sockets (envoy: core.v3.TransportSocket).
package indirect enum UpstreamTransportConfig: Sendable {
    case rawBuffer
    case tls(UpstreamTLSConfig)
    /// To a listener of this process, which hears of more than bytes.
    case passing(PassthroughConfig, over: UpstreamTransportConfig)

    /// Nil where nothing is encrypted.
    package var tls: UpstreamTLSConfig? {
        switch self {
        case .rawBuffer: nil
        case .tls(let tls): tls
        case .passing(_, let inner): inner.tls
        }
    }

    package var isTLS: Bool { tls != nil }
    package var passes: Bool { if case .passing = self { true } else { false } }

    package init(_ object: ConfigObject?) {
        self = .rawBuffer
        guard let object, let opened = TransportSocketOpener.open(object) else { return }
        switch opened.type {
        case "\(TransportSocketOpener.tls).UpstreamTlsContext":
            self = .tls(UpstreamTLSConfig(opened.object))
        case PassthroughConfig.type:
            let config = PassthroughConfig(opened.object)
            let inner = UpstreamTransportConfig(opened.object.requiredObject("transport_socket"))
            if inner.passes {
                opened.object.error(
                    "an internal upstream socket within another has nothing to do",
                    at: "transport_socket"
                )
            }
            self = .passing(config, over: inner)
        default:
            TransportSocketOpener.refuse(
                object,
                opened,
                wanted: "UpstreamTlsContext",
                side: "a cluster"
            )
        }
    }
}

/// What connections to a listener of this process bring with them, besides the filter state that is shared
/// (envoy: transport_sockets.internal_upstream.v3.InternalUpstreamTransport).
package struct PassthroughConfig: Hashable, Sendable {
    package enum Source: String, Hashable, Sendable {
        case host, cluster
    }

    /// One namespace of metadata, which becomes the accepted connection's dynamic metadata.
    package struct Metadata: Hashable, Sendable {
        package let source: Source
        package let name: String
    }

    package let metadata: [Metadata]

    static let type =
        "envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport"

    init(_ object: ConfigObject) {
        metadata = object.objects("passthrough_metadata").compactMap { entry in
            let name = entry.requiredString("name")
            guard let kind = entry.requiredObject("kind") else { return nil }
            kind.unsupported("request", "a connection belongs to no request")
            kind.unsupported("route", "a connection belongs to no route")
            if kind.isPresent("request") || kind.isPresent("route") { return nil }
            guard let source = kind.exactlyOne(of: "host", "cluster").flatMap(Source.init) else {
                return nil
            }
            return Metadata(source: source, name: name)
        }
    }
}

/// Where a configuration message stands, for problems found when its files are read.
package struct ConfigPlace: Sendable, Hashable {
    package let path: ConfigPath
    package let position: ConfigPosition

    init(_ object: ConfigObject) {
        self.init(path: object.path, position: object.position)
    }

    init(path: ConfigPath, position: ConfigPosition) {
        self.path = path
        self.position = position
    }
}

private enum TransportSocketOpener {
    static let tls = "envoy.extensions.transport_sockets.tls.v3"
    private static let raw = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"

    /// The message of a transport socket; nil for plain TCP and after an error.
    static func open(_ object: ConfigObject) -> (type: String, object: ConfigObject)? {
        _ = object.requiredString("name")
        guard let opened = object.typedConfig() else { return nil }
        return opened.type == raw ? nil : opened
    }

    static func refuse(
        _ object: ConfigObject,
        _ opened: (type: String, object: ConfigObject),
        wanted: String,
        side: String
    ) {
        opened.object.skip()
        let hint =
            opened.type.hasPrefix("\(tls).") ? "; \(side) takes \(wanted)" : "; use \(wanted)"
        object.error("\(opened.type) is not supported here\(hint)", at: "typed_config")
    }
}
