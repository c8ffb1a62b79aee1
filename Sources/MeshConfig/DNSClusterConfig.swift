import MeshNet

/// How a cluster resolves its endpoints' names (envoy: extensions.clusters.dns.v3.DnsCluster and the
/// like-named fields of cluster.v3.Cluster).
package struct DNSClusterConfig: Hashable, Sendable {
    package enum LookupFamily: Int, ConfigEnum {
        /// IPv6, and IPv4 if there is no answer.
        case auto = 0
        case v4Only
        case v6Only
        /// IPv4, and IPv6 if there is no answer.
        case v4Preferred
        case all
    }

    /// The same words with the numbers of extensions.clusters.common.dns.v3.DnsLookupFamily.
    private enum TypedLookupFamily: Int, ConfigEnum {
        case unspecified = 0
        case auto
        case v4Only
        case v6Only
        case v4Preferred
        case all
    }

    static let typeName = "envoy.extensions.clusters.dns.v3.DnsCluster"

    package let refreshRate: Duration
    /// Added to each refresh, a random part of this.
    package let jitter: Duration
    /// After a failure the wait grows from the first to the second; nil: ``refreshRate``.
    package let failureRefresh: ClosedRange<Duration>?
    /// The answer's time to live takes the place of ``refreshRate``, but is never below
    /// ``minimumRefreshRate``.
    package let respectsTTL: Bool
    package let minimumRefreshRate: Duration
    package let lookupFamily: LookupFamily
    package let resolver: DNSResolverConfig

    init(cluster object: ConfigObject, defaultResolver: DNSResolverConfig) {
        refreshRate =
            object.duration("dns_refresh_rate", atLeast: .nanoseconds(1_000_001)) ?? .seconds(5)
        jitter = object.duration("dns_jitter", default: .zero)
        failureRefresh = Self.failureRefresh(object.object("dns_failure_refresh_rate"))
        respectsTTL = object.bool("respect_dns_ttl", default: false)
        minimumRefreshRate = .zero
        lookupFamily = object.enumeration("dns_lookup_family", default: .auto)
        let own = DNSResolverConfig(owner: object)
        resolver = own == DNSResolverConfig() ? defaultResolver : own
    }

    init(typed object: ConfigObject, defaultResolver: DNSResolverConfig) {
        refreshRate =
            object.duration("dns_refresh_rate", atLeast: .nanoseconds(1_000_001)) ?? .seconds(5)
        jitter = object.duration("dns_jitter", default: .zero)
        failureRefresh = Self.failureRefresh(object.object("dns_failure_refresh_rate"))
        respectsTTL = object.bool("respect_dns_ttl", default: false)
        minimumRefreshRate = object.duration("dns_min_refresh_rate", default: .zero)
        lookupFamily =
            switch object.enumeration("dns_lookup_family", default: TypedLookupFamily.auto) {
            case .unspecified, .auto: .auto
            case .v4Only: .v4Only
            case .v6Only: .v6Only
            case .v4Preferred: .v4Preferred
            case .all: .all
            }
        let own = DNSResolverConfig(typed: object)
        resolver = own == DNSResolverConfig() ? defaultResolver : own
    }

    private static func failureRefresh(_ object: ConfigObject?) -> ClosedRange<Duration>? {
        guard let object else { return nil }
        let base = object.duration("base_interval", atLeast: .nanoseconds(1_000_001))
        if base == nil, !object.isPresent("base_interval") {
            object.error("base_interval is required")
        }
        let most = object.duration("max_interval", atLeast: .nanoseconds(1_000_001))
        guard let base else { return nil }
        // Envoy's default is ten times the base.
        let limit = most ?? base * 10
        if limit < base {
            object.error("max_interval must not be shorter than base_interval", at: "max_interval")
            return base...base
        }
        return base...limit
    }
}

/// Whom to ask for addresses (envoy: CaresDnsResolverConfig, core.v3.DnsResolutionConfig).
package struct DNSResolverConfig: Hashable, Sendable {
    /// Servers; empty: those of the system.
    package private(set) var resolvers: [SocketAddress] = []
    /// The system's servers come first, ``resolvers`` after them.
    package private(set) var resolversAreFallback = false
    package private(set) var usesTCP = false
    package private(set) var ignoresSearchDomains = false
    /// Of one query to one server; nil: the resolver library's own.
    package private(set) var queryTimeout: Duration?
    package private(set) var queryTries: UInt32?
    package private(set) var rotatesServers = false

    package init() {}

    /// Reads a cluster's fields, old and new.
    init(owner object: ConfigObject) {
        self.init(bootstrap: object)
        read(object, "dns_resolvers")
    }

    /// Reads a message that has the older fields as well as `typed_dns_resolver_config`.
    init(bootstrap object: ConfigObject) {
        self.init(typed: object)
        if let old = object.object("dns_resolution_config") {
            if object.isPresent("typed_dns_resolver_config") {
                object.warning(
                    "typed_dns_resolver_config takes its place",
                    at: "dns_resolution_config"
                )
            }
            read(old, "resolvers")
            readOptions(old.object("dns_resolver_options"))
        }
        if object.bool("use_tcp_for_dns_lookups", default: false) { usesTCP = true }
    }

    /// Reads `typed_dns_resolver_config`.
    init(typed object: ConfigObject) {
        guard let extensionObject = object.object("typed_dns_resolver_config") else { return }
        _ = extensionObject.requiredString("name")
        guard let (type, options) = extensionObject.typedConfig() else { return }
        switch type {
        case "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig":
            readCares(options)
        case "envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig":
            // The same answers by another library.
            options.inert("num_retries", "num_resolver_threads")
        default:
            extensionObject.error(
                "\(ConfigNode.quoted(type)) is not supported; use CaresDnsResolverConfig",
                at: "typed_config"
            )
            options.skip()
        }
    }

    private mutating func readCares(_ object: ConfigObject) {
        read(object, "resolvers")
        readOptions(object.object("dns_resolver_options"))
        resolversAreFallback = object.bool("use_resolvers_as_fallback", default: false)
        queryTimeout = object.uint64("query_timeout_seconds", in: 1...UInt64(Int32.max)).map {
            .seconds(Int64($0))
        }
        queryTries = object.uint32("query_tries", in: 1...UInt32(Int32.max))
        rotatesServers = object.bool("rotate_nameservers", default: false)
        object.unsupported("filter_unroutable_families", "addresses of all families are kept")
        // How queries travel, not what they answer.
        object.inert(
            "udp_max_queries",
            "edns0_max_payload_size",
            "max_udp_channel_duration",
            "reinit_channel_on_timeout",
            "qcache_max_ttl"
        )
    }

    private mutating func readOptions(_ object: ConfigObject?) {
        guard let object else { return }
        if object.bool("use_tcp_for_dns_lookups", default: false) { usesTCP = true }
        if object.bool("no_default_search_domain", default: false) { ignoresSearchDomains = true }
    }

    private mutating func read(_ object: ConfigObject, _ key: String) {
        resolvers += object.objects(key).compactMap {
            AddressConfig($0).requireSocketAddress($0, "a DNS server is named by its address")
        }
    }
}
