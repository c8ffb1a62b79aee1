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
package enum UpstreamTransportConfig: Sendable {
    case rawBuffer
    case tls(UpstreamTLSConfig)

    package var isTLS: Bool { if case .tls = self { true } else { false } }

    package init(_ object: ConfigObject?) {
        self = .rawBuffer
        guard let object, let opened = TransportSocketOpener.open(object) else { return }
        if opened.type == "\(TransportSocketOpener.tls).UpstreamTlsContext" {
            self = .tls(UpstreamTLSConfig(opened.object))
        } else {
            TransportSocketOpener.refuse(
                object,
                opened,
                wanted: "UpstreamTlsContext",
                side: "a cluster"
            )
        }
    }
}

/// Where a configuration message stands, for problems found when its files are read.
package struct ConfigPlace: Sendable, Hashable {
    package let path: ConfigPath
    package let position: ConfigPosition

    init(_ object: ConfigObject) {
        path = object.path
        position = object.position
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
