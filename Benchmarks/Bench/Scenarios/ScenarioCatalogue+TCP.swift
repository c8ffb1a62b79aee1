import MeshLoad

extension ScenarioCatalogue {
    /// Two hops with TCP in and out.
    static func tcp(
        _ id: String,
        _ title: String,
        _ kind: String,
        _ traffic: LoadPlan.Traffic
    ) -> Scenario {
        Scenario(id, title, hops: ["\(kind)-out", "\(kind)-in"], traffic, explanation: "").with {
            $0.service = .tcp
            $0.unit = "message"
        }
    }

    static let tunnels: [Scenario] = kinds.flatMap { kind -> [Scenario] in
        let (id, role, name) = kind
        return [
            tcp("tcp-\(id)", "TCP over \(name), messages", role, .tcpEcho).with {
                $0.explanation = """
                    Two hops with TCP in and out: 32 connections, on each of which 64 bytes go there and back.
                    """ + between(id)
                $0.rate = 2000
            },
            tcp("tcp-\(id)-download", "TCP over \(name), download", role, .tcpDownload).with {
                $0.explanation = "Two connections as fast as it goes, to the client." + between(id)
                $0.connections = 2
                $0.unit = "KiB"
            },
            tcp("tcp-\(id)-upload", "TCP over \(name), upload", role, .tcpUpload).with {
                $0.explanation = "Two connections as fast as it goes, to the service." + between(id)
                $0.connections = 2
                $0.unit = "KiB"
            },
            messages(kind, connections: 1, bytes: 64, suffix: "1"),
            messages(kind, connections: 128, bytes: 64, suffix: "128"),
            messages(kind, connections: 32, bytes: 1024, suffix: "1k").with { $0.rate = 1000 },
        ]
    }

    private static let kinds = [("mtls", "tcp-mtls", "mTLS"), ("hbone", "hbone", "HBONE")]

    private static func between(_ id: String) -> String {
        id == "mtls"
            ? " Between the hops each has a TLS connection of its own."
            : " Between the hops all share HTTP/2 connections with mTLS, as CONNECT tunnels."
    }

    private static func messages(
        _ kind: (String, String, String),
        connections: Int,
        bytes: Int,
        suffix: String
    ) -> Scenario {
        let (id, role, name) = kind
        let title = "TCP over \(name), \(connections) × \(bytes) bytes"
        return tcp("tcp-\(id)-\(suffix)", title, role, .tcpEcho).with {
            $0.explanation = "\(bytes) bytes go there and back on each connection." + between(id)
            $0.connections = connections
            $0.messageBytes = bytes
            $0.isStandard = false
        }
    }
}
