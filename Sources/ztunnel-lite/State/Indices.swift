import MeshNet

/// Places by key, where a key mostly has one.
struct IndexByKey<Key: Hashable & Sendable>: Sendable {
    private var single: [Key: Int32] = [:]
    private var several: [Key: [Int32]] = [:]

    mutating func insert(_ place: Int32, for key: Key) {
        if several[key] != nil {
            several[key]?.append(place)
        } else if let other = single.updateValue(place, forKey: key) {
            several[key] = [other, place]
        }
    }

    mutating func replace(_ place: Int32, by other: Int32, for key: Key) {
        if single[key] == place { single[key] = other }
        if let index = several[key]?.firstIndex(of: place) { several[key]?[index] = other }
    }

    /// In the order in which they were inserted.
    subscript(key: Key) -> [Int32] {
        guard let place = single[key] else { return [] }
        return several.isEmpty ? [place] : several[key] ?? [place]
    }
}

/// Places by range: what a lookup costs depends on how many lengths of prefixes there are, not on how many
/// ranges.
struct IndexByRange: Sendable {
    private struct Length: Hashable {
        let bits: Int
        let isIPv6: Bool
    }

    /// Longest first.
    private var lengths: [Length] = []
    private var ranges = IndexByKey<CIDR>()

    mutating func insert(_ place: Int32, for range: CIDR) {
        let length = Length(bits: range.prefixLength, isIPv6: range.address.isIPv6)
        if !lengths.contains(length) {
            let next = lengths.firstIndex { $0.bits < length.bits } ?? lengths.endIndex
            lengths.insert(length, at: next)
        }
        ranges.insert(place, for: range)
    }

    /// Those of the longest prefix of which `filter` leaves any, in the order in which they were inserted.
    func first(covering address: IPAddress, _ filter: ([Int32]) -> [Int32]) -> [Int32] {
        for length in lengths where length.isIPv6 == address.isIPv6 {
            guard let range = CIDR(address, prefixLength: length.bits) else { continue }
            let found = filter(ranges[range])
            if !found.isEmpty { return found }
        }
        return []
    }
}
