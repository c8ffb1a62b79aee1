import MeshNet

/// Calls of one gRPC method, or of all together (envoy: `cluster.<name>.grpc.[<service>.<method>.]`).
/// Each counter appears with its first use.
package final class GRPCMethodStats {
    private let scope: StatsScope
    private var outcomes: (success: Counter?, failure: Counter?, total: Counter?) = (nil, nil, nil)
    private var messages: (request: Counter?, response: Counter?) = (nil, nil)
    private var time: Histogram?
    /// By status; few are ever seen, and none of gRPC's is above 16.
    private var statuses: [Counter?] = Array(repeating: nil, count: 100)

    package init(_ scope: StatsScope) { self.scope = scope }

    /// A call has ended with this `grpc-status`. What is not a number of two digits is a failure only.
    package func record(status: Bytes) {
        let code = Self.code(status)
        if let code { add(1, to: &statuses[code], "\(code)") }
        if code == 0 {
            add(1, to: &outcomes.success, "success")
        } else {
            add(1, to: &outcomes.failure, "failure")
        }
        add(1, to: &outcomes.total, "total")
    }

    private static func code(_ status: Bytes) -> Int? {
        guard (1...2).contains(status.count) else { return nil }
        var code = 0
        for byte in status {
            guard byte &- 0x30 < 10 else { return nil }
            code = code * 10 + Int(byte &- 0x30)
        }
        return code
    }

    package func record(requestMessages count: UInt64) {
        add(count, to: &messages.request, "request_message_count")
    }

    package func record(responseMessages count: UInt64) {
        add(count, to: &messages.response, "response_message_count")
    }

    package func record(upstreamMilliseconds: UInt64) {
        let histogram = time ?? scope.histogram("upstream_rq_time")
        time = histogram
        histogram.record(upstreamMilliseconds)
    }

    private func add(_ count: UInt64, to counter: inout Counter?, _ name: String) {
        let known = counter ?? scope.counter(name)
        counter = known
        known.add(count)
    }
}

/// The methods that a worker has seen called, by cluster. A look-up allocates nothing.
package final class GRPCStatsTable {
    private final class Entry {
        let hash: UInt64
        let path: [UInt8]
        let cluster: ClusterLabels
        let stats: GRPCMethodStats

        init(_ hash: UInt64, _ path: Bytes, _ cluster: ClusterLabels, _ stats: GRPCMethodStats) {
            self.hash = hash
            self.path = Array(path)
            self.cluster = cluster
            self.stats = stats
        }
    }

    /// How a method is called in stat names; nil for those that count together.
    package typealias Naming = (_ service: String, _ method: String) -> String?

    /// Clients choose the names: beyond this many methods the rest count together.
    private static let methodsMax = 4096

    private let stats: WorkerStats
    private let word: StaticString
    private var buckets: [[Entry]] = Array(repeating: [], count: 1024)
    private var count = 0
    /// Of calls that count together, by cluster.
    private var shared: [Entry] = []

    /// `word` is the protocol's in stat names: `grpc` or `grpc-web`.
    package init(_ stats: WorkerStats, word: StaticString) {
        self.stats = stats
        self.word = word
    }

    /// Nil where the path is no `/<service>/<method>`.
    package func find(path: Bytes, _ cluster: ClusterLabels, naming: Naming) -> GRPCMethodStats? {
        let end = path.firstIndex(of: UInt8(ascii: "?")) ?? path.count
        let path = Bytes(rebasing: path[..<end])
        guard path.count > 1, path[0] == UInt8(ascii: "/") else { return nil }
        let hash = Self.hash(path)
        let bucket = Int(truncatingIfNeeded: hash) & (buckets.count - 1)
        for entry in buckets[bucket] where entry.hash == hash && entry.cluster === cluster {
            if entry.path.withUnsafeBytes({ $0.equals(path) }) { return entry.stats }
        }
        guard let (service, method) = Self.split(path) else { return nil }
        let name = count < Self.methodsMax ? naming(service, method) : nil
        guard let name else {
            // Not kept by path: whatever clients ask for, these are few.
            return together(cluster)
        }
        let scope = StatsScope(stats, "cluster.\(cluster.statName).\(word).\(name).")
        let made = GRPCMethodStats(scope)
        buckets[bucket].append(Entry(hash, path, cluster, made))
        count += 1
        return made
    }

    private func together(_ cluster: ClusterLabels) -> GRPCMethodStats {
        for entry in shared where entry.cluster === cluster { return entry.stats }
        let scope = StatsScope(stats, "cluster.\(cluster.statName).\(word).")
        let made = GRPCMethodStats(scope)
        shared.append(Entry(0, Bytes(start: nil, count: 0), cluster, made))
        return made
    }

    /// `/shop.v1.Cart/Add` is method `Add` of service `shop.v1.Cart`.
    private static func split(_ path: Bytes) -> (service: String, method: String)? {
        let parts = path[1...].split(
            separator: UInt8(ascii: "/"),
            omittingEmptySubsequences: false
        )
        guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else { return nil }
        return (String(bytes: Bytes(rebasing: parts[0])), String(bytes: Bytes(rebasing: parts[1])))
    }

    /// FNV-1a.
    private static func hash(_ path: Bytes) -> UInt64 {
        path.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }
}
