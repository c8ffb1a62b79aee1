import MeshConfig
import MeshHTTP
import MeshRuntime

/// The requests of a virtual host that are counted apart, compiled for one worker. Immutable.
package final class VirtualClusters {
    private struct Entry {
        let name: String
        let matchers: [HeaderMatcher]
        let stats: VirtualHostStats
    }

    private let entries: [Entry]
    /// Of requests that none is for.
    private let other: VirtualHostStats

    /// Nil where the host names none: nothing is counted then.
    init?(_ host: VirtualHostConfig, _ stats: WorkerStats?) {
        guard let stats, !host.virtualClusters.isEmpty else { return nil }
        entries = host.virtualClusters.map {
            Entry(
                name: $0.name,
                matchers: $0.headers.map { HeaderMatcher($0) },
                stats: VirtualHostStats(stats, virtualHost: host.name, virtualCluster: $0.name)
            )
        }
        other = VirtualHostStats(stats, virtualHost: host.name, virtualCluster: "other")
    }

    /// Where this request is counted; notes the name for logs, where it has one.
    func stats(for head: HeaderMap, _ info: StreamInfo) -> VirtualHostStats {
        for entry in entries where entry.matchers.allSatisfy({ $0.matches(head) }) {
            info.virtualClusterName = entry.name
            return entry.stats
        }
        info.virtualClusterName = ""
        return other
    }
}
