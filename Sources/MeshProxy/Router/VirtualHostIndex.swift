import MeshConfig
import MeshHTTP
import MeshNet

/// Finds the virtual host of a host name: an exact domain first, then the longest `*.suffix`, then the
/// longest `prefix.*`, then `*`. The cost does not grow with the number of domains.
struct VirtualHostIndex {
    /// What a key of the table is compared with.
    private enum Kind: UInt8 { case exact, suffix, prefix }

    private struct Slot {
        var offset: UInt32 = 0
        var count: UInt32 = 0
        var kind = Kind.exact
        /// Place of the virtual host, or -1 in a free slot.
        var host: Int32 = -1
    }

    private var slots: [Slot]
    private var keys: [UInt8] = []
    /// Distinct lengths of wildcard domains, longest first.
    private var suffixLengths: [Int] = []
    private var prefixLengths: [Int] = []
    /// The host of `*`.
    private var anyHost: Int?

    /// Longer host names match `*` only; DNS knows none beyond 253 bytes.
    private static let hostBytesMax = 1024

    init(_ hosts: [VirtualHostConfig]) {
        let domains = hosts.reduce(0) { $0 + $1.domains.count }
        var size = 16
        // At most half full: probes are short.
        while size < domains * 2 { size *= 2 }
        slots = Array(repeating: Slot(), count: size)
        for (at, host) in hosts.enumerated() {
            for domain in host.domains {
                let key = Array(domain.fixedPart.utf8)
                switch domain.kind {
                case .exact: insert(key, .exact, at)
                case .suffix:
                    insert(key, .suffix, at)
                    if !suffixLengths.contains(key.count) { suffixLengths.append(key.count) }
                case .prefix:
                    insert(key, .prefix, at)
                    if !prefixLengths.contains(key.count) { prefixLengths.append(key.count) }
                case .any: anyHost = anyHost ?? at
                }
            }
        }
        suffixLengths.sort(by: >)
        prefixLengths.sort(by: >)
    }

    /// - Parameter host: in any case, with its port if that is to count.
    func find(_ host: Bytes) -> Int? {
        guard !keys.isEmpty, !host.isEmpty, host.count <= Self.hostBytesMax else { return anyHost }
        return withUnsafeTemporaryAllocation(byteCount: host.count, alignment: 1) { lower in
            for at in 0..<host.count {
                let byte = host[at]
                lower[at] = byte &- 0x41 < 26 ? byte | 0x20 : byte
            }
            let name = Bytes(lower)
            if let found = find(name, .exact) { return found }
            // A wildcard stands for at least one character.
            for length in suffixLengths where length < name.count {
                let suffix = Bytes(rebasing: name[(name.count - length)...])
                if let found = find(suffix, .suffix) { return found }
            }
            for length in prefixLengths where length < name.count {
                if let found = find(Bytes(rebasing: name[..<length]), .prefix) { return found }
            }
            return anyHost
        }
    }

    private func find(_ key: Bytes, _ kind: Kind) -> Int? {
        var at = Self.hash(key, kind) & (slots.count - 1)
        while slots[at].host >= 0 {
            let slot = slots[at]
            if slot.kind == kind, Int(slot.count) == key.count {
                let isEqual = keys.withUnsafeBytes {
                    Bytes(rebasing: $0[Int(slot.offset)..<Int(slot.offset + slot.count)]).equals(
                        key
                    )
                }
                if isEqual { return Int(slot.host) }
            }
            at = (at + 1) & (slots.count - 1)
        }
        return nil
    }

    private mutating func insert(_ key: [UInt8], _ kind: Kind, _ host: Int) {
        var at = key.withUnsafeBytes { Self.hash($0, kind) } & (slots.count - 1)
        while slots[at].host >= 0 { at = (at + 1) & (slots.count - 1) }
        slots[at] = Slot(
            offset: UInt32(keys.count),
            count: UInt32(key.count),
            kind: kind,
            host: Int32(host)
        )
        keys += key
    }

    /// FNV-1a. The keys are the operator's; what a client sends can only make its own probe longer.
    private static func hash(_ key: Bytes, _ kind: Kind) -> Int {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325 ^ UInt64(kind.rawValue)
        for byte in key { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return Int(truncatingIfNeeded: hash ^ hash >> 32) & .max
    }
}
