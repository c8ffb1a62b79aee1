import MeshConfig
import MeshNet

extension MetadataMatchConfig {
    /// Whether the metadata, by namespace and key, has what is wanted.
    package func matches(_ metadata: [String: [String: MetadataValue]]) -> Bool {
        (value(in: metadata).map { value.matches($0) } ?? false) != isInverted
    }

    /// What stands at the path.
    package func value(in metadata: [String: [String: MetadataValue]]) -> MetadataValue? {
        guard let first = path.first, var found = metadata[filter]?[first] else { return nil }
        for key in path.dropFirst() {
            guard case .structure(let members) = found, let member = members[key] else {
                return nil
            }
            found = member
        }
        return found
    }
}

extension ValueMatch {
    package func matches(_ value: MetadataValue) -> Bool {
        switch (self, value) {
        case (.present(let wanted), _): return wanted
        case (.anyOf(let matches), _): return matches.contains { $0.matches(value) }
        case (.null, .null): return true
        case (.exactNumber(let wanted), .number(let number)): return number == wanted
        case (.numberRange(let start, let end), .number(let number)):
            return start <= number && number < end
        case (.string(let match), .string(let text)): return match.matches(text)
        case (.bool(let wanted), .bool(let bool)): return bool == wanted
        case (.anyElement(let match), .list(let elements)):
            return elements.contains { match.matches($0) }
        default: return false
        }
    }
}

extension FilterStateMatchConfig {
    /// Whether the object of this key has what is wanted. A missing one never matches.
    package func matches(_ object: FilterStateObject?) -> Bool {
        guard let object else { return false }
        switch specifier {
        case .string(let match): return match.matches(object.text)
        case .address(let ranges, let isInverted):
            guard let address = object.address?.ip ?? IPAddress(object.text) else { return false }
            return ranges.contains { $0.contains(address) } != isInverted
        }
    }
}
