import MeshHTTP
import MeshNet
import MeshRuntime

/// The fields of a CONNECT between nodes, and of its answer.
enum HBONEHeaders {
    /// `k8s.cluster.name=…,k8s.namespace.name=…`: who the workload is (W3C baggage). Members without a
    /// value are left out.
    static func baggage(of workload: Workload, cluster: String) -> String {
        var members: [String] = []
        func add(_ key: String, _ value: String) {
            if !value.isEmpty { members.append("\(key)=\(value)") }
        }
        add("k8s.cluster.name", workload.clusterID.isEmpty ? cluster : workload.clusterID)
        add("k8s.namespace.name", workload.namespace)
        if !workload.workloadType.isEmpty {
            add("k8s.\(workload.workloadType).name", workload.workloadName)
        }
        add("service.name", workload.canonicalName)
        add("service.version", workload.canonicalRevision)
        add("cloud.region", workload.locality.region)
        add("cloud.availability_zone", workload.locality.zone)
        return members.joined(separator: ",")
    }

    /// `for="10.0.0.1:54321";host=echo.default.svc` (RFC 7239).
    static func forwarded(for client: SocketAddress, host: String?) -> String {
        let origin = "for=\"\(client)\""
        return host.map { "\(origin);host=\($0)" } ?? origin
    }

    /// A trace of its own per connection (W3C traceparent).
    static func traceparent(_ random: inout FastRandom) -> String {
        "00-\(hex(random.next()))\(hex(random.next()))-\(hex(random.next()))-00"
    }

    private static func hex(_ number: UInt64) -> String {
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    /// What the client said in `forwarded: …;host=`; nil where it said nothing.
    static func forwardedHost(_ head: HeaderMap) -> String? {
        guard let field = head.first(forwardedName) else { return nil }
        // By hand, since every tunnel asks: splitting a String costs more than the rest of its request.
        var rest = field[...]
        while !rest.isEmpty {
            let end = rest.firstIndex(of: UInt8(ascii: ";")) ?? rest.endIndex
            let pair = Bytes(rebasing: rest[..<end])
            rest = rest[end...].dropFirst()
            guard pair.count >= 5, Bytes(rebasing: pair[..<5]).equals("host=") else { continue }
            var host = Bytes(rebasing: pair[5...])
            let quote = UInt8(ascii: "\"")
            if host.count >= 2, host.first == quote, host.last == quote {
                host = Bytes(rebasing: host[1..<host.count - 1])
            }
            return host.isEmpty ? nil : String(bytes: host)
        }
        return nil
    }

    /// Who the client's node says the client is; for logs and metrics only.
    static func claim(_ head: HeaderMap) -> ClaimedWorkload? {
        guard let field = head.first(baggageName), field.count <= baggageBytesMax else {
            return nil
        }
        var claim = ClaimedWorkload()
        for member in String(bytes: field).split(separator: ",") {
            let halves = member.split(separator: "=", maxSplits: 1)
            guard halves.count == 2 else { continue }
            let value = String(halves[1])
            switch halves[0] {
            case "k8s.cluster.name": claim.clusterID = value
            case "k8s.namespace.name": claim.namespace = value
            case "service.name": claim.app = value
            case "service.version": claim.revision = value
            case "cloud.region": claim.region = value
            case "cloud.availability_zone": claim.zone = value
            case let key where key.hasPrefix("k8s.") && key.hasSuffix(".name"):
                claim.workloadName = value
            default: break
            }
        }
        return claim
    }

    /// W3C baggage's own limit.
    private static let baggageBytesMax = 8192

    static let baggageName = HeaderName("baggage")
    static let forwardedName = HeaderName("forwarded")
    static let traceparentName = HeaderName("traceparent")
}
