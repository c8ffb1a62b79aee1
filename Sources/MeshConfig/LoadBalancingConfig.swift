/// How an endpoint is chosen (envoy: lb_policy and its options, or load_balancing_policy).
package struct LoadBalancingConfig: Hashable, Sendable {
    package enum Policy: Hashable, Sendable {
        case roundRobin
        /// The least loaded of `choices` random ones, or of all where nil.
        case leastRequest(choices: UInt32?, activeRequestBias: RuntimeDouble?)
        case random
    }

    package let policy: Policy
    /// Percent of fit endpoints below which health is ignored.
    package let healthyPanicThreshold: Double
    /// In a panic, fail instead of ignoring health.
    package let failsTrafficOnPanic: Bool

    /// Reads a cluster's fields.
    static func decode(_ object: ConfigObject) -> (Self, SubsetConfig?) {
        let common = object.object("common_lb_config")
        let threshold = common?.object("healthy_panic_threshold").map { Percent($0).value }
        var fails = false
        let hasOneLocality = LocalityBalancing.hasOneLocality(object)
        common.map { decodeCommon($0, &fails, hasOneLocality) }
        var subsets = object.object("lb_subset_config").map { SubsetConfig($0, isTyped: false) }
        var policy = decodeEnumeration(object)
        if let typed = object.object("load_balancing_policy") {
            // Envoy lets the typed policy win without a word.
            for key in ["lb_policy", "lb_subset_config"] where object.isPresent(key) {
                if key == "lb_policy", object.string(key) == "LOAD_BALANCING_POLICY_CONFIG" {
                    continue
                }
                object.warning("load_balancing_policy takes its place", at: key)
            }
            var typedSubsets: SubsetConfig?
            policy = TypedLoadBalancing.decode(typed, &typedSubsets, &fails) ?? policy
            subsets = typedSubsets
        }
        return (
            Self(
                policy: policy,
                healthyPanicThreshold: threshold ?? 50,
                failsTrafficOnPanic: fails
            ), subsets
        )
    }

    private static func decodeCommon(
        _ object: ConfigObject,
        _ fails: inout Bool,
        _ hasOneLocality: Bool
    ) {
        LocalityBalancing.decode(object, &fails, isTyped: false, hasOneLocality: hasOneLocality)
        object.unsupported(
            "close_connections_on_host_set_change",
            "connections to endpoints that stay are kept"
        )
        // Of discovery, health checks and hash balancing, which are refused where they are asked for.
        object.inert(
            "update_merge_window",
            "ignore_new_hosts_until_first_hc",
            "consistent_hashing_lb_config",
            "override_host_status"
        )
    }

    private enum PolicyName: Int, ConfigEnum {
        case roundRobin = 0
        case leastRequest = 1
        case ringHash = 2
        case random = 3
        case maglev = 5
        case clusterProvided = 6
        case loadBalancingPolicyConfig = 7
    }

    private static func decodeEnumeration(_ object: ConfigObject) -> Policy {
        _ = object.atMostOne(
            of: "ring_hash_lb_config",
            "maglev_lb_config",
            "original_dst_lb_config",
            "least_request_lb_config",
            "round_robin_lb_config"
        )
        let roundRobin = object.object("round_robin_lb_config")
        let leastRequest = object.object("least_request_lb_config")
        roundRobin.map(SlowStart.refuse)
        leastRequest.map(SlowStart.refuse)
        let choices = leastRequest?.uint32("choice_count", in: 2...UInt32.max)
        let bias = leastRequest?.object("active_request_bias").map { RuntimeDouble($0) }
        let policy = object.enumeration("lb_policy", default: PolicyName.roundRobin)
        switch policy {
        case .roundRobin: break
        case .leastRequest:
            return .leastRequest(choices: choices ?? 2, activeRequestBias: bias)
        case .random: return .random
        case .loadBalancingPolicyConfig:
            if !object.isPresent("load_balancing_policy") {
                object.error("\(policy.name) needs load_balancing_policy", at: "lb_policy")
            }
        case .ringHash, .maglev:
            object.error(
                "\(policy.name) is not supported: requests are not hashed; use ROUND_ROBIN,"
                    + " LEAST_REQUEST or RANDOM",
                at: "lb_policy"
            )
        case .clusterProvided:
            object.error(
                "\(policy.name) is not supported: it belongs to cluster types that are refused",
                at: "lb_policy"
            )
        }
        return .roundRobin
    }
}

