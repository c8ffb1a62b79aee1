import MeshConfig
import MeshHTTP
import MeshNet

extension ClusterOptions {
    /// - Parameter transports: made of the configuration's TLS settings where files may be read.
    package init(
        _ config: ClusterConfig,
        runtime: RuntimeConfig = RuntimeConfig(),
        transports: any UpstreamTransports
    ) {
        self.init(name: config.name, codecs: UpstreamCodecs(config.http, runtime: runtime))
        statName = config.statName
        connectTimeout = Nanoseconds(config.connectTimeout)
        balancing = BalancingOptions(config.balancing)
        balancing.overprovisioning = Int(config.loadAssignment.overprovisioningFactor)
        subsets = config.subsets.map { SubsetOptions($0) }
        if config.http.maxRequestsPerConnection > 0 {
            maxRequestsPerConnection = Int(config.http.maxRequestsPerConnection)
        }
        if let timeout = config.http.common.idleTimeout {
            idleTimeout = timeout == .zero ? nil : Nanoseconds(timeout)
        }
        if let limit = config.http.common.maxConnectionDuration, limit > .zero {
            maxConnectionDuration = Nanoseconds(limit)
        }
        if let keepalive = config.tcpKeepalive {
            socket.keepAlive = SocketOptions.KeepAlive(
                probes: keepalive.probes.map { Int32($0) },
                idleSeconds: keepalive.idleSeconds.map { Int32($0) },
                intervalSeconds: keepalive.intervalSeconds.map { Int32($0) }
            )
        }
        outputHighWatermark = config.perConnectionBufferLimitBytes
        self.transports = transports
        identitySource = IdentitySource(config.http)
        passesState =
            ([config.transportSocket] + config.transportSocketMatches.map(\.transportSocket))
            .contains(where: \.passes)
        if config.metadata != MetadataConfig(nil) { metadata = config.metadata }
    }
}

extension HTTP1Settings {
    /// What a cluster's responses may be and how its requests are written.
    init(upstream config: UpstreamHTTPConfig, runtime: RuntimeConfig) {
        self.init()
        leniency = HTTP1Leniency(runtime, .upstream)
        maxHeadersKB = config.common.maxResponseHeadersKilobytes ?? 80
        maxHeadersCount = config.common.maxHeadersCount ?? 100
        enableTrailers = config.http1.enablesTrailers
        allowChunkedLength = config.http1.allowsChunkedLength
        sendFullyQualifiedURL = config.http1.sendsFullyQualifiedURL
        headerKeyFormat =
            switch config.http1.headerKeyFormat {
            case .lowerCase: .lowerCase
            case .properCase: .properCase
            case .preserveCase: .preserveCase
            }
    }
}

extension BalancingOptions {
    init(_ config: LoadBalancingConfig) {
        self.init()
        policy =
            switch config.policy {
            case .roundRobin: .roundRobin
            case .random: .random
            case .leastRequest(let choices, let bias):
                .leastRequest(
                    choices: choices.map { Int($0) },
                    activeRequestBias: bias?.defaultValue ?? 1
                )
            }
        panicThreshold = Int(config.healthyPanicThreshold)
        failsTrafficOnPanic = config.failsTrafficOnPanic
    }
}

extension SubsetOptions {
    init(_ config: SubsetConfig) {
        self.init()
        selectors = config.selectors.map { selector in
            var result = Selector(keys: selector.keys)
            result.hasSingleHost = selector.hasSingleHost
            result.fallback =
                switch selector.fallback {
                case .notDefined: .notDefined
                case .noFallback: .none
                case .anyEndpoint: .anyEndpoint
                case .defaultSubset: .defaultSubset
                case .keysSubset: .keysSubset(selector.fallbackKeys)
                }
            return result
        }
        fallback =
            switch config.fallback {
            case .noFallback: .none
            case .anyEndpoint: .anyEndpoint
            case .defaultSubset: .defaultSubset
            }
        defaultSubset = MetadataValue.members(config.defaultSubset)
        listAsAny = config.listAsAny
        panicModeAny = config.panicModeAny
        allowsRedundantKeys = config.allowsRedundantKeys
    }
}

extension SubsetCriteria {
    /// What a route's, or a weighted cluster's, `metadata_match` asks for; nil where it asks nothing.
    package convenience init?(_ config: MetadataConfig) {
        let wanted = config["envoy.lb"]
        if wanted.isEmpty { return nil }
        self.init(MetadataValue.members(wanted))
    }

    /// A route's criteria with its weighted cluster's laid over them.
    package static func merging(_ route: MetadataConfig, _ cluster: MetadataConfig)
        -> SubsetCriteria?
    {
        guard let base = SubsetCriteria(route) else { return SubsetCriteria(cluster) }
        let others = cluster["envoy.lb"]
        return others.isEmpty ? base : base.merging(MetadataValue.members(others))
    }
}

extension CircuitBreakerLimits {
    init(_ config: CircuitBreakersConfig.Thresholds) {
        self.init()
        connections = Int(config.maxConnections)
        pendingRequests = Int(config.maxPendingRequests)
        requests = Int(config.maxRequests)
        retries = Int(config.maxRetries)
        connectionPools = config.maxConnectionPools == .max ? .max : Int(config.maxConnectionPools)
        trackRemaining = config.tracksRemaining
        if let budget = config.retryBudget {
            var result = RetryBudget()
            result.percent = budget.percent
            result.concurrencyMin = Int(budget.minimumConcurrency)
            retryBudget = result
        }
    }
}

extension EndpointHealth {
    init(_ status: EndpointConfig.HealthStatus) {
        self =
            switch status {
            case .unknown, .healthy: .healthy
            case .unhealthy: .unhealthy
            case .draining: .draining
            case .timeout: .timeout
            case .degraded: .degraded
            }
    }
}

extension MetadataValue {
    package init(_ value: ConfigValue) {
        self =
            switch value {
            case .null: .null
            case .bool(let value): .bool(value)
            case .number(let value): .number(value)
            case .string(let value): .string(value)
            case .list(let values): .list(values.map { MetadataValue($0) })
            case .object(let fields): .structure(MetadataValue.members(fields))
            }
    }

    /// A struct's members; of equal names the last counts.
    package static func members(_ fields: ConfigValue.Fields) -> [String: MetadataValue] {
        Dictionary(fields.map { ($0.key, MetadataValue($0.value)) }) { $1 }
    }

    /// Metadata by filter name.
    package static func byFilter(_ config: MetadataConfig) -> [String: [String: MetadataValue]] {
        Dictionary(config.filters.map { ($0.key, members(config[$0.key])) }) { $1 }
    }
}
