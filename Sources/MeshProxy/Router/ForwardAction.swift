import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// Where a route sends requests, and on what terms. Immutable.
package final class ForwardAction {
    private enum Target {
        case cluster(ClusterTarget)
        case header(HeaderName)
        case weighted([WeightedTarget], total: UInt64, header: HeaderName?)
    }

    package let config: RouteActionConfig
    package let retryPolicy: RetryPolicy?
    package let clusterNotFoundStatus: Int
    package let priority: RequestPriority
    /// Metadata an endpoint must have; a weighted cluster's own wins.
    package let criteria: SubsetCriteria?
    /// Zero is none in all of these.
    package let timeout: Nanoseconds
    /// Nil: the connection manager's `stream_idle_timeout`.
    package let idleTimeout: Nanoseconds?
    package let maxGRPCTimeout: Nanoseconds?
    package let grpcTimeoutOffset: Nanoseconds?
    package let internalRedirect: InternalRedirectConfig?
    let rewrite: PathAndHostRewrite
    private let connect: RouteActionConfig.ConnectConfig?
    private let target: Target
    /// The cluster that all its requests go to, where there is one: asked for twice by every request.
    private let onlyCluster: Cluster?

    init(
        _ config: RouteActionConfig,
        retryPolicy: RetryPolicyConfig?,
        overrides: [FilterOverridesConfig],
        _ environment: RouteEnvironment
    ) {
        self.config = config
        self.retryPolicy = retryPolicy.map { RetryPolicy($0) }
        clusterNotFoundStatus = config.clusterNotFoundStatus.status
        priority = config.priority == .high ? .high : .default
        let wanted = Route.metadata(config.metadataMatch)["envoy.lb"] ?? [:]
        criteria = wanted.isEmpty ? nil : SubsetCriteria(wanted)
        timeout = Nanoseconds(config.timeout)
        idleTimeout = config.idleTimeout.map { Nanoseconds($0) }
        maxGRPCTimeout = config.maxGRPCTimeout.map { Nanoseconds($0) }
        grpcTimeoutOffset = config.grpcTimeoutOffset.map { Nanoseconds($0) }
        internalRedirect = config.internalRedirect
        rewrite = PathAndHostRewrite(config)
        connect = config.upgrades.lazy.compactMap(\.connect).first
        switch config.target {
        case .cluster(let name):
            onlyCluster = environment.cluster(name)
            target = .cluster(ClusterTarget(name, onlyCluster))
        case .header(let name):
            onlyCluster = nil
            target = .header(HeaderName(name))
        case .weighted(let clusters):
            onlyCluster = nil
            let entries = clusters.entries.map { entry in
                WeightedTarget(entry, criteria: wanted, overrides: overrides, environment)
            }
            target = .weighted(
                entries,
                total: max(1, entries.reduce(0) { $0 + $1.weight }),
                header: clusters.randomValueHeader.map { HeaderName($0) }
            )
        }
    }

    /// Whether the host becomes the endpoint's name; see ``setUpstreamHost(_:_:keepsOriginal:)``.
    package var usesUpstreamHost: Bool { rewrite.usesUpstreamHost }

    /// For each attempt, once its endpoint is known (envoy: auto_host_rewrite).
    package func setUpstreamHost(_ name: String, _ head: HeaderMap, keepsOriginal: Bool) {
        rewrite.setUpstreamHost(name, head, keepsOriginal: keepsOriginal)
    }

    /// The share of a split this request falls into; nil where the route has no split. The same number
    /// gives the same share.
    func split(_ head: HeaderMap, random: UInt64) -> WeightedTarget? {
        guard case .weighted(let entries, let total, let header) = target else { return nil }
        let number = header.flatMap { Self.number($0, head) } ?? random
        var rest = number % total
        for entry in entries {
            if rest < entry.weight { return entry }
            rest -= entry.weight
        }
        return entries.last
    }

    /// The cluster the request goes to; nil where there is none of its name.
    func chosenCluster(
        _ head: HeaderMap,
        _ selection: RouteSelection,
        _ clusters: ClusterSet
    ) -> Cluster? {
        if let onlyCluster { return onlyCluster }
        return cluster(head, split: selection.split) { clusters[$0] }.cluster
    }

    /// Where the request goes. A name out of a header is looked up with `find`.
    package func cluster(
        _ head: HeaderMap,
        split: WeightedTarget?,
        find: (String) -> Cluster?
    ) -> ClusterTarget {
        switch target {
        case .cluster(let cluster): return cluster
        case .header(let name): return Self.named(name, head, find)
        case .weighted:
            guard let split else { return ClusterTarget("", nil) }
            switch split.target {
            case .cluster(let cluster): return cluster
            case .header(let name): return Self.named(name, head, find)
            }
        }
    }

    /// How long the stream may take in all; nil is for ever, zero is over at once. A limit on
    /// `grpc-timeout` counts where the request has one (envoy: max_stream_duration). The upstream of a
    /// gRPC request is told.
    package func maxStreamDuration(
        request head: HeaderMap,
        manager: Nanoseconds?
    ) -> Nanoseconds? {
        var span = callDuration(head)
        if span == nil {
            span = config.streamDuration?.maxStreamDuration.map { Nanoseconds($0) } ?? manager
            if span == .zero { return nil }
        }
        guard let span else { return nil }
        if GRPC.isRequest(head) {
            let milliseconds = span > .zero ? max(1, span.milliseconds) : 0
            GRPC.setTimeout(head, milliseconds: milliseconds)
        }
        return span
    }

    /// What a call asks for, within the route's limits; nil where it does not, or may not.
    private func callDuration(_ head: HeaderMap) -> Nanoseconds? {
        guard let own = config.streamDuration, let most = own.grpcTimeoutHeaderMax,
            var timeout = GRPC.timeout(head)
        else { return nil }
        let limit = Nanoseconds(most)
        if limit > .zero, timeout > limit { timeout = limit }
        if timeout > .zero, let offset = own.grpcTimeoutHeaderOffset.map({ Nanoseconds($0) }) {
            timeout = offset < timeout ? Nanoseconds(timeout.count - offset.count) : .zero
        }
        return timeout
    }

    /// Whether a protocol change of this kind is allowed; nil: as the connection manager says.
    package func allowsUpgrade(_ type: Bytes) -> RouteActionConfig.Upgrade? {
        config.upgrades.first { upgrade in
            guard upgrade.type.utf8.count == type.count else { return false }
            return zip(type, upgrade.type.utf8).allSatisfy { byte, wanted in
                (byte &- 0x41 < 26 ? byte | 0x20 : byte) == wanted
            }
        }
    }

    /// Whether the request is a tunnel that ends here: its payload goes on as bytes (envoy: connect_config).
    package func endsTunnel(of head: HeaderMap) -> Bool {
        guard let connect, let method = head[.method] else { return false }
        return method.equals("CONNECT") || connect.allowsPost && method.equals("POST")
    }

    /// What goes upstream of a request that came in this version.
    func payload(of head: HeaderMap, _ version: HTTPVersion?) -> UpstreamPayload {
        endsTunnel(of: head) ? .raw : .http(version ?? .http11)
    }

    private static func named(
        _ header: HeaderName,
        _ head: HeaderMap,
        _ find: (String) -> Cluster?
    ) -> ClusterTarget {
        guard let value = head.first(header), !value.isEmpty else { return ClusterTarget("", nil) }
        let name = String(bytes: value)
        return ClusterTarget(name, find(name))
    }

    /// The number in a header that occurs once; nil for anything else.
    private static func number(_ header: HeaderName, _ head: HeaderMap) -> UInt64? {
        var found: UInt64?
        var count = 0
        head.forEachValue(header) { value in
            count += 1
            found = DecimalNumber.parse(value)
        }
        return count == 1 ? found : nil
    }
}

