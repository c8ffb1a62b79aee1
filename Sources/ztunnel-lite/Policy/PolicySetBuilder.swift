import MeshConfig

/// Finds out which policies hold for which workload; workloads with the same ones share a set.
struct PolicySetBuilder: Sendable {
    private let policies: [L4Policy]
    private var global: [Int] = []
    private var byNamespace: [String: [Int]] = [:]
    private var byKey: [String: Int] = [:]

    init(_ configs: [ZtunnelConfig.Policy]) {
        policies = configs.map { L4Policy($0) }
        for (place, policy) in configs.enumerated() {
            byKey[policy.key] = place
            switch policy.scope {
            case .global: global.append(place)
            case .namespace: byNamespace[policy.namespace, default: []].append(place)
            case .workloadSelector: break
            }
        }
    }

    /// One per workload, in their order.
    func sets(for workloads: [ZtunnelConfig.Workload]) -> [PolicySet] {
        struct Key: Hashable {
            let namespace: String
            let policies: [String]
        }
        var known: [Key: PolicySet] = [:]
        return workloads.map { workload in
            // Namespaces without policies of their own are all alike.
            let namespace = byNamespace[workload.namespace] == nil ? "" : workload.namespace
            let key = Key(namespace: namespace, policies: workload.authorizationPolicies)
            if let set = known[key] { return set }
            let set = make(namespace: workload.namespace, named: workload.authorizationPolicies)
            known[key] = set
            return set
        }
    }

    func make(namespace: String, named: [String]) -> PolicySet {
        var unknown: [String] = []
        var places = global + (byNamespace[namespace] ?? [])
        for key in named {
            if let place = byKey[key] { places.append(place) } else { unknown.append(key) }
        }
        let ordered = Set(places).sorted()
        if ordered.isEmpty, unknown.isEmpty { return .empty }
        return PolicySet(ordered.map { policies[$0] }, unknown: unknown)
    }
}
