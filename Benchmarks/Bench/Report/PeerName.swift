/// What the name of a result says: a peer, or a variant of one, `envoy, read`.
package enum PeerName {
    /// No proxy at all.
    package static let direct = "direct"
    /// The minimal relay.
    package static let floor = "floor"

    /// As its authors write it: `MeshProxy, stamps on`.
    package static func title(_ name: String) -> String {
        if name.hasPrefix("ztunnel") { return name }
        let end = name.firstIndex { $0 == "," || $0 == "-" } ?? name.endIndex
        let known = ["meshproxy": "MeshProxy", "envoy": "Envoy", "haproxy": "HAProxy"]
        guard let title = known[String(name[..<end])] else { return name }
        return title + name[end...]
    }

    /// Without its variant.
    package static func base(_ name: String) -> String {
        String(name.prefix { $0 != "," })
    }

    /// Its variant: what is behind the comma; empty where there is none.
    package static func variant(_ name: String) -> String {
        String(name.drop { $0 != "," }.drop { $0 == "," || $0 == " " })
    }

    /// Neither a proxy of somebody's nor one of ours, but something to hold against.
    package static func isReference(_ name: String) -> Bool {
        let base = base(name)
        return base == direct || base == floor
    }

    /// Built in this repository.
    package static func isOurs(_ name: String) -> Bool {
        name.hasPrefix("meshproxy") || name.hasPrefix("ztunnel-lite")
    }

    /// References first, then ours, then the others as they come.
    static func rank(_ name: String) -> Int {
        if base(name) == direct { return 0 }
        if isReference(name) { return 1 }
        return isOurs(name) ? (name.hasPrefix("meshproxy") ? 2 : 3) : 4
    }
}
