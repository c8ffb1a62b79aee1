import MeshHTTP
import MeshNet

/// Where an endpoint is (envoy: core.v3.Locality).
package struct Locality: Hashable, Sendable {
    package var region = ""
    package var zone = ""
    package var subZone = ""

    package init(region: String = "", zone: String = "", subZone: String = "") {
        self.region = region
        self.zone = zone
        self.subZone = subZone
    }
}

/// One address of a cluster, as configuration or DNS gave it. Immutable but for its vitals.
package struct EndpointSpec: Sendable {
    package var address: SocketAddress
    /// The name it was resolved from, or `endpoint.hostname`; empty where there is none.
    package var hostname: String
    /// At least 1.
    package var weight: Int
    /// 0 is served first.
    package var priority: Int
    package var locality: Locality
    /// By filter name, then key; subsets look at `envoy.lb`.
    package var metadata: [String: [String: MetadataValue]]
    package var isCanary: Bool
    package var vitals: EndpointVitals

    package init(
        address: SocketAddress,
        hostname: String = "",
        weight: Int = 1,
        priority: Int = 0,
        locality: Locality = Locality(),
        metadata: [String: [String: MetadataValue]] = [:],
        isCanary: Bool = false,
        vitals: EndpointVitals
    ) {
        self.address = address
        self.hostname = hostname
        self.weight = max(1, weight)
        self.priority = priority
        self.locality = locality
        self.metadata = metadata
        self.isCanary = isCanary
        self.vitals = vitals
    }

    /// Metadata that subsets match on.
    package var loadBalancingMetadata: [String: MetadataValue] { metadata["envoy.lb"] ?? [:] }
}

/// A cluster's endpoints at one time, in configuration order.
package struct EndpointSet: Sendable {
    package var endpoints: [EndpointSpec]

    package init(_ endpoints: [EndpointSpec] = []) { self.endpoints = endpoints }

    /// The same endpoints, each with the vitals it has in `previous`, where it is there: counts and
    /// health survive an update. Health stated anew by configuration is the caller's to set.
    package func keepingVitals(of previous: EndpointSet) -> EndpointSet {
        var known: [Key: EndpointVitals] = [:]
        for endpoint in previous.endpoints { known[Key(endpoint)] = endpoint.vitals }
        var result = self
        for index in result.endpoints.indices {
            if let vitals = known[Key(result.endpoints[index])] {
                result.endpoints[index].vitals = vitals
            }
        }
        return result
    }

    /// What makes two specifications the same endpoint: connections to it stay good.
    package struct Key: Hashable, Sendable {
        let address: SocketAddress
        let hostname: String
        let priority: Int

        package init(_ endpoint: EndpointSpec) {
            address = endpoint.address
            hostname = endpoint.hostname
            priority = endpoint.priority
        }
    }
}

/// A worker's view of one endpoint: its specification and this worker's pools to it.
package final class Endpoint {
    package private(set) var spec: EndpointSpec
    package let vitals: EndpointVitals
    private(set) var transport: any UpstreamTransport
    /// Connections for most requests: of default priority, that ask for nothing special, where all speak
    /// the same. Made on first use.
    private var plain: HTTPConnectionPool?
    /// Those for all others.
    private var special: [PoolKey: HTTPConnectionPool] = [:]

    /// What keeps connections apart.
    private struct PoolKey: Hashable {
        let identity: ConnectionIdentity?
        let priority: RequestPriority
        let version: HTTPVersion?
        let isRaw: Bool
    }

    init(_ spec: EndpointSpec, transport: any UpstreamTransport = PlainTransport()) {
        self.spec = spec
        self.transport = transport
        vitals = spec.vitals
    }

    package var address: SocketAddress { spec.address }

    /// Takes over a changed weight, locality or metadata; address and vitals stay.
    func update(_ spec: EndpointSpec, transport: any UpstreamTransport) {
        precondition(spec.vitals === vitals)
        self.spec = spec
        self.transport = transport
    }

    /// Nil where the limit of pools leaves no room.
    func pool(
        _ priority: RequestPriority,
        _ identity: ConnectionIdentity?,
        _ payload: UpstreamPayload,
        in cluster: Cluster
    ) -> HTTPConnectionPool? {
        let isRaw = payload == .raw
        if identity == nil, priority == .default, !isRaw, let plain { return plain }
        let codecs = cluster.options.codecs
        if identity == nil, priority == .default, !isRaw, !codecs.dependsOnDownstream {
            plain = makePool(priority, nil, payload, in: cluster)
            return plain
        }
        let key = PoolKey(
            identity: identity,
            priority: priority,
            version: codecs.codec(for: payload)?.version,
            isRaw: isRaw
        )
        if let pool = special[key] { return pool }
        special[key] = makePool(priority, identity, payload, in: cluster)
        return special[key]
    }

    private func makePool(
        _ priority: RequestPriority,
        _ identity: ConnectionIdentity?,
        _ payload: UpstreamPayload,
        in cluster: Cluster
    ) -> HTTPConnectionPool? {
        guard cluster.acquirePool(priority) else { return nil }
        return HTTPConnectionPool(
            cluster: cluster,
            endpoint: self,
            priority: priority,
            identity: identity,
            payload: payload
        )
    }

    /// The pool has neither connections nor requests.
    func forget(_ pool: HTTPConnectionPool) {
        let key = PoolKey(
            identity: pool.identity,
            priority: pool.priority,
            version: pool.codec?.version,
            isRaw: pool.payload == .raw
        )
        if pool === plain {
            plain = nil
        } else if special[key] === pool {
            special[key] = nil
        } else {
            return
        }
        pool.cluster.vitals[pool.priority].connectionPools.release()
    }

    /// All pools, in no order that matters to traffic.
    var pools: [HTTPConnectionPool] {
        [plain].compactMap { $0 } + special.values
    }

    /// It left the cluster. Connections under way keep their pool, and the pool this endpoint.
    func drain() {
        let pools = pools
        plain = nil
        special = [:]
        for pool in pools {
            pool.cluster.vitals[pool.priority].connectionPools.release()
            pool.drain()
        }
    }
}
