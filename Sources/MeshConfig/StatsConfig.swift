/// Which statistics exist and how they are labelled (envoy: metrics.v3.StatsConfig).
package struct StatsConfig: Sendable {
    /// A label taken out of names by a pattern, or the same for all (envoy: metrics.v3.TagSpecifier).
    package struct Tag: Sendable {
        package enum Value: Sendable {
            /// The first group is removed from the name, the second (or first) is the value.
            case regex(Regex)
            case fixed(String)
            /// One of Envoy's default tags, by name.
            case builtIn
        }

        package let name: String
        package let value: Value
    }

    package enum Matcher: Sendable {
        case acceptAll
        case rejectAll
        case exclude([StringMatch])
        case include([StringMatch])
    }

    package struct HistogramBuckets: Sendable {
        package let match: StringMatch
        /// Upper bounds, rising.
        package let buckets: [Double]
    }

    package let tags: [Tag]
    package let usesAllDefaultTags: Bool
    package let matcher: Matcher
    package let histogramBuckets: [HistogramBuckets]

    package init() {
        tags = []
        usesAllDefaultTags = true
        matcher = .acceptAll
        histogramBuckets = []
    }

    package init(_ object: ConfigObject) {
        tags = object.objects("stats_tags").map { Self.tag($0) }
        usesAllDefaultTags = object.bool("use_all_default_tags", default: true)
        matcher = object.object("stats_matcher").map { Self.matcher($0) } ?? .acceptAll
        histogramBuckets = object.objects("histogram_bucket_settings").compactMap {
            Self.buckets($0)
        }
        object.unsupported("allow_default_tag_overrides", "a tag name may be given once")
    }

    private static func tag(_ object: ConfigObject) -> Tag {
        let name = object.string("tag_name", default: "")
        _ = object.atMostOne(of: "regex", "fixed_value")
        if let value = object.string("fixed_value") { return Tag(name: name, value: .fixed(value)) }
        if let pattern = object.string("regex"), !pattern.isEmpty {
            do {
                return Tag(name: name, value: .regex(try Regex(pattern)))
            } catch {
                object.error("\(ConfigNode.quoted(pattern)): \(error)", at: "regex")
            }
        } else if !name.hasPrefix("envoy.") {
            object.error(
                "regex or fixed_value is required: no default tag is called "
                    + ConfigNode.quoted(name),
                at: "tag_name"
            )
        }
        return Tag(name: name, value: .builtIn)
    }

    private static func matcher(_ object: ConfigObject) -> Matcher {
        func patterns(_ key: String) -> [StringMatch] {
            let list = object.object(key)
            let patterns = list?.objects("patterns").map { StringMatch($0) } ?? []
            if patterns.isEmpty { list?.error("patterns must not be empty") }
            return patterns
        }
        switch object.exactlyOne(of: "reject_all", "exclusion_list", "inclusion_list") {
        case "reject_all":
            return object.bool("reject_all", default: false) ? .rejectAll : .acceptAll
        case "exclusion_list": return .exclude(patterns("exclusion_list"))
        case "inclusion_list": return .include(patterns("inclusion_list"))
        default: return .acceptAll
        }
    }

    private static func buckets(_ object: ConfigObject) -> HistogramBuckets? {
        object.unsupported("bins", "give the buckets")
        let numbers = object.elements("buckets").compactMap { node -> Double? in
            guard case .number(let text) = node.content, let value = Double(text), value > 0 else {
                object.mismatch("buckets", "numbers greater than zero", node)
                return nil
            }
            return value
        }
        guard let match = object.requiredObject("match") else { return nil }
        return HistogramBuckets(match: StringMatch(match), buckets: numbers.sorted())
    }
}
