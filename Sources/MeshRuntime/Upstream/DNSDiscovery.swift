import MeshConfig
import MeshNet

/// Keeps the endpoints of STRICT_DNS clusters up to date: every address of every name, asked for again
/// and again. Lives on the control thread's loop and publishes to workers by their mailboxes.
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
            guard case .strictDNS(let dns) = config.discovery else { continue }
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
    unowned let owner: DNSDiscovery

    init(
        _ plan: ClusterPlan,
        templates: [EndpointTemplate],
        refresh: DNSRefresh.Settings,
        lookup: NameLookup,
        resolver: any NameResolver,
        stats: WorkerStats,
        owner: DNSDiscovery
    ) {
        vitals = plan.vitals
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
        let fresh = EndpointSet(names.flatMap(\.endpoints))
        vitals.publish(fresh.keepingVitals(of: vitals.endpoints))
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
        let wanted = addresses.map { SocketAddress.ip($0.address, port: template.port) }
            .filter { seen.insert($0).inserted }
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
