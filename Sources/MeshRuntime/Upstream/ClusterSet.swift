/// The clusters of one worker, by index for routes and by name for `cluster_header`.
package final class ClusterSet {
    /// In configuration order; routes refer to clusters by their place here.
    package private(set) var clusters: [Cluster]
    private var byName: [String: Cluster] = [:]
    private var byID: [Int: Cluster] = [:]

    package init(_ clusters: [Cluster] = []) {
        self.clusters = clusters
        for cluster in clusters {
            byName[cluster.name] = cluster
            byID[cluster.vitals.id] = cluster
        }
    }

    package subscript(index: Int) -> Cluster { clusters[index] }

    package subscript(name: String) -> Cluster? { byName[name] }

    package convenience init(_ plans: [ClusterPlan], worker: UpstreamWorker) {
        self.init(plans.map { Cluster($0, worker: worker) })
    }

    /// The set of the next configuration. Clusters whose vitals it shares are kept as they are, with
    /// their connections; the others of this set drain.
    package func replaced(by plans: [ClusterPlan], worker: UpstreamWorker) -> ClusterSet {
        var kept: Set<Int> = []
        let next = plans.map { plan in
            if let known = byID[plan.vitals.id] {
                kept.insert(plan.vitals.id)
                return known
            }
            return Cluster(plan, worker: worker)
        }
        for cluster in clusters where !kept.contains(cluster.vitals.id) { cluster.drain() }
        return ClusterSet(next)
    }

    /// What another thread had to say. Of a cluster that is gone, nothing is of interest.
    package func receive(_ message: UpstreamMessage) {
        switch message {
        case .capacityWanted(let id, let priority): byID[id]?.capacityWanted(priority)
        case .capacityFreed(let id, let priority):
            byID[id]?.capacityFreed(priority)
        case .endpointsChanged(let id, let endpoints): byID[id]?.update(endpoints)
        }
    }
}