/// A cluster by name, and whether it exists.
package struct ClusterTarget {
    package let name: String
    /// Nil: there is none of this name (response flag NC).
    package let cluster: Cluster?

    init(_ name: String, _ cluster: Cluster?) {
        self.name = name
        self.cluster = cluster
    }
}

/// One share of a split. Immutable.
package final class WeightedTarget {
    enum Target {
        case cluster(ClusterTarget)
        case header(HeaderName)
    }

    package let config: WeightedClustersConfig.Entry
    package let criteria: SubsetCriteria?
    /// As ``Route/settings``, for requests of this share.
    package let settings: [FilterSetting]
    let target: Target
    let weight: UInt64
    let hostRewrite: String?
    let requestMutation: HeaderMutation
    let responseMutation: HeaderMutation

    init(
        _ config: WeightedClustersConfig.Entry,
        criteria: [String: MetadataValue],
        overrides: [FilterOverridesConfig],
        _ environment: RouteEnvironment
    ) {
        self.config = config
        weight = UInt64(config.weight)
        hostRewrite = config.hostRewriteLiteral
        let own = Route.metadata(config.metadataMatch)["envoy.lb"] ?? [:]
        let wanted = criteria.merging(own) { $1 }
        self.criteria = wanted.isEmpty ? nil : SubsetCriteria(wanted)
        settings = Route.settings([config.filterOverrides] + overrides, environment)
        switch config.target {
        case .cluster(let name): target = .cluster(ClusterTarget(name, environment.cluster(name)))
        case .header(let name): target = .header(HeaderName(name))
        }
        requestMutation = HeaderMutation(
            add: config.headers.requestHeadersToAdd,
            remove: config.headers.requestHeadersToRemove,
            environment.formats
        )
        responseMutation = HeaderMutation(
            add: config.headers.responseHeadersToAdd,
            remove: config.headers.responseHeadersToRemove,
            environment.formats
        )
    }
}

/// Decimal numbers in header values.
enum DecimalNumber {
    /// Digits only, blanks around them ignored; nil for anything else and on overflow.
    static func parse(_ text: Bytes) -> UInt64? {
        var from = 0
        var to = text.count
        while from < to, text[from] == 0x20 || text[from] == 0x09 { from &+= 1 }
        while to > from, text[to - 1] == 0x20 || text[to - 1] == 0x09 { to &-= 1 }
        guard from < to else { return nil }
        var value: UInt64 = 0
        for at in from..<to {
            let digit = text[at] &- 0x30
            guard digit < 10 else { return nil }
            let (tens, over) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = tens.addingReportingOverflow(UInt64(digit))
            if over || carry { return nil }
            value = sum
        }
        return value
    }
}
