import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// What a route table needs to know of its surroundings while it is compiled.
package struct RouteEnvironment {
    /// The worker's cluster of this name.
    package var cluster: (String) -> Cluster?
    package var formats: FormatEnvironment
    /// Where virtual clusters and routes count; nil where nothing is to be counted.
    package var stats: WorkerStats?
    /// What the runtime makes of a share it may override.
    package var share: (RuntimeFractionalPercent) -> FractionalPercent
    /// Names of the HTTP filters, in the chain's order: ``Route/settings`` follows it.
    package var filters: [String]
    /// Compiles settings of the filter at this place of the chain.
    package var settings: (Int, FilterOverridesConfig.Override) -> FilterSetting

    package init(
        cluster: @escaping (String) -> Cluster?,
        formats: FormatEnvironment,
        stats: WorkerStats? = nil,
        share: @escaping (RuntimeFractionalPercent) -> FractionalPercent = { $0.defaultValue },
        filters: [String] = [],
        settings: @escaping (Int, FilterOverridesConfig.Override) -> FilterSetting = { _, _ in
            .chain
        }
    ) {
        self.cluster = cluster
        self.formats = formats
        self.stats = stats
        self.share = share
        self.filters = filters
        self.settings = settings
    }
}

/// What holds for one filter on one route (envoy: typed_per_filter_config).
package enum FilterSetting {
    /// What the filter chain says.
    case chain
    case disabled
    case enabled
    /// Something the filter understands.
    case own(AnyObject)
}

/// What a stream asks of its virtual host after its route was found.
package struct VirtualHostFacts {
    package let name: String
    package let includesRequestAttemptCount: Bool
    package let includesAttemptCountInResponse: Bool
    package let includesTimeoutRetryHeader: Bool
    package let virtualClusters: VirtualClusters?

    init(_ config: VirtualHostConfig, _ stats: WorkerStats?) {
        virtualClusters = VirtualClusters(config, stats)
        name = config.name
        includesRequestAttemptCount = config.includesRequestAttemptCount
        includesAttemptCountInResponse = config.includesAttemptCountInResponse
        includesTimeoutRetryHeader = config.includesTimeoutRetryHeader
    }
}

/// Routes of one set of domains. Immutable.
package final class VirtualHost {
    package let facts: VirtualHostFacts
    /// Of requests that none of its routes is for.
    let labels: RouteLabels
    package let config: VirtualHostConfig
    package let routes: [Route]
    /// By place in ``routes``: what a request without a split is given.
    private(set) var selections: [RouteSelection] = []

    init(_ config: VirtualHostConfig, routes: [Route], stats: WorkerStats?) {
        self.config = config
        self.routes = routes
        facts = VirtualHostFacts(config, stats)
        labels = RouteLabels(
            name: "",
            virtualHostName: config.name,
            virtualHostMetadata: config.metadata
        )
        selections = routes.map { RouteSelection(host: self, route: $0, split: nil) }
    }

    package var name: String { facts.name }

    /// Whether the request must be sent to HTTPS first. Goes by `x-forwarded-proto`: TLS may have ended
    /// before us.
    func demandsTLS(_ head: HeaderMap) -> Bool {
        switch config.tlsRequirement {
        case .none: false
        case .all: head[.forwardedProto]?.equals("https") != true
        case .externalOnly:
            head[.forwardedProto]?.equals("https") != true
                && head[.envoyInternal]?.equals("true") != true
        }
    }
}

