import Foundation
import Testing

@testable import MeshConfig

/// What decoders do with the fields of Envoy's messages, found by watching them decode messages that
/// are made from Envoy's own field lists.
private struct ObservedFields {
    let schema = EnvoySchema()
    /// By message and field, the uses in different places, the least restrictive first. In one place
    /// the most restrictive counts: a field may be read to be refused.
    private(set) var uses: [String: [String: [ConfigDiagnostics.FieldUse]]] = [:]

    private static let roots:
        [(message: String, count: UInt64, decode: @Sendable (ConfigObject) -> Void)] = [
            ("envoy.config.bootstrap.v3.Bootstrap", 40, { _ = Bootstrap($0) }),
            ("envoy.config.cluster.v3.Cluster", 120, { _ = ClusterConfig($0) }),
            ("envoy.config.listener.v3.Listener", 30, { _ = ListenerConfig($0) }),
            (
                "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                120, { _ = HTTPConnectionManagerConfig($0) }
            ),
            ("envoy.config.accesslog.v3.AccessLog", 100, { _ = AccessLogConfig($0) }),
            ("envoy.extensions.filters.http.rbac.v3.RBAC", 100, { _ = RBACFilterConfig($0) }),
            (
                "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig", 20,
                { _ = GRPCStatsFilterConfig($0) }
            ),
            (
                "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", 30,
                { _ = TCPProxyConfig($0) }
            ),
            ("envoy.config.core.v3.TransportSocket", 40, { _ = DownstreamTransportConfig($0) }),
            ("envoy.config.core.v3.TransportSocket", 40, { _ = UpstreamTransportConfig($0) }),
            ("envoy.extensions.transport_sockets.tls.v3.Secret", 30, { _ = SecretConfig($0) }),
        ]

    init() {
        for root in Self.roots {
            for seed in 1...root.count {
                var generator = MessageGenerator(schema, seed: seed)
                let json = generator.message(root.message, at: .root, holder: "")
                let diagnostics = ConfigDiagnostics()
                diagnostics.fieldRecords = []
                guard let object = ConfigDocument.parse(json: json, diagnostics: diagnostics) else {
                    Issue.record("generated broken JSON: \(diagnostics.errors)")
                    continue
                }
                root.decode(object)
                note(diagnostics.fieldRecords ?? [], generator.messages)
            }
        }
    }

    private mutating func note(
        _ records: [ConfigDiagnostics.FieldRecord],
        _ messages: [ConfigPath: String]
    ) {
        var here: [ConfigPath: [String: ConfigDiagnostics.FieldUse]] = [:]
        for record in records where record.field != "@type" && record.field != "type_url" {
            if let known = here[record.path]?[record.field],
                Self.rank(known) >= Self.rank(record.use)
            {
                continue
            }
            here[record.path, default: [:]][record.field] = record.use
        }
        for (path, fields) in here {
            guard let message = messages[path] else { continue }
            for (field, use) in fields {
                var all = uses[message]?[field] ?? []
                if all.contains(use) { continue }
                all.append(use)
                all.sort { Self.rank($0) < Self.rank($1) }
                uses[message, default: [:]][field] = all
            }
        }
    }

    private static func rank(_ use: ConfigDiagnostics.FieldUse) -> Int {
        switch use {
        case .read: 1
        case .inert: 2
        case .refused: 3
        }
    }

    static let shared = ObservedFields()
}

@Suite struct ConfigReferenceTests {
    @Test func `every field of every decoded message is dealt with and no other is known`() {
        let observed = ObservedFields.shared
        #expect(observed.uses.count > 90)
        for (message, uses) in observed.uses.sorted(by: { $0.key < $1.key }) {
            let fields = Set(observed.schema.messages[message]?.map(\.name) ?? [])
            let asked = Set(uses.keys)
            #expect(asked.subtracting(fields).sorted() == [], "\(message) has no such fields")
            #expect(fields.subtracting(asked).sorted() == [], "\(message): nobody asks for these")
        }
    }

    /// docs/config.md holds what ``ObservedFields`` finds. After a change run the tests once with
    /// MESHPROXY_UPDATE_DOCS=1: the file is then written anew below its marker.
    @Test func `the reference in the documentation is what the code does`() throws {
        let file = URL(filePath: #filePath).resolvingSymlinksInPath()
            .deletingLastPathComponent().appending(path: "../../docs/config.md").standardized
        let text = try String(contentsOf: file, encoding: .utf8)
        let marker = "<!-- The rest of this file is checked against the code. -->\n"
        let head = try #require(text.range(of: marker))
        let expected = Self.reference()
        if ProcessInfo.processInfo.environment["MESHPROXY_UPDATE_DOCS"] != nil {
            try (String(text[..<head.upperBound]) + expected)
                .write(to: file, atomically: true, encoding: .utf8)
            return
        }
        let found = text[head.upperBound...].split(
            separator: "\n",
            omittingEmptySubsequences: false
        )
        let wanted = expected.split(separator: "\n", omittingEmptySubsequences: false)
        let difference = wanted.difference(from: found)
        let shown = difference.prefix(6).map { change in
            switch change {
            case .insert(_, let line, _): "missing: \(line)"
            case .remove(_, let line, _): "wrong: \(line)"
            }
        }
        #expect(shown == [], "run the tests once with MESHPROXY_UPDATE_DOCS=1")
    }

    private static func reference() -> String {
        let observed = ObservedFields.shared
        var text = ""
        for (message, uses) in observed.uses.sorted(by: { $0.key < $1.key }) {
            text += "\n### \(message)\n\n| field | here |\n|---|---|\n"
            for field in observed.schema.messages[message] ?? [] {
                let status = (uses[field.name] ?? []).map { use in
                    switch use {
                    case .read: "yes"
                    case .inert: "no effect"
                    case .refused(let reason): "refused: \(reason)"
                    }
                }.joined(separator: "; elsewhere ")
                text += "| `\(field.name)` | \(status) |\n"
            }
        }
        return text
    }
}
