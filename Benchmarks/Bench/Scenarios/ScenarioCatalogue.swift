import MeshLoad

/// Every scenario, in the order of a run. Identifiers stay; docs/benchmarking.md explains them.
package enum ScenarioCatalogue {
    package static let all: [Scenario] =
        hops + calls + tunnels + connections + memory + policies + operation

    /// The scenarios of these identifiers, in the order of a run; nil: the standard ones. `all` is all of them.
    ///
    /// - Parameter isQuick: the standard ones without what comes in ten thousands.
    package static func chosen(_ ids: [String]?, isQuick: Bool = false) throws -> [Scenario] {
        guard let ids else {
            return all.filter { $0.isStandard && !(isQuick && $0.id.hasSuffix("-10000")) }
        }
        if ids == ["all"] { return all }
        for id in ids where !all.contains(where: { $0.id == id }) {
            throw BenchError("no such scenario: \(id); mesh-bench scenarios lists them")
        }
        return all.filter { ids.contains($0.id) }
    }

    private static let h1 = Scenario(
        "hop-h1",
        "Plain hop, HTTP/1.1",
        hops: ["h1"],
        .http1,
        explanation: "HTTP/1.1 in and out without TLS: 32 connections, answers of 1 KiB."
    ).with { $0.rate = 2000 }

    private static let mtlsIn = Scenario(
        "mtls-in",
        "Inbound mTLS",
        hops: ["mtls-in"],
        .http1,
        explanation: """
            The server's side of a mesh: mTLS from the client, whose identity is checked, HTTP/1.1 without TLS \
            to the service. 32 connections, answers of 1 KiB.
            """
    ).with {
        $0.rate = 2000
        $0.clientTLS = .mutual
        $0.directService = .httpTLS
    }

    static let hops: [Scenario] = [
        h1,
        mtlsIn,
        Scenario(
            "mtls-out",
            "Outbound mTLS",
            hops: ["mtls-out"],
            .http1,
            explanation: """
                The client's side of a mesh: HTTP/1.1 without TLS from the client, mTLS to the service, whose \
                identity is checked. 32 connections, answers of 1 KiB.
                """
        ).with {
            $0.rate = 2000
            $0.service = .httpTLS
            $0.directService = .http
        },
        Scenario(
            "two-hop-h1",
            "Two hops, HTTP/1.1 over mTLS between",
            hops: ["mtls-out", "mtls-in"],
            .http1,
            explanation: """
                The whole path of a mesh of sidecars; both hops share the proxies' CPU, and figures are of both. \
                32 connections, answers of 1 KiB.
                """
        ).with { $0.rate = 1000 },
        Scenario(
            "two-hop-h2",
            "Two hops, HTTP/2 over mTLS between",
            hops: ["mesh-h2-out", "mesh-h2-in"],
            .http1,
            explanation: """
                The same with HTTP/2 between the hops, so that requests share connections. The floor relays \
                HTTP/1.1. 32 connections, answers of 1 KiB.
                """
        ).with { $0.rate = 1000 },
        Scenario(
            "hop-h2",
            "Plain hop, HTTP/2",
            hops: ["h2"],
            .http2,
            explanation:
                "HTTP/2 in and out without TLS: 10 connections of 10 streams, answers of 1 KiB."
        ).with {
            $0.rate = 2000
            $0.connections = 10
            $0.streamsPerConnection = 10
        },
    ]

    private static let calls: [Scenario] = [
        Scenario(
            "grpc-unary",
            "gRPC, unary calls",
            hops: ["h2"],
            .grpcUnary,
            explanation: "Calls with a message of 100 bytes each way: 10 connections of 10 streams."
        ).with {
            $0.rate = 2000
            $0.connections = 10
            $0.streamsPerConnection = 10
            $0.messageBytes = 100
            $0.unit = "call"
        },
        Scenario(
            "grpc-stream",
            "gRPC, streaming both ways",
            hops: ["h2"],
            .grpcStream,
            explanation: """
                Calls that stay open, on which messages of 100 bytes are echoed, one at a time on each: 4 \
                connections of 16 streams. A figure is for a message and its echo.
                """
        ).with {
            $0.rate = 2000
            $0.connections = 4
            $0.streamsPerConnection = 16
            $0.messageBytes = 100
            $0.unit = "message"
        },
        Scenario(
            "grpc-stream-1",
            "gRPC, one message at a time",
            hops: ["h2"],
            .grpcStream,
            explanation: "The same with one stream on each of the 4 connections."
        ).with {
            $0.connections = 4
            $0.messageBytes = 100
            $0.unit = "message"
            $0.isStandard = false
        },
    ]

    private static let connections: [Scenario] = [
        Scenario(
            "handshake",
            "Handshakes, inbound",
            hops: ["mtls-in"],
            .connectHTTP1,
            explanation: """
                A connection with a full TLS 1.3 handshake and certificates of both, one request, and its end: \
                16 clients, each again and again.
                """
        ).with {
            $0.connections = 16
            $0.clientTLS = .mutual
            $0.directService = .httpTLS
            $0.unit = "connection"
        },
        Scenario(
            "handshake-resumed",
            "Handshakes, inbound, resumed",
            hops: ["mtls-in-resuming"],
            .connectHTTP1,
            explanation: "The same, where the client resumes the session of an earlier connection."
        ).with {
            $0.connections = 16
            $0.clientTLS = .resumed
            $0.directService = .httpTLS
            $0.unit = "connection"
        },
        tcp("connect-tcp-mtls", "New connections, TCP over mTLS", "tcp-mtls", .connectTCP).with {
            $0.explanation = """
                A connection through both hops, a message of 64 bytes and its echo, and its end: 16 clients, each \
                again and again. mTLS between the hops is negotiated anew for each. As root connections are \
                redirected by the kernel.
                """
            $0.connections = 16
            $0.isCaptured = true
            $0.unit = "connection"
            $0.isStandard = false
        },
        tcp("connect-tcp-hbone", "New connections, TCP over HBONE", "hbone", .connectTCP).with {
            $0.explanation = """
                The same over tunnels, with and without an access log of ztunnel-lite's. Without root its clients \
                speak SOCKS5, which is part of the figure.
                """
            $0.connections = 16
            $0.isCaptured = true
            var logging = Scenario.Variant(label: "access log")
            logging.environment = ["RUST_LOG": "info"]
            logging.dialect = .ztunnel
            $0.variants.append(logging)
            $0.unit = "connection"
            $0.isStandard = false
        },
    ]
}
