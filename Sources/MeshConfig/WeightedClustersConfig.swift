/// A choice of clusters by weight (envoy: route.v3.WeightedCluster).
package struct WeightedClustersConfig: Sendable {
    package struct Entry: Sendable {
        package enum Target: Hashable, Sendable {
            case cluster(String)
            /// The cluster is named by this request header, lower case.
            case header(String)
        }

        package let target: Target
        package let weight: UInt32
        package let metadataMatch: MetadataConfig
        package let headers: HeaderMutationsConfig
        package let filterOverrides: FilterOverridesConfig
        /// Wins over the route's own rewrite.
        package let hostRewriteLiteral: String?

        init(_ object: ConfigObject) {
            switch object.exactlyOne(of: "name", "cluster_header") {
            case "cluster_header":
                let name = object.requiredString("cluster_header")
                if !name.isEmpty, let problem = HeaderNameRule.problem(name) {
                    object.error(problem, at: "cluster_header")
                }
                target = .header(name.lowercased())
            default:
                target = .cluster(object.string("name", default: ""))
            }
            if object.present("weight").isEmpty { object.error("is required", at: "weight") }
            weight = object.uint32("weight", default: 0)
            metadataMatch = MetadataConfig(object.object("metadata_match"))
            headers = HeaderMutationsConfig(object)
            filterOverrides = FilterOverridesConfig(object)
            let host = object.string("host_rewrite_literal", default: "")
            hostRewriteLiteral = host.isEmpty ? nil : host
        }
    }

    package let entries: [Entry]
    /// Lower-case name of a request header whose number takes the place of the random one.
    package let randomValueHeader: String?
    let references: [ClusterReference]

    package init(_ object: ConfigObject) {
        let children = object.objects("clusters")
        entries = children.map { Entry($0) }
        references = zip(entries, children).compactMap { entry, child in
            guard case .cluster(let name) = entry.target else { return nil }
            return ClusterReference(
                name: name,
                path: child.path.member("name"),
                position: child.position(of: "name")
            )
        }
        if entries.isEmpty { object.error("needs at least one cluster", at: "clusters") }
        let total = entries.reduce(UInt64(0)) { $0 + UInt64($1.weight) }
        if !entries.isEmpty, total == 0 {
            object.error("the weights sum to zero: no cluster could be chosen", at: "clusters")
        }
        if total > UInt64(UInt32.max) {
            object.error("the weights sum to more than 4294967295", at: "clusters")
        }
        if let wanted = object.uint32("total_weight") {
            object.warning("deprecated: weights are relative to their sum", at: "total_weight")
            if UInt64(wanted) != total {
                object.error("is \(wanted), but the weights sum to \(total)", at: "total_weight")
            }
        }
        let field = object.atMostOne(of: "header_name", "use_hash_policy")
        if field == "use_hash_policy" {
            object.unsupported("use_hash_policy", "hash policies are not implemented")
        }
        let header = object.string("header_name", default: "")
        if !header.isEmpty, let problem = HeaderNameRule.problem(header) {
            object.error(problem, at: "header_name")
        }
        randomValueHeader = header.isEmpty ? nil : header.lowercased()
        object.unsupported(
            "runtime_key_prefix",
            "weights are read from this file only"
        )
    }
}
