import Foundation

/// Large configurations are made from small ones: what there is once becomes thousands.
package enum LargeConfig {
    typealias Object = [String: Any]

    /// Of the i-th virtual host.
    package static func host(_ index: Int) -> String { "host-\(index).bench.test" }

    /// Of a host's i-th route.
    package static func path(_ index: Int) -> String { "/service/\(index)" }

    static func cluster(_ index: Int) -> String { "cluster-\(index)" }

    static func editClusters(of root: inout Object, _ edit: (inout [Object]) -> Void) {
        var resources = root["static_resources"] as? Object ?? [:]
        var clusters = resources["clusters"] as? [Object] ?? []
        edit(&clusters)
        resources["clusters"] = clusters
        root["static_resources"] = resources
    }

    static func renamed(_ cluster: Object, _ name: String) -> Object {
        var copy = cluster
        copy["name"] = name
        var assignment = cluster["load_assignment"] as? Object ?? [:]
        assignment["cluster_name"] = name
        copy["load_assignment"] = assignment
        return copy
    }

    /// Changes the configuration of the first HTTP connection manager.
    static func editManager(of root: inout Object, _ edit: (inout Object) -> Void) {
        var resources = root["static_resources"] as? Object ?? [:]
        var listeners = resources["listeners"] as? [Object] ?? [[:]]
        var chains = listeners[0]["filter_chains"] as? [Object] ?? [[:]]
        var filters = chains[0]["filters"] as? [Object] ?? [[:]]
        var manager = filters[0]["typed_config"] as? Object ?? [:]
        edit(&manager)
        filters[0]["typed_config"] = manager
        chains[0]["filters"] = filters
        listeners[0]["filter_chains"] = chains
        resources["listeners"] = listeners
        root["static_resources"] = resources
    }

    static func editHosts(of root: inout Object, _ edit: (inout [Object]) -> Void) {
        editManager(of: &root) { manager in
            var routes = manager["route_config"] as? Object ?? [:]
            var hosts = routes["virtual_hosts"] as? [Object] ?? []
            edit(&hosts)
            routes["virtual_hosts"] = hosts
            manager["route_config"] = routes
        }
    }

    /// As many routes on each of the hosts.
    ///
    /// - Parameter cluster: of the i-th of all routes.
    static func setRoutes(
        of root: inout Object,
        count: Int,
        hosts: Int,
        cluster: (Int) -> String
    ) {
        let each = max(1, count / hosts)
        let made = (0..<hosts).map { host -> Object in
            let routes = (0..<each).map { index -> Object in
                let cluster = cluster(host * each + index)
                return [
                    "match": ["path": path(index)],
                    "route": ["cluster": cluster, "timeout": "15s"],
                ]
            }
            return ["name": "host-\(host)", "domains": [Self.host(host)], "routes": routes]
        }
        editHosts(of: &root) { $0 = made }
    }

    /// An RBAC filter before the others. Envoy tries policies in the order of their names.
    static func addPolicies(to root: inout Object, count: Int, path: String) {
        var policies: Object = [:]
        for index in 0..<count {
            let isLast = index == count - 1
            let identity = isLast ? "client" : "other-\(index)"
            let number = String(repeating: "0", count: 5 - min(5, "\(index)".count)) + "\(index)"
            policies["policy-\(number)"] = policy(
                identity: "spiffe://cluster.local/ns/default/sa/\(identity)",
                path: isLast ? path : "/other/\(index)"
            )
        }
        editManager(of: &root) { manager in
            let type = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"
            let rbac: Object = [
                "name": "envoy.filters.http.rbac",
                "typed_config": [
                    "@type": type, "rules": ["action": "ALLOW", "policies": policies],
                ],
            ]
            manager["http_filters"] = [rbac] + (manager["http_filters"] as? [Object] ?? [])
        }
    }

    private static func policy(identity: String, path: String) -> Object {
        [
            "permissions": [["url_path": ["path": ["exact": path]]]],
            "principals": [["authenticated": ["principal_name": ["exact": identity]]]],
        ]
    }

    /// Further workloads like the first one, with names and addresses of their own.
    static func setWorkloads(of root: inout Object, count: Int) {
        var workloads = root["workloads"] as? [Object] ?? []
        guard let model = workloads.first else { return }
        for index in workloads.count..<max(count, workloads.count) {
            var copy = model
            for key in ["uid", "name", "workloadName", "canonicalName"] {
                copy[key] = "other-\(index)"
            }
            copy["serviceAccount"] = "other-\(index % 100)"
            copy["workloadIps"] = ["10.\(100 + index / 65_536).\(index / 256 % 256).\(index % 256)"]
            workloads.append(copy)
        }
        root["workloads"] = workloads
    }
}
