import MeshConfig
import MeshHTTP
import MeshNet
import Testing

@testable import MeshRuntime

struct RBACOracleTests {
    static let certificates = [
        "both": CertificateInfo(
            uriSANs: ["spiffe://td/ns/a/sa/b"],
            dnsSANs: ["client.example"],
            subject: "O=x,CN=both"
        ),
        "dnsonly": CertificateInfo(dnsSANs: ["d1.example", "d2.example"], subject: "CN=dnsonly"),
        "nosan": CertificateInfo(subject: "CN=nosan,O=Org,C=DE"),
    ]

    static let metadata: [String: [String: MetadataValue]] = [
        "test": [
            "s": .string("text"), "n": .number(5), "b": .bool(true), "z": .null,
            "l": .list([.string("x"), .number(1)]), "d": .structure(["e": .string("deep")]),
        ]
    ]

    private static func stream(_ request: ConfigObject) throws -> StreamInfo {
        let peer = try #require(IPAddress("127.0.0.1"))
        let connection = ConnectionInfo(
            remoteAddress: .ip(peer, port: 40_000),
            localAddress: .ip(peer, port: 15_006),
            start: Instant(nanoseconds: 0),
            startWall: WallTime(nanoseconds: 0)
        )
        if request.bool("tls", default: false) {
            let certificate = request.string("cert").flatMap { certificates[$0] }
            connection.tls = TLSConnectionInfo(
                peer: certificate,
                isPeerVerified: certificate != nil
            )
        }
        connection.requestedServerName = request.string("sni", default: "")
        let stream = StreamInfo(
            connection: connection,
            start: connection.start,
            startWall: connection.startWall
        )
        if let client = request.string("xff") {
            stream.remoteAddress = .ip(try #require(IPAddress(client)), port: 0)
        }
        stream.dynamicMetadata = metadata
        stream.route = RouteLabels(name: "", metadata: ["test": ["r": .string("route")]])
        return stream
    }

    private static func headers(_ request: ConfigObject, host: String) -> HeaderMap {
        let map = HeaderMap()
        map.append(.method, request.string("method", default: "GET"))
        map.append(.path, request.string("path", default: "/"))
        map.append(.authority, host)
        for line in request.strings("headers") {
            let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            // A codec trims the blanks around a value.
            map.append(HeaderName(String(parts[0])), String(parts[1].drop { $0 == " " }))
        }
        return map
    }

    @Test func `we decide as Envoy does`() throws {
        let diagnostics = ConfigDiagnostics()
        let root = try #require(
            ConfigDocument.parse(json: RBACOracleCases.json, diagnostics: diagnostics)
        )
        var decisions = 0
        for test in root.objects("cases") {
            let name = test.requiredString("name")
            let rules = RBACRules(try #require(test.object("rules")), isNetwork: false)
            let engine = RBACEngine(rules)
            for request in test.objects("requests") {
                let stream = try Self.stream(request)
                let headers = Self.headers(request, host: name)
                if let value = headers.string(HeaderName("x-fs")) {
                    stream.filterState["fs"] = FilterStateObject(value)
                }
                let wanted = RBACDecision(
                    isAllowed: request.bool("allowed", default: false),
                    policy: request.string("policy").flatMap { policy in
                        engine.policyNames.firstIndex { $0 == policy }
                    }
                )
                let decision = engine.decide(headers, stream)
                #expect(decision == wanted, "\(name): \(headers.string(.path) ?? "")")
                decisions += 1
            }
        }
        root.finish()
        #expect(diagnostics.errors.map(\.message) == [])
        #expect(decisions > 700)
    }
}
