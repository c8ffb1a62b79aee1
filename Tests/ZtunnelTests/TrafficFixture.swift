import MeshNet
import MeshRuntime
import MeshSimulation
import Synchronization
import Testing

@testable import Ztunnel

/// Standard output in memory.
final class MemoryLog: LogFiles {
    private let text = Mutex("")

    var lines: [String] { text.withLock { $0.split(separator: "\n").map(String.init) } }

    func open(_ path: String) throws(SystemError) -> Int32 { 9 }
    func close(_ descriptor: Int32) {}

    func write(_ bytes: Bytes, to descriptor: Int32) throws(SystemError) -> Int {
        let added = String(bytes: bytes)
        text.withLock { $0 += added }
        return bytes.count
    }
}

extension Mesh {
    /// A client and a server with every name, a bare one, and a service.
    static func observed() throws -> Mesh {
        try Mesh(
            """
            workloads:
            - uid: client
              name: shell-5b7cf9f6c4-npqgz
              namespace: default
              serviceAccount: shell
              workloadName: shell
              workloadType: deployment
              canonicalName: shell-app
              canonicalRevision: v1
              clusterId: Kubernetes
              workloadIps: [10.244.0.24]
              protocol: HBONE
              locality: {region: eu, zone: eu-1, subzone: ""}
              services: {}
            - uid: server
              name: echo-1
              namespace: shop
              serviceAccount: echo
              workloadName: echo
              canonicalName: echo
              canonicalRevision: latest
              clusterId: Kubernetes
              workloadIps: [10.244.0.42]
              protocol: HBONE
              services: {shop/echo.shop.svc.cluster.local: {80: 8080}}
            - uid: bare
              namespace: default
              workloadIps: [10.244.0.99]
              services: {}
            services:
            - name: echo
              namespace: shop
              hostname: echo.shop.svc.cluster.local
              vips: [/10.96.108.116]
              ports: {80: 8080}
            policies: []
            """
        )
    }

    func byUID(_ uid: String) throws -> Workload {
        try #require(state.workloads.first { $0.uid == uid })
    }
}

extension ConnectionRecord {
    static let client = SocketAddress.ip(IPAddress(ipv4: 0x0AF4_0018), port: 46238)
    static let server = SocketAddress.ip(IPAddress(ipv4: 0x0AF4_002A), port: 15008)

    /// The client's connection to the service, through HBONE, as its own agent sees it.
    static func outbound(_ mesh: Mesh, at start: Instant = Instant(nanoseconds: 0)) throws
        -> ConnectionRecord
    {
        let record = ConnectionRecord(
            direction: .outbound,
            source: client,
            destination: server,
            start: start
        )
        record.sourceWorkload = try mesh.byUID("client")
        record.sourceIdentity = record.sourceWorkload?.identity
        record.destinationWorkload = try mesh.byUID("server")
        record.destinationIdentity = record.destinationWorkload?.identity
        record.service = mesh.state.services.first
        record.hboneAddress = "10.96.108.116:80"
        record.isMutualTLS = true
        return record
    }

    /// The same as the server's agent sees it.
    static func inbound(_ mesh: Mesh, at start: Instant = Instant(nanoseconds: 0)) throws
        -> ConnectionRecord
    {
        let record = ConnectionRecord(
            direction: .inbound,
            source: client,
            destination: .ip(IPAddress(ipv4: 0x0AF4_002A), port: 8080),
            start: start
        )
        record.sourceWorkload = try mesh.byUID("client")
        record.sourceIdentity = record.sourceWorkload?.identity
        record.destinationWorkload = try mesh.byUID("server")
        record.isMutualTLS = true
        return record
    }
}

/// What a scrape says, taken apart strictly: every line is a comment of a family that has samples, a
/// sample of the family before it, or the end.
struct Exposition {
    struct Sample: Equatable {
        let name: String
        let labels: [(name: String, value: String)]
        let value: UInt64

        static func == (left: Sample, right: Sample) -> Bool {
            left.name == right.name && left.value == right.value
                && left.labels.elementsEqual(right.labels) { $0 == $1 }
        }

        subscript(label: String) -> String? { labels.first { $0.name == label }?.value }
    }

    struct Malformed: Error { let line: Substring }

    var types: [String: String] = [:]
    var samples: [Sample] = []

    init(_ metrics: TrafficMetrics, version: String = "0.1.0") throws {
        let buffer = metrics.text(TrafficMetrics.Process(version: version))
        try self.init(String(bytes: buffer.bytes))
    }

    init(_ text: String) throws {
        guard text.hasSuffix("\n# EOF\n") else { throw Malformed(line: text.suffix(20)) }
        var family = ""
        var type = ""
        for line in text.dropLast(7).split(separator: "\n", omittingEmptySubsequences: false) {
            let words = line.split(separator: " ", maxSplits: 3, omittingEmptySubsequences: false)
            if line.hasPrefix("# HELP ") {
                family = String(words[2])
                guard types[family] == nil, words[3].hasSuffix(".") else {
                    throw Malformed(line: line)
                }
            } else if line.hasPrefix("# TYPE ") {
                type = String(words[3])
                guard words[2] == family, ["counter", "gauge"].contains(type) else {
                    throw Malformed(line: line)
                }
                types[family] = type
            } else {
                let sample = try Sample(line)
                guard sample.name == family + (type == "counter" ? "_total" : "") else {
                    throw Malformed(line: line)
                }
                samples.append(sample)
            }
        }
    }

    subscript(name: String) -> [Sample] { samples.filter { $0.name == name } }
    func sum(_ name: String) -> UInt64 { self[name].reduce(0) { $0 + $1.value } }
}

extension Exposition.Sample {
    fileprivate init(_ line: Substring) throws {
        let head = line.prefix { $0 != "{" && $0 != " " }
        var rest = line.dropFirst(head.count)
        var labels: [(String, String)] = []
        if rest.first == "{" {
            rest = rest.dropFirst()
            while rest.first != "}" {
                let key = rest.prefix { $0 != "=" }
                rest = rest.dropFirst(key.count)
                guard rest.hasPrefix("=\"") else { throw Exposition.Malformed(line: line) }
                rest = rest.dropFirst(2)
                var value = ""
                while let character = rest.popFirst(), character != "\"" {
                    guard character == "\\" else {
                        value.append(character)
                        continue
                    }
                    switch rest.popFirst() {
                    case "n": value.append("\n")
                    case let other?: value.append(other)
                    case nil: throw Exposition.Malformed(line: line)
                    }
                }
                labels.append((String(key), value))
                if rest.first == "," { rest = rest.dropFirst() }
            }
            rest = rest.dropFirst()
        }
        guard rest.first == " ", let value = UInt64(rest.dropFirst()) else {
            throw Exposition.Malformed(line: line)
        }
        name = String(head)
        self.labels = labels
        self.value = value
    }
}
