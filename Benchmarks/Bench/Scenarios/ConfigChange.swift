import Foundation

/// What a scenario changes in a configuration of JSON before a process starts on it.
package enum ConfigChange: Sendable, Equatable {
    /// MeshProxy's histograms of where time goes.
    case stamps
    /// So many further clusters that nobody uses.
    case clusters(Int)
    /// That many routes, spread over that many virtual hosts.
    case routes(count: Int, hosts: Int)
    /// RBAC with that many policies, of which the last one lets the client in.
    case policies(Int)
    /// Routes over 1,000 hosts, clusters, and policies, that many of each.
    case large(Int)
    case accessLog
    case retries
    /// A mesh of that many workloads in all.
    case workloads(Int)

    /// Whose files it can change.
    package var dialect: PeerAdapter.Dialect {
        if case .workloads = self { return .ztunnel }
        return .envoy
    }

    /// The configuration with the change.
    ///
    /// - Parameters:
    ///   - directory: where files of the process go.
    ///   - path: what requests ask for; the last policy's.
    package func apply(to text: String, directory: String, path: String) throws -> String {
        guard
            var root = try? JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
        else {
            throw BenchError("cannot change a configuration: it is no JSON object")
        }
        switch self {
        case .stamps: Self.addStamps(&root)
        case .clusters(let count):
            LargeConfig.editClusters(of: &root) { clusters in
                let names = (0..<count).map { "other-\($0)" }
                clusters += names.map { LargeConfig.renamed(clusters[0], $0) }
            }
        case .routes(let count, let hosts):
            LargeConfig.setRoutes(of: &root, count: count, hosts: hosts) { _ in "upstream" }
        case .policies(let count): LargeConfig.addPolicies(to: &root, count: count, path: path)
        case .large(let count):
            LargeConfig.editClusters(of: &root) { clusters in
                clusters = (0..<count).map {
                    LargeConfig.renamed(clusters[0], LargeConfig.cluster($0))
                }
            }
            LargeConfig.setRoutes(
                of: &root,
                count: count,
                hosts: 1_000,
                cluster: LargeConfig.cluster
            )
            LargeConfig.addPolicies(to: &root, count: count, path: path)
        case .accessLog:
            LargeConfig.editManager(of: &root) { manager in
                let type =
                    "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
                manager["access_log"] = [
                    [
                        "name": "envoy.access_loggers.file",
                        "typed_config": ["@type": type, "path": directory + "/access.log"],
                    ]
                ]
            }
        case .retries:
            LargeConfig.editHosts(of: &root) { hosts in
                for index in hosts.indices {
                    hosts[index]["retry_policy"] = [
                        "retry_on": "5xx,reset,connect-failure", "num_retries": 2,
                        "per_try_timeout": "5s",
                    ]
                }
            }
        case .workloads(let count): LargeConfig.setWorkloads(of: &root, count: count)
        }
        let data = try JSONSerialization.data(withJSONObject: root)
        return String(decoding: data, as: UTF8.self)
    }

    private static func addStamps(_ root: inout [String: Any]) {
        var runtime = root["layered_runtime"] as? [String: Any] ?? [:]
        var layers = runtime["layers"] as? [Any] ?? []
        layers.append(["name": "bench", "static_layer": ["mesh.timing.histograms": true]])
        runtime["layers"] = layers
        root["layered_runtime"] = runtime
    }
}
