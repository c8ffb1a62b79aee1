import MeshConfig
import MeshNet

/// Keeps the endpoints of clusters that resolve names up to date: every address of every name for
/// STRICT_DNS, the first address of the one name for LOGICAL_DNS; asked for again and again. Lives on the control thread's loop and publishes to workers by their mailboxes.
package final class DNSDiscovery {
    private let loop: EventLoop
    private let stats: WorkerStats
    private let makeResolver: (ResolverOptions) throws(SystemError) -> any NameResolver
    private var resolvers: [ResolverOptions: any NameResolver] = [:]
    private var clusters: [DNSCluster] = []
    private var random: FastRandom
    /// Told once, when every name has had its first answer.
    private var whenReady: (() -> Void)?

    /// - Parameters:
    ///   - stats: the control thread's.
    ///   - seed: for jitter; from the system's entropy.
    ///   - makeResolver: called once for each set of options that clusters ask for.
    package init(
        loop: EventLoop,
        stats: WorkerStats,
        seed: UInt64,
        makeResolver: @escaping (ResolverOptions) throws(SystemError) -> any NameResolver = {
            options throws(SystemError) in try AresResolver(options)
        }
    ) {
        self.loop = loop
        self.stats = stats
        self.makeResolver = makeResolver
        random = FastRandom(seed: seed)
    }

    /// Starts to resolve the names of these clusters; those of an earlier call are forgotten.
    /// Clusters of other types are passed over.
    package func start(
        _ clusters: [(config: ClusterConfig, plan: ClusterPlan)]
    ) throws(SystemError) {
        stop()
        for (config, plan) in clusters {
            guard let dns = config.discovery.dns else { continue }
            var isLogical = false
            if case .logicalDNS = config.discovery { isLogical = true }
            let options = ResolverOptions(dns.resolver)
            var resolver = resolvers[options]
            if resolver == nil {
                resolver = try makeResolver(options)
                resolvers[options] = resolver
            }
            guard let resolver else { continue }
            self.clusters.append(
                DNSCluster(
                    plan,
                    isLogical: isLogical,
                    templates: EndpointTemplate.all(of: config, workers: plan.vitals.workerCount),
                    refresh: DNSRefresh.Settings(dns),
                    lookup: NameLookup(dns.lookupFamily),
                    resolver: resolver,
                    stats: stats,
                    owner: self
                )
            )
        }
        for cluster in self.clusters { cluster.start() }
    }

    /// Asks for no name any more.
    package func stop() {
        for cluster in clusters { cluster.stop() }
        clusters = []
    }

    /// Every name has been answered, were it by failure.
    package var isReady: Bool { clusters.allSatisfy(\.isReady) }

    /// Calls `body` on the loop's thread as soon as ``isReady``, at once if it is.
    package func whenReady(_ body: @escaping () -> Void) {
        if isReady { body() } else { whenReady = body }
    }

    /// Runs the loop until ``isReady``, at most so long: for a start that waits for names.
    package func resolveInitially(limit: Nanoseconds) {
        let deadline = Deadline()
        var timer = loop.arm(deadline, after: limit)
        while !isReady, !deadline.hasPassed { loop.runOnce() }
        loop.cancel(&timer)
    }

    private final class Deadline: TimerTarget {
        private(set) var hasPassed = false
        func timerFired(_ kind: UInt8) { hasPassed = true }
    }

    fileprivate func clusterAnswered() {
        guard isReady, let body = whenReady else { return }
        whenReady = nil
        body()
    }

    fileprivate var eventLoop: EventLoop { loop }
    fileprivate func randomNumber() -> UInt64 { random.next() }
}

/// The names of one cluster and what they resolve to.
private final class DNSCluster {
    private let vitals: ClusterVitals
    private var names: [DNSName] = []
    let stats: ClusterStats
    let notRebuilt: Counter
    /// One endpoint stands for its name, wherever that leads.
    let isLogical: Bool
    unowned let owner: DNSDiscovery

    init(
        _ plan: ClusterPlan,
        isLogical: Bool,
        templates: [EndpointTemplate],
        refresh: DNSRefresh.Settings,
        lookup: NameLookup,
        resolver: any NameResolver,
        stats: WorkerStats,
        owner: DNSDiscovery
    ) {
        vitals = plan.vitals
        self.isLogical = isLogical
        self.owner = owner
        self.stats = ClusterStats(stats, cluster: plan.options.statName)
        notRebuilt = stats.counter("cluster.\(plan.options.statName).update_no_rebuild")
        names = templates.map {
            DNSName($0, refresh: DNSRefresh(refresh), lookup: lookup, resolver: resolver, of: self)
        }
    }

