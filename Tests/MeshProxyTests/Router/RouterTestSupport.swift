import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime
import Testing

@testable import MeshProxy

/// Compiles configuration written in a test, which must be free of errors.
enum Compile {
    static let formats = FormatEnvironment(hostname: "host") { _ in nil }

    static func object(_ json: String) throws -> (ConfigObject, ConfigDiagnostics) {
        let diagnostics = ConfigDiagnostics()
        let object = try #require(ConfigDocument.parse(json: json, diagnostics: diagnostics))
        return (object, diagnostics)
    }

    static func table(_ json: String) throws -> RouteTable {
        let (object, diagnostics) = try object(json)
        let config = RouteConfig(object)
        object.finish()
        #expect(diagnostics.errors.map(\.description) == [])
        return RouteTable(config, RouteEnvironment(cluster: { _ in nil }, formats: formats))
    }

    /// A table of one virtual host for everything.
    static func table(routes: String, members: String = "") throws -> RouteTable {
        try table(
            #"{"virtual_hosts":[{"name":"v","domains":["*"],"routes":[\#(routes)]}]\#(members)}"#
        )
    }

    static func manager(_ members: String) throws -> HTTPConnectionManagerConfig {
        let router =
            #"{"name":"r","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}"#
        let (object, diagnostics) = try object(
            #"{"stat_prefix":"s","codec_type":"HTTP1","route_config":{"internal_only_headers":["x-int"]},"http_filters":[\#(router)]\#(members.isEmpty ? "" : ",")\#(members)}"#
        )
        let config = HTTPConnectionManagerConfig(object)
        object.finish()
        #expect(diagnostics.errors.map(\.description) == [])
        return config
    }

    static func retryPolicy(_ json: String) throws -> RetryPolicy {
        let (object, diagnostics) = try object(json)
        let config = RetryPolicyConfig(object)
        object.finish()
        #expect(diagnostics.errors.map(\.description) == [])
        return RetryPolicy(config)
    }
}

extension HeaderMap {
    /// A head of these fields, in order.
    convenience init(_ fields: [(String, String)]) {
        self.init()
        for (name, value) in fields {
            var name = name
            var value = value
            name.withUTF8 { name in
                value.withUTF8 { append(wireName: Bytes(name), value: Bytes($0)) }
            }
        }
    }

    static func request(
        _ path: String,
        method: String = "GET",
        host: String = "h.com",
        _ fields: [(String, String)] = []
    ) -> HeaderMap {
        HeaderMap(
            [
                (":method", method), (":path", path), (":authority", host), (":scheme", "http"),
                ("x-forwarded-proto", "http"),
            ] + fields
        )
    }

    static func response(_ status: Int, _ fields: [(String, String)] = []) -> HeaderMap {
        HeaderMap([(":status", String(status))] + fields)
    }

    var fields: [String] {
        var result: [String] = []
        forEach { name, value in
            result.append("\(String(bytes: name)): \(String(bytes: value))")
        }
        return result
    }
}

extension StreamInfo {
    static func test(remote: String = "127.0.0.1", tls: TLSConnectionInfo? = nil) -> StreamInfo {
        let address = IPAddress(remote) ?? IPAddress(ipv4: 0)
        let connection = ConnectionInfo(
            remoteAddress: .ip(address, port: 4000),
            localAddress: .ip(IPAddress(ipv4: 0x7F00_0001), port: 8080),
            start: Instant(nanoseconds: 0),
            startWall: WallTime(nanoseconds: 0)
        )
        connection.tls = tls
        return StreamInfo(
            connection: connection,
            start: Instant(nanoseconds: 0),
            startWall: WallTime(nanoseconds: 0)
        )
    }

    func context(_ head: HeaderMap) -> FormatContext {
        FormatContext(
            self,
            requestHead: head,
            now: Instant(nanoseconds: 0),
            wallNow: WallTime(nanoseconds: 0)
        )
    }
}