/// Growing a new endpoint's share over time, which does not exist here.
private enum SlowStart {
    static func refuse(_ object: ConfigObject) {
        object.unsupported("slow_start_config", "new endpoints get their full share at once")
    }
}

/// Preferring endpoints by locality, in the two messages that have the same fields.
private enum LocalityBalancing {
    /// Whether no priority of this cluster's endpoints has localities to choose from.
    static func hasOneLocality(_ cluster: ConfigObject) -> Bool {
        let groups = cluster.object("load_assignment")?.objects("endpoints") ?? []
        return Set(groups.map { $0.uint32("priority", default: 0) }).count == groups.count
    }

    /// - Parameters:
    ///   - isTyped: the message is that of typed policies, which has three fields more.
    ///   - hasOneLocality: there is nothing to weigh: asking for it has no effect.
    static func decode(
        _ object: ConfigObject,
        _ fails: inout Bool,
        isTyped: Bool,
        hasOneLocality: Bool = false
    ) {
        let field = "locality_weighted_lb_config"
        if hasOneLocality, object.isPresent(field) {
            object.warning("has no effect: no priority has two localities", at: field)
        }
        object.unsupported(field, "localities are not weighted; use priorities") { _ in
            hasOneLocality
        }
        guard let zone = object.object("zone_aware_lb_config") else { return }
        fails = zone.bool("fail_traffic_on_panic", default: false)
        // Without local_cluster_name, which is refused, Envoy does not route by zone either.
        zone.inert("routing_enabled", "min_cluster_size")
        if isTyped {
            zone.inert("force_locality_direct_routing", "force_local_zone", "locality_basis")
        }
    }
}

/// The policies of `load_balancing_policy` (envoy: cluster.v3.LoadBalancingPolicy).
private enum TypedLoadBalancing {
    private static let prefix = "envoy.extensions.load_balancing_policies."

    /// The first policy that is known, as in Envoy; nil after an error.
    static func decode(
        _ object: ConfigObject,
        _ subsets: inout SubsetConfig?,
        _ fails: inout Bool
    ) -> LoadBalancingConfig.Policy? {
        let policies = object.objects("policies")
        if policies.isEmpty { object.error("policies must not be empty") }
        var result: LoadBalancingConfig.Policy?
        var refused: [String] = []
        for policy in policies {
            guard let entry = policy.requiredObject("typed_extension_config") else { continue }
            _ = entry.requiredString("name")
            guard let (type, options) = entry.typedConfig() else { continue }
            if result != nil {
                options.skip()
                entry.warning("an earlier policy is used")
            } else if let known = decode(type, options, &subsets, &fails) {
                result = known
            } else {
                options.skip()
                refused.append(ConfigNode.quoted(type))
            }
        }
        if result == nil, !refused.isEmpty {
            object.error(
                "none of these is supported: \(refused.joined(separator: ", ")); use round_robin,"
                    + " least_request, random or subset",
                at: "policies"
            )
        }
        return result
    }

    private enum SelectionMethod: Int, ConfigEnum {
        case nChoices = 0
        case fullScan
    }

    private static func decode(
        _ type: String,
        _ object: ConfigObject,
        _ subsets: inout SubsetConfig?,
        _ fails: inout Bool
    ) -> LoadBalancingConfig.Policy? {
        switch type {
        case prefix + "round_robin.v3.RoundRobin":
            SlowStart.refuse(object)
            decodeCommon(object, &fails)
            return .roundRobin
        case prefix + "random.v3.Random":
            decodeCommon(object, &fails)
            return .random
        case prefix + "least_request.v3.LeastRequest":
            SlowStart.refuse(object)
            decodeCommon(object, &fails)
            let choices = object.uint32("choice_count", in: 2...UInt32.max) ?? 2
            let bias = object.object("active_request_bias").map { RuntimeDouble($0) }
            let scans =
                object.enumeration("selection_method", default: SelectionMethod.nChoices)
                == .fullScan || object.bool("enable_full_scan", default: false)
            return .leastRequest(choices: scans ? nil : choices, activeRequestBias: bias)
        case prefix + "subset.v3.Subset":
            subsets = SubsetConfig(object, isTyped: true)
            var inner: SubsetConfig?
            guard let policy = object.requiredObject("subset_lb_policy") else { return .roundRobin }
            let result = decode(policy, &inner, &fails)
            if inner != nil {
                object.error("subsets must not be nested", at: "subset_lb_policy")
            }
            return result
        default: return nil
        }
    }