    var isReady: Bool { names.allSatisfy(\.isAnswered) }
    func start() { for name in names { name.ask() } }
    func stop() { for name in names { name.stop() } }

    func changed() {
        var fresh = EndpointSet(names.flatMap(\.endpoints))
        let known = vitals.endpoints
        // A logical endpoint is the same one at its next address: workers keep its connections, and
        // make new ones to the new address.
        if isLogical, let only = known.endpoints.first, !fresh.endpoints.isEmpty {
            fresh.endpoints[0].vitals = only.vitals
        } else {
            fresh = fresh.keepingVitals(of: known)
        }
        vitals.publish(fresh)
    }
}

/// One name of a cluster.
private final class DNSName: TimerTarget {
    private let template: EndpointTemplate
    private let lookup: NameLookup
    private let resolver: any NameResolver
    private unowned let cluster: DNSCluster
    private var refresh: DNSRefresh
    private var timer = TimerID.none
    private var isStopped = false
    private(set) var isAnswered = false
    private(set) var endpoints: [EndpointSpec] = []

    init(
        _ template: EndpointTemplate,
        refresh: DNSRefresh,
        lookup: NameLookup,
        resolver: any NameResolver,
        of cluster: DNSCluster
    ) {
        self.template = template
        self.refresh = refresh
        self.lookup = lookup
        self.resolver = resolver
        self.cluster = cluster
    }

    private var loop: EventLoop { cluster.owner.eventLoop }

    func ask() {
        cluster.stats.updateAttempt.add()
        let mailbox = loop.mailbox
        let asker = Asker(name: self)
        resolver.resolve(template.hostToResolve, lookup) { answer in
            mailbox.post { _ in asker.name.answered(answer) }
        }
    }

    /// `@unchecked Sendable`: carried by the resolver's thread, opened on the loop's only.
    private struct Asker: @unchecked Sendable {
        let name: DNSName
    }

    func stop() {
        isStopped = true
        loop.cancel(&timer)
    }

    func timerFired(_ kind: UInt8) {
        timer = .none
        ask()
    }

    private func answered(_ answer: NameAnswer) {
        guard !isStopped else { return }
        let random = cluster.owner.randomNumber()
        let wait: Nanoseconds
        switch answer {
        case .addresses(let addresses):
            cluster.stats.updateSuccess.add()
            wait = refresh.answered(
                ttlSeconds: addresses.map(\.ttlSeconds).min(),
                random: random
            )
            take(addresses)
        case .failed:
            // What was known stays.
            cluster.stats.updateFailure.add()
            wait = refresh.failed(random: random)
        }
        timer = loop.arm(self, after: wait)
        if !isAnswered {
            isAnswered = true
            cluster.owner.clusterAnswered()
        }
    }

    private func take(_ addresses: [ResolvedAddress]) {
        var seen: Set<SocketAddress> = []
        var wanted = addresses.map { SocketAddress.ip($0.address, port: template.port) }
            .filter { seen.insert($0).inserted }
        if cluster.isLogical, let first = wanted.first {
            // No address is no news: what was known stays.
            wanted = [first]
            seen = [first]
        } else if cluster.isLogical {
            return cluster.notRebuilt.add()
        }
        if Set(endpoints.map(\.address)) == seen { return cluster.notRebuilt.add() }
        endpoints = wanted.map { template.endpoint(at: $0) }
        cluster.changed()
    }
}

extension DNSRefresh.Settings {
    init(_ config: DNSClusterConfig) {
        interval = Nanoseconds(config.refreshRate)
        jitter = Nanoseconds(config.jitter)
        failure = config.failureRefresh.map {
            (first: Nanoseconds($0.lowerBound), most: Nanoseconds($0.upperBound))
        }
        respectsTTL = config.respectsTTL
        intervalMin = Nanoseconds(config.minimumRefreshRate)
    }
}

extension NameLookup {
    init(_ family: DNSClusterConfig.LookupFamily) {
        self =
            switch family {
            case .auto: .ipv6First
            case .v4Only: .ipv4Only
            case .v6Only: .ipv6Only
            case .v4Preferred: .ipv4First
            case .all: .both
            }
    }
}

extension ResolverOptions {
    init(_ config: DNSResolverConfig) {
        self.init()
        servers = config.resolvers
        serversAreFallback = config.resolversAreFallback
        usesTCP = config.usesTCP
        ignoresSearchDomains = config.ignoresSearchDomains
        timeoutMilliseconds = config.queryTimeout.map { Int(Nanoseconds($0).milliseconds) }
        tries = config.queryTries.map { Int($0) }
        rotatesServers = config.rotatesServers
    }
}
