/// How endpoints are grouped by metadata (envoy: cluster.v3.Cluster.LbSubsetConfig).
package struct SubsetOptions: Hashable, Sendable {
    package enum Fallback: Hashable, Sendable { case none, anyEndpoint, defaultSubset }

    package enum SelectorFallback: Hashable, Sendable {
        /// The cluster's own fallback applies.
        case notDefined
        case none, anyEndpoint, defaultSubset
        /// Try again with these keys of the request's only.
        case keysSubset([String])
    }

    package struct Selector: Hashable, Sendable {
        package var keys: [String]
        package var fallback = SelectorFallback.notDefined
        /// Each value of the one key names one endpoint, used whatever its health.
        package var hasSingleHost = false

        package init(keys: [String]) { self.keys = keys }
    }

    package var selectors: [Selector] = []
    package var fallback = Fallback.none
    package var defaultSubset: [String: MetadataValue] = [:]
    /// A list as an endpoint's value matches each of its elements.
    package var listAsAny = false
    /// Where the fallback has nobody, anybody.
    package var panicModeAny = false
    /// Keys of the request that no selector knows are passed over: the longest selector that fits.
    package var allowsRedundantKeys = false

    package init() {}
}

/// What a route asks of an endpoint's metadata (envoy: RouteAction.metadata_match, `envoy.lb`).
///
/// Compiled once per route; balancers remember their answer by its identity.
package final class SubsetCriteria: Sendable, Hashable {
    /// By key, in order.
    package let entries: [(key: String, value: MetadataValue)]

    package init(_ values: [String: MetadataValue]) {
        entries = values.sorted { $0.key < $1.key }.map { (key: $0.key, value: $0.value) }
    }

    /// These criteria with others added; the others win, as a weighted cluster's over its route's.
    package func merging(_ others: [String: MetadataValue]) -> SubsetCriteria {
        var values: [String: MetadataValue] = [:]
        for entry in entries { values[entry.key] = entry.value }
        return SubsetCriteria(values.merging(others) { $1 })
    }

    package static func == (left: SubsetCriteria, right: SubsetCriteria) -> Bool { left === right }
    package func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}

/// What one choice among subsets came to, and what of it is counted.
struct SubsetChoice {
    enum Source { case selected, fallback, fallbackPanic }

    var choice: EndpointChoice
    var source: Source?
}

/// Chooses the subset of endpoints a request may go to, then one of them, for one worker.
final class SubsetBalancer {
    private let options: SubsetOptions
    private var subsets: [LoadBalancer] = []
    /// Endpoints that stand for themselves; see `SubsetOptions.Selector.hasSingleHost`.
    private var singles: [Endpoint] = []
    private var targets: [[String: MetadataValue]: Target] = [:]
    private let any: LoadBalancer
    private var defaults: LoadBalancer?
    /// What each criteria object came to before.
    private var known: [SubsetCriteria: Plan] = [:]

    private enum Target { case subset(Int), single(Int) }

    /// What to try, in the order given by the fields.
    private enum Plan {
        case target(Target)
        case none, anyEndpoint, defaultSubset, clusterFallback
    }

    /// Criteria objects remembered at once: more than any configuration's routes, but bounded.
    private static let knownMax = 4096

    init(
        _ endpoints: [Endpoint],
        options: SubsetOptions,
        balancing: BalancingOptions,
        offset: UInt64
    ) {
        self.options = options
        any = LoadBalancer(endpoints, options: balancing, offset: offset)
        if !options.defaultSubset.isEmpty || options.fallback == .defaultSubset
            || options.selectors.contains(where: { $0.fallback == .defaultSubset })
        {
            let members = endpoints.filter {
                Self.matches($0.spec.loadBalancingMetadata, options.defaultSubset, options)
            }
            defaults = LoadBalancer(members, options: balancing, offset: offset)
        }
        for selector in options.selectors { add(selector, endpoints, balancing, offset) }
    }

    /// Endpoints left out of subsets of a single one.
    private(set) var duplicates = 0

    /// How many subsets have members (envoy: lb_subsets_active).
    var count: Int { targets.count }