    private static func decodeCommon(_ object: ConfigObject, _ fails: inout Bool) {
        object.object("locality_lb_config").map {
            LocalityBalancing.decode($0, &fails, isTyped: true)
        }
    }
}

/// Groups of endpoints by metadata (envoy: cluster.v3.Cluster.LbSubsetConfig, subset.v3.Subset).
package struct SubsetConfig: Hashable, Sendable {
    /// What a request gets whose metadata names no subset.
    package enum Fallback: Int, ConfigEnum {
        case noFallback = 0
        case anyEndpoint
        case defaultSubset
    }

    package enum SelectorFallback: Int, ConfigEnum {
        case notDefined = 0
        case noFallback
        case anyEndpoint
        case defaultSubset
        case keysSubset
    }

    package struct Selector: Hashable, Sendable {
        package let keys: [String]
        package let fallback: SelectorFallback
        package let fallbackKeys: [String]
        /// Each value of the one key names one endpoint.
        package let hasSingleHost: Bool

        init(_ object: ConfigObject) {
            keys = object.strings("keys")
            fallback = object.enumeration("fallback_policy", default: .notDefined)
            fallbackKeys = object.strings("fallback_keys_subset")
            hasSingleHost = object.bool("single_host_per_subset", default: false)
            if hasSingleHost, keys.count != 1 {
                object.error("a single host per subset needs exactly one key", at: "keys")
            }
            if fallback == .keysSubset {
                if fallbackKeys.isEmpty {
                    object.error("KEYS_SUBSET needs fallback_keys_subset", at: "fallback_policy")
                } else if !Set(fallbackKeys).isSubset(of: keys) || fallbackKeys.count >= keys.count
                {
                    object.error(
                        "fallback_keys_subset must be some, not all, of keys",
                        at: "fallback_keys_subset"
                    )
                }
            } else if !fallbackKeys.isEmpty {
                object.error("only KEYS_SUBSET has fallback keys", at: "fallback_keys_subset")
            }
        }
    }

    package let fallback: Fallback
    package let defaultSubset: ConfigValue.Fields
    package let selectors: [Selector]
    /// A list as an endpoint's value matches each of its elements.
    package let listAsAny: Bool
    /// Where the fallback has nobody, anybody.
    package let panicModeAny: Bool
    /// Keys of the request that no selector knows are passed over.
    package let allowsRedundantKeys: Bool

    /// - Parameter isTyped: the message is subset.v3.Subset, which has one field more.
    init(_ object: ConfigObject, isTyped: Bool) {
        fallback = object.enumeration("fallback_policy", default: .noFallback)
        defaultSubset = .init(
            object.entries("default_subset").map { .init(key: $0.key, value: $0.value) }
        )
        selectors = object.objects("subset_selectors").map { Selector($0) }
        listAsAny = object.bool("list_as_any", default: false)
        panicModeAny = object.bool("panic_mode_any", default: false)
        allowsRedundantKeys = isTyped && object.bool("allow_redundant_keys", default: false)
        object.unsupported("locality_weight_aware", "localities are not weighted")
        object.unsupported("scale_locality_weight", "localities are not weighted")
        object.unsupported("metadata_fallback_policy", "a request has one set of criteria") {
            $0 == .string("METADATA_NO_FALLBACK")
        }
        if fallback == .defaultSubset, defaultSubset.isEmpty {
            object.warning("DEFAULT_SUBSET without default_subset means every endpoint")
        }
    }
}
