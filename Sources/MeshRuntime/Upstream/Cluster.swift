import MeshConfig
import MeshHTTP
import MeshNet

/// What a request asks of the choice of its endpoint and connection.
package struct UpstreamSelection {
    package var priority = RequestPriority.default
    /// Metadata the endpoint must have (envoy: metadata_match).
    package var criteria: SubsetCriteria?
    package var identity: ConnectionIdentity?
    package var payload = UpstreamPayload.http(.http11)
    /// Endpoints that earlier attempts went to (envoy: retry_host_predicate previous_hosts).
    package var rejected: [Endpoint] = []
    /// Choices before a rejected endpoint is taken after all
    /// (envoy: host_selection_retry_max_attempts, plus one).
    package var attemptsMax = 1

    package init() {}
}

/// What became of asking a cluster for a stream.
package enum StreamOpening {
    /// The waiter has heard, or will hear as long as the ticket stands.
    case underWay(PoolTicket?)
    /// Nobody can serve it (response flag UH). The waiter hears nothing.
    case noEndpoint
}

/// One worker's view of a cluster: its endpoints, whose turn it is, and the pools to them.
///
/// Limits and health are the process's, in ``vitals``; the rest belongs to this worker alone.
package final class Cluster {
    package private(set) var options: ClusterOptions
    package let labels: ClusterLabels
    package let vitals: ClusterVitals
    package let stats: ClusterStats
    /// By response code.
    package let responses: ClusterResponseStats
    package let worker: UpstreamWorker
    /// Present where an endpoint is spoken to by TLS.
    private(set) var tlsStats: TLSHandshakeStats?
    package private(set) var endpoints: [Endpoint] = []
    private var balancer: LoadBalancer
    /// Where present, it chooses, and ``balancer`` does not.
    private var subsets: SubsetBalancer?
    private var balancedGeneration: UInt64 = 0
    private var blocked: [[HTTPConnectionPool]] = [[], []]
    private let offset: UInt64
    private var hasHTTP1Stats = false
    private(set) lazy var http2Stats = HTTP2CodecStats(
        worker.stats,
        prefix: "cluster.\(options.statName)."
    )
    /// Envoy has this one only for clusters with subsets.
    private let singleHostDuplicates: Gauge?

    package init(_ options: ClusterOptions, vitals: ClusterVitals, worker: UpstreamWorker) {
        self.options = options
        labels = ClusterLabels(
            name: options.name,
            statName: options.statName,
            metadata: options.metadata
        )
        self.vitals = vitals
        self.worker = worker
        stats = ClusterStats(worker.stats, cluster: options.statName)
        responses = ClusterResponseStats(worker.stats, cluster: options.statName)
        offset = worker.random.next() >> 1
        singleHostDuplicates = options.subsets.map { _ in
            worker.stats.gauge(
                "cluster.\(options.statName).lb_subsets_single_host_per_subset_duplicate"
            )
        }
        balancer = LoadBalancer([], options: options.balancing, offset: 0)
        update(vitals.endpoints)
    }

    package convenience init(_ plan: ClusterPlan, worker: UpstreamWorker) {
        self.init(plan.options, vitals: plan.vitals, worker: worker)
    }

    package var name: String { options.name }

    /// Connections made from now on are as lenient as these runtime values say.
    package func apply(_ runtime: RuntimeConfig, _ config: UpstreamHTTPConfig) {
        options.codecs.apply(config, runtime)
    }

    /// What the request asks of its connection; nil for the usual.
    package func identity(of head: HeaderMap) -> ConnectionIdentity? {
        options.identitySource?.identity(of: head)
    }

    // MARK: Endpoints

    /// Puts these endpoints in force. Those that stay keep their connections; those that left finish
    /// the requests under way.
    package func update(_ set: EndpointSet) {
        var left: [ObjectIdentifier: Endpoint] = [:]
        for endpoint in endpoints { left[ObjectIdentifier(endpoint.vitals)] = endpoint }
        var added = 0
        endpoints = set.endpoints.map { spec in
            let transport = options.transports.transport(for: spec)
            if let known = left.removeValue(forKey: ObjectIdentifier(spec.vitals)) {
                known.update(spec, transport: transport)
                return known
            }
            added += 1
            return Endpoint(spec, transport: transport)
        }

        if tlsStats == nil, endpoints.contains(where: { $0.transport.isTLS }) {
            tlsStats = TLSHandshakeStats(worker.stats, prefix: "cluster.\(options.statName)")
        }
        rebalance()
        if worker.index == 0 {
            if added + left.count > 0 { stats.membershipChange.add() }
            if !(options.transports is MatchedTransports) {
                stats.defaultTransportMatches.add(UInt64(added))
            }
        }
        for endpoint in left.values { endpoint.drain() }
    }

    /// Closes what idles and lets the rest finish: the cluster left the configuration.
    package func drain() {
        let left = endpoints
        endpoints = []
        rebalance()
        for endpoint in left { endpoint.drain() }
    }

    private func rebalance() {
        balancedGeneration = vitals.healthGeneration
        if let wanted = options.subsets {
            // Envoy's main thread keeps subsets of its own and counts them with its workers'.
            let copies = worker.index == 0 ? 2 : 1
            let before = (subsets?.count ?? 0) * copies

            let fresh = SubsetBalancer(
                endpoints,
                options: wanted,
                balancing: options.balancing,
                offset: offset
            )

            subsets = fresh
            let after = fresh.count * copies
            if after > before { stats.lbSubsetsCreated.add(UInt64(after - before)) }
            if after < before { stats.lbSubsetsRemoved.add(UInt64(before - after)) }
            stats.lbSubsetsActive.set(UInt64(after))
            singleHostDuplicates?.set(UInt64(fresh.duplicates))

        } else {
            balancer = LoadBalancer(endpoints, options: options.balancing, offset: offset)
        }
        // Gauges of what is the same in all workers have one writer.
        guard worker.index == 0 else { return }
        let health = endpoints.map(\.vitals.health.availability)
        stats.membershipTotal.set(UInt64(endpoints.count))
        stats.membershipHealthy.set(UInt64(health.count { $0 == .healthy }))
        stats.membershipDegraded.set(UInt64(health.count { $0 == .degraded }))
        let draining = endpoints.count { $0.vitals.health == .draining }
        stats.membershipExcluded.set(UInt64(draining))

    }

    // MARK: Choosing

    /// The endpoint for one attempt of a request; nil where there is none.
    package func chooseEndpoint(_ selection: UpstreamSelection) -> Endpoint? {
        if vitals.healthGeneration != balancedGeneration { rebalance() }
        var attempts = 0
        while true {
            attempts += 1
            guard let endpoint = chooseOnce(selection.criteria) else {
                stats.upstreamCxNoneHealthy.add()
                return nil
            }
            if attempts >= selection.attemptsMax
                || !selection.rejected.contains(where: { $0 === endpoint })
            {
                return endpoint
            }
        }
    }

    private func chooseOnce(_ criteria: SubsetCriteria?) -> Endpoint? {
        let choice: EndpointChoice
        if let subsets {
            let result = subsets.choose(criteria, &worker.random)
            switch result.source {
            case .selected: stats.lbSubsetsSelected.add()
            case .fallback: stats.lbSubsetsFallback.add()
            case .fallbackPanic: stats.lbSubsetsFallbackPanic.add()
            case nil: break
            }
            choice = result.choice
        } else {
            choice = balancer.choose(&worker.random)
        }
        guard case .endpoint(let endpoint, let inPanic) = choice else { return nil }
        if inPanic { stats.lbHealthyPanic.add() }
        return endpoint
    }

    /// Chooses an endpoint and asks its pool for a stream. The waiter may hear before this returns.
    package func openStream(
        for waiter: any PoolWaiter & ClientStreamDelegate,
        _ selection: UpstreamSelection
    ) -> StreamOpening {
        guard let endpoint = chooseEndpoint(selection) else { return .noEndpoint }
        let pool = endpoint.pool(
            selection.priority,
            selection.identity,
            selection.payload,
            in: self
        )
        guard let pool else { return .noEndpoint }
        return .underWay(pool.newStream(for: waiter, delegate: waiter))
    }

    /// Room for one pool more (envoy: max_connection_pools).
    func acquirePool(_ priority: RequestPriority) -> Bool {
        if vitals[priority].connectionPools.tryAcquire() { return true }
        stats.upstreamCxPoolOverflow.add()
        return false
    }

    /// Names that Envoy's codecs bring with a cluster's first connection of their version. What two of
    /// HTTP/1's would count happens to requests only, and the others to protocols that are not spoken.
    func registerCodecStats(_ version: HTTPVersion?) {
        guard let version else { return }
        if version == .http2 {
            _ = http2Stats
        } else if !hasHTTP1Stats {
            hasHTTP1Stats = true
            StatsScope(worker.stats, "cluster.\(options.statName).http1.").keepAtZero(counters: [
                "dropped_headers_with_underscores", "metadata_not_supported_error",
                "requests_rejected_with_underscores_in_headers", "response_flood",
            ])
        }
    }

    // MARK: Connection slots

    // A pool that wants a connection slot the limit does not give is blocked: it is served when this or
    // another worker frees one. See ``ClusterVitals`` for how workers hear of each other.

    func block(_ pool: HTTPConnectionPool) {
        guard !pool.isBlocked else { return }
        pool.isBlocked = true
        blocked[pool.priority.rawValue].append(pool)
    }

    func unblock(_ pool: HTTPConnectionPool) {
        guard pool.isBlocked else { return }
        pool.isBlocked = false
        blocked[pool.priority.rawValue].removeAll { $0 === pool }
        if blocked[pool.priority.rawValue].isEmpty {
            vitals[pool.priority].waiting.remove(worker.index)
        }
    }

    /// Somebody waits for a slot, here or on another worker, and there is none.
    func isSlotWanted(_ priority: RequestPriority) -> Bool {
        let limits = vitals[priority]
        // Asked after every request: the usual answer costs one load.
        guard limits.connections.isOpen else { return false }
        return !blocked[priority.rawValue].isEmpty
            || limits.waiting.contains(otherThan: worker.index)
    }

    /// Closes one connection that idles. Returns false where none does.
    func giveUpIdleConnection(_ priority: RequestPriority) -> Bool {
        for endpoint in endpoints {
            for pool in endpoint.pools
            where pool.priority == priority && pool.giveUpIdleConnection() { return true }
        }
        return false
    }

    /// Another worker waits for a slot.
    func capacityWanted(_ priority: RequestPriority) {
        if isSlotWanted(priority) { _ = giveUpIdleConnection(priority) }
    }

    /// A slot was freed for this worker.
    func capacityFreed(_ priority: RequestPriority) {
        for pool in blocked[priority.rawValue] { pool.connectForQueue() }
        // Those who waited may have left meanwhile: then it is another worker's turn.
        if !vitals[priority].connections.isOpen { vitals.wakeOne(priority) }
    }
}
