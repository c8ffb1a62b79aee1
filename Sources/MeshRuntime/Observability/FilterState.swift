import MeshConfig
import MeshNet

/// What a filter leaves for other filters, logs and policies.
package struct FilterStateObject: Hashable, Sendable, ExpressibleByStringLiteral {
    /// For policies, and for logs that ask for PLAIN.
    package let text: String
    /// For logs that ask for TYPED; nil: the text. Empty: there is no such form.
    package let json: String?
    /// Of objects that are one.
    package let address: SocketAddress?
    /// Nobody may replace it.
    package let isReadOnly: Bool
    /// Which upstream connections bring it with them.
    package let sharing: FilterStateSharing

    package init(
        _ text: String,
        json: String? = nil,
        address: SocketAddress? = nil,
        isReadOnly: Bool = false,
        sharing: FilterStateSharing = .none
    ) {
        self.text = text
        self.json = json
        self.address = address
        self.isReadOnly = isReadOnly
        self.sharing = sharing
    }

    package init(stringLiteral text: String) { self.init(text) }

    /// Nil where the text is no such thing.
    package init?(_ text: String, _ config: FilterStateValueConfig) {
        var address: SocketAddress?
        switch config.kind {
        case .text: break
        case .address:
            address = SocketAddress(ipAndPort: text)
            if address == nil { return nil }
        case .ip:
            address = IPAddress(text).map { .ip($0, port: 0) }
            if address == nil { return nil }
        }
        self.init(
            config.kind == .address ? address?.description ?? text : text,
            // Envoy has no protobuf message of an address.
            json: config.kind == .address ? "" : nil,
            address: address,
            isReadOnly: config.isReadOnly,
            sharing: config.sharing
        )
    }

    /// A part of an object that has parts.
    func field(_ name: String) -> MetadataValue? {
        guard case .ip(let ip, let port) = address else { return nil }
        switch name {
        case "ip": return .string(ip.description)
        case "port": return .string("\(port)")
        default: return nil
        }
    }

    /// As the accepting side of a connection has it that brought it.
    fileprivate var received: FilterStateObject {
        FilterStateObject(
            text,
            json: json,
            address: address,
            isReadOnly: isReadOnly,
            sharing: sharing == .transitive ? .transitive : .none
        )
    }
}

extension SocketAddress {
    /// `10.0.0.1:80` or `[::1]:80`.
    package init?(ipAndPort text: String) {
        guard let colon = text.utf8.lastIndex(of: UInt8(ascii: ":")),
            let port = UInt16(text[text.index(after: colon)...])
        else { return nil }
        var host = text[..<colon]
        let isBracketed = host.hasPrefix("[") && host.hasSuffix("]")
        if isBracketed { host = host.dropFirst().dropLast() }
        guard let address = IPAddress(String(host)), address.isIPv6 == isBracketed else {
            return nil
        }
        self = .ip(address, port: port)
    }
}

/// What a connection inside the process brings to who accepts it.
package final class PassedState {
    package let filterState: [String: FilterStateObject]
    /// By namespace.
    package let metadata: [String: [String: MetadataValue]]

    init(_ shared: SharedState?, metadata: [String: [String: MetadataValue]]) {
        filterState = shared?.objects.mapValues(\.received) ?? [:]
        self.metadata = metadata
    }
}

/// Objects that upstream connections bring with them. Streams that share different ones share no connection.
package struct SharedState: Hashable, Sendable {
    let objects: [String: FilterStateObject]

    /// Nil where nothing is shared.
    init?(_ objects: [String: FilterStateObject]) {
        let shared = objects.filter { $0.value.sharing != .none }
        if shared.isEmpty { return nil }
        self.objects = shared
    }
}

extension StreamInfo {
    /// What a filter of this stream left under this key, or came with the connection.
    package func filterStateObject(_ key: String) -> FilterStateObject? {
        filterState[key] ?? connection.filterState[key]
    }

    /// What a connection to an upstream inside the process brings with it; nil where nothing is shared.
    package var sharedState: SharedState? {
        if filterState.isEmpty, connection.filterState.isEmpty { return nil }
        return SharedState(connection.filterState.merging(filterState) { $1 })
    }
}
