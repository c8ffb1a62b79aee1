import MeshNet

/// Whose requests may ask, by the header `x-mesh-explain`, to be explained instead of served: a runtime
/// value, so that the same file still loads into Envoy. Nobody, unless it says so.
package struct ExplainConfig: Hashable, Sendable {
    package static let runtimeKey = "mesh.explain.trusted_addresses"

    /// Peers as the kernel sees them.
    package let trustedAddresses: [CIDR]

    package init() { trustedAddresses = [] }

    /// Reads addresses and ranges, separated by commas: `127.0.0.1, ::1, 10.0.0.0/8`.
    ///
    /// - Parameter report: hears of each part that is neither.
    package init(_ runtime: RuntimeConfig, report: (String) -> Void = { _ in }) {
        guard let value = runtime[Self.runtimeKey] else {
            trustedAddresses = []
            return
        }
        guard case .string(let text) = value else {
            report("\(Self.runtimeKey) must be a string of addresses, separated by commas")
            trustedAddresses = []
            return
        }
        var ranges: [CIDR] = []
        for part in text.split(separator: ",") {
            let word = String(part.filter { $0 != " " })
            if let range = Self.range(word) {
                ranges.append(range)
            } else {
                report(
                    "\(Self.runtimeKey): \"\(word)\" is neither an IP address nor a range of them"
                )
            }
        }
        trustedAddresses = ranges
    }

    private static func range(_ text: String) -> CIDR? {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count <= 2, let address = IPAddress(String(parts[0])) else { return nil }
        if parts.count == 1 { return CIDR(address, prefixLength: address.bitWidth) }
        return Int(parts[1]).flatMap { CIDR(address, prefixLength: $0) }
    }

    package func trusts(_ peer: SocketAddress) -> Bool {
        guard case .ip(let address, _) = peer else { return false }
        return trustedAddresses.contains { $0.contains(address) }
    }
}