/// One route, compiled for one worker. Immutable; streams keep it to their end.
package final class Route {
    package enum Action {
        case forward(ForwardAction)
        case redirect(RedirectLocation)
        case respond(DirectResponse)
    }

    /// Its name, its virtual host's, and its metadata.
    package let labels: RouteLabels
    package let config: RouteEntryConfig
    package let matcher: RouteMatcher
    package let action: Action
    /// How much of a request is kept for retries; nil: the listener's buffer limit.
    package let requestBufferLimit: UInt64?
    /// Where its requests are counted; nil without `stat_prefix`.
    let stats: VirtualHostStats?
    /// By place in the filter chain; those of a weighted cluster win.
    package let settings: [FilterSetting]
    private let requestMutations: HeaderMutationLevels
    private let responseMutations: HeaderMutationLevels

    init(
        _ config: RouteEntryConfig,
        host: VirtualHostConfig,
        table: RouteConfig,
        _ environment: RouteEnvironment
    ) {
        labels = RouteLabels(
            name: config.name,
            virtualHostName: host.name,
            metadata: Self.metadata(config.metadata),
            virtualHostMetadata: host.metadata
        )
        self.config = config
        stats =
            config.statPrefix.isEmpty
            ? nil
            : environment.stats.map {
                VirtualHostStats($0, virtualHost: host.name, route: config.statPrefix)
            }
        matcher = RouteMatcher(config.match, share: environment.share)
        requestBufferLimit = config.requestBufferLimit ?? host.requestBufferLimit
        settings = Self.settings(
            [config.filterOverrides, host.filterOverrides, table.filterOverrides],
            environment
        )
        func levels(_ make: (HeaderMutationsConfig) -> HeaderMutation) -> HeaderMutationLevels {
            HeaderMutationLevels(
                [config.headers, host.headers, table.headers].map(make),
                mostSpecificWins: table.mostSpecificHeaderMutationsWins
            )
        }
        requestMutations = levels {
            HeaderMutation(
                add: $0.requestHeadersToAdd,
                remove: $0.requestHeadersToRemove,
                environment.formats
            )
        }
        responseMutations = levels {
            HeaderMutation(
                add: $0.responseHeadersToAdd,
                remove: $0.responseHeadersToRemove,
                environment.formats
            )
        }
        switch config.action {
        case .route(let action):
            self.action = .forward(
                ForwardAction(
                    action,
                    retryPolicy: action.retryPolicy ?? host.retryPolicy,
                    overrides: [
                        config.filterOverrides, host.filterOverrides, table.filterOverrides,
                    ],
                    environment
                )
            )
        case .redirect(let redirect): action = .redirect(RedirectLocation(redirect))
        case .directResponse(let response):
            action = .respond(DirectResponse(response, environment.formats))
        }
    }

    /// Writes the `location` of this route's redirect.
    package func appendLocation(
        _ redirect: RedirectLocation,
        for head: HeaderMap,
        to location: inout ByteBuffer
    ) {
        let path = head[.path] ?? Bytes(start: nil, count: 0)
        redirect.append(head, matchedSize: matcher.matchedSize(path), to: &location)
    }

    /// Response header mutations of all levels.
    package func mutateResponse(
        _ head: HeaderMap,
        split: WeightedTarget?,
        context: () -> FormatContext
    ) {
        split?.responseMutation.apply(to: head, context: context)
        responseMutations.apply(to: head, context: context)
    }

    /// Request header mutations of all levels, then the rewrites. Once per request.
    ///
    /// - Parameter keepsOriginals: whether `x-envoy-original-path` and `-host` are set; false where
    ///   the router has `suppress_envoy_headers`.
    package func prepareRequest(
        _ head: HeaderMap,
        forward: ForwardAction,
        split: WeightedTarget?,
        keepsOriginals: Bool,
        context: () -> FormatContext
    ) {
        split?.requestMutation.apply(to: head, context: context)
        requestMutations.apply(to: head, context: context)
        let literalHost = split?.hostRewrite
        guard literalHost != nil || !forward.rewrite.isEmpty else { return }
        let path = head[.path] ?? Bytes(start: nil, count: 0)
        forward.rewrite.apply(
            to: head,
            matchedSize: matcher.matchedSize(path),
            literalHost: literalHost,
            keepsOriginals: keepsOriginals
        )
    }

    static func metadata(_ config: MetadataConfig) -> [String: [String: MetadataValue]] {
        var result: [String: [String: MetadataValue]] = [:]
        for field in config.filters {
            var members: [String: MetadataValue] = [:]
            for member in config[field.key] { members[member.key] = MetadataValue(member.value) }
            result[field.key] = members
        }
        return result
    }

    /// For each filter the settings of the first level that has some.
    static func settings(
        _ levels: [FilterOverridesConfig],
        _ environment: RouteEnvironment
    ) -> [FilterSetting] {
        environment.filters.enumerated().map { at, filter in
            for level in levels {
                if let override = level[filter] { return environment.settings(at, override) }
            }
            return .chain
        }
    }
}

/// An answer of the proxy's own. Immutable.
package final class DirectResponse {
    package let status: Int
    /// Empty where ``format`` makes the body from nothing else.
    package let body: [UInt8]
    /// The body as logs show it.
    package let text: String
    package let format: BodyFormat?

    init(_ config: DirectResponseConfig, _ formats: FormatEnvironment) {
        status = config.status
        body = config.body
        text = String(decoding: config.body, as: UTF8.self)
        format = config.bodyFormat.map { BodyFormat($0, formats) }
    }

    /// Whether the answer has a `location`, which is then the request's own URL.
    package var hasLocation: Bool { status == 201 || (300..<400).contains(status) }
}