    private func add(
        _ selector: SubsetOptions.Selector,
        _ endpoints: [Endpoint],
        _ balancing: BalancingOptions,
        _ offset: UInt64
    ) {
        var order: [[String: MetadataValue]] = []
        var members: [[String: MetadataValue]: [Endpoint]] = [:]
        for endpoint in endpoints {
            for group in groups(of: endpoint.spec.loadBalancingMetadata, selector.keys) {
                if members[group] == nil { order.append(group) }
                members[group, default: []].append(endpoint)
            }
        }
        for group in order where targets[group] == nil {
            let groupMembers = members[group] ?? []
            if selector.hasSingleHost, let first = groupMembers.first {
                targets[group] = .single(singles.count)
                singles.append(first)
                duplicates += groupMembers.count - 1
            } else {
                targets[group] = .subset(subsets.count)
                subsets.append(LoadBalancer(groupMembers, options: balancing, offset: offset))
            }
        }
    }

    /// The combinations of values that put an endpoint into a selector's subsets: one, or with
    /// `listAsAny` one per element; none where a key is missing.
    private func groups(
        of metadata: [String: MetadataValue],
        _ keys: [String]
    ) -> [[String: MetadataValue]] {
        var result: [[String: MetadataValue]] = [[:]]
        for key in keys {
            guard let value = metadata[key] else { return [] }
            var values = [value]
            if options.listAsAny, case .list(let elements) = value { values = elements }
            result = result.flatMap { group in
                values.map { group.merging([key: $0]) { $1 } }
            }
        }
        return result
    }

    private static func matches(
        _ metadata: [String: MetadataValue],
        _ wanted: [String: MetadataValue],
        _ options: SubsetOptions
    ) -> Bool {
        wanted.allSatisfy { key, value in
            guard let has = metadata[key] else { return false }
            if has == value { return true }
            if options.listAsAny, case .list(let elements) = has { return elements.contains(value) }
            return false
        }
    }

    // MARK: Choosing

    func choose(_ criteria: SubsetCriteria?, _ random: inout FastRandom) -> SubsetChoice {
        switch plan(for: criteria) {
        case .target(.subset(let index)):
            return SubsetChoice(choice: subsets[index].choose(&random), source: .selected)
        case .target(.single(let index)):
            return SubsetChoice(
                choice: .endpoint(singles[index], inPanic: false),
                source: .selected
            )
        case .none:
            return SubsetChoice(choice: .none, source: nil)
        case .anyEndpoint:
            return SubsetChoice(choice: any.choose(&random), source: .fallback)
        case .defaultSubset:
            return SubsetChoice(choice: defaults?.choose(&random) ?? .none, source: .fallback)
        case .clusterFallback:
            return chooseFallback(&random)
        }
    }

    private func chooseFallback(_ random: inout FastRandom) -> SubsetChoice {
        let choice: EndpointChoice
        switch options.fallback {
        case .none: return SubsetChoice(choice: .none, source: nil)
        case .anyEndpoint: choice = any.choose(&random)
        case .defaultSubset: choice = defaults?.choose(&random) ?? .none
        }
        if case .endpoint = choice { return SubsetChoice(choice: choice, source: .fallback) }
        guard options.panicModeAny else { return SubsetChoice(choice: .none, source: nil) }
        return SubsetChoice(choice: any.choose(&random), source: .fallbackPanic)
    }

    private func plan(for criteria: SubsetCriteria?) -> Plan {
        guard let criteria else { return .clusterFallback }
        if let known = known[criteria] { return known }
        var values: [String: MetadataValue] = [:]
        for entry in criteria.entries { values[entry.key] = entry.value }
        let plan = plan(values)
        if known.count >= Self.knownMax { known.removeAll(keepingCapacity: true) }
        known[criteria] = plan
        return plan
    }

    private func plan(_ values: [String: MetadataValue]) -> Plan {
        var wanted = values
        var selector = options.selectors.first { Set($0.keys) == Set(values.keys) }
        if selector == nil, options.allowsRedundantKeys {
            selector =
                options.selectors
                .filter { Set($0.keys).isSubset(of: values.keys) }
                .max { $0.keys.count < $1.keys.count }
            if let selector { wanted = values.filter { selector.keys.contains($0.key) } }
        }
        if !wanted.isEmpty, let target = targets[wanted] { return .target(target) }
        guard let selector else { return .clusterFallback }
        switch selector.fallback {
        case .notDefined: return .clusterFallback
        case .none: return .none
        case .anyEndpoint: return .anyEndpoint
        case .defaultSubset: return .defaultSubset
        case .keysSubset(let keys):
            let fewer = wanted.filter { keys.contains($0.key) }
            // Fewer keys each time, hence this ends.
            return fewer.count < wanted.count ? plan(fewer) : .clusterFallback
        }
    }
}
