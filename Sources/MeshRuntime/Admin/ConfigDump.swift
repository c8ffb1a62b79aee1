import MeshConfig
import MeshNet

/// `/config_dump`: the configuration in the shapes of Envoy's admin.v3.ConfigDump.
///
/// It is made from the file as it was read, so that it shows what was asked for; keys stand as they
/// were written. Whatever could be a secret is `[redacted]`.
struct ConfigDump {
    private let root: ConfigValue
    private let time: ConfigValue

    private static let admin = "type.googleapis.com/envoy.admin.v3."

    init(_ configuration: ConfigValue, loadedAt: WallTime) {
        root = Self.redacted(configuration)
        time = .string(Admin.time(loadedAt, .milliseconds))
    }

    /// One part of the dump: a message whose lists can be asked for by name.
    private struct Part {
        let type: String
        let fields: [ConfigValue.Fields.Field]
    }

    private var parts: [Part] {
        let resources = Self.member(root, "static_resources")
        return [
            Part(
                type: "BootstrapConfigDump",
                fields: [
                    .init(key: "bootstrap", value: root), .init(key: "last_updated", value: time),
                ]
            ),
            Part(
                type: "ClustersConfigDump",
                fields: list(
                    "static_clusters",
                    "cluster",
                    "envoy.config.cluster.v3.Cluster",
                    Self.elements(resources, "clusters")
                )
            ),
            Part(
                type: "ListenersConfigDump",
                fields: list(
                    "static_listeners",
                    "listener",
                    "envoy.config.listener.v3.Listener",
                    Self.elements(resources, "listeners")
                )
            ),
            Part(type: "ScopedRoutesConfigDump", fields: []),
            Part(
                type: "RoutesConfigDump",
                fields: list(
                    "static_route_configs",
                    "route_config",
                    "envoy.config.route.v3.RouteConfiguration",
                    routes(resources)
                )
            ),
            Part(
                type: "SecretsConfigDump",
                fields: list(
                    "static_secrets",
                    "secret",
                    "envoy.extensions.transport_sockets.tls.v3.Secret",
                    Self.elements(resources, "secrets"),
                    isNamed: true
                )
            ),
        ]
    }

    /// Entries as Envoy wraps them: `{"cluster": {"@type": …}, "last_updated": …}`.
    private func list(
        _ name: String,
        _ key: String,
        _ type: String,
        _ values: [ConfigValue],
        isNamed: Bool = false
    ) -> [ConfigValue.Fields.Field] {
        guard !values.isEmpty else { return [] }
        let entries = values.map { value -> ConfigValue in
            let typed = Self.typed("type.googleapis.com/" + type, value)
            var fields: [ConfigValue.Fields.Field] = []
            if isNamed, let name = value["name"] { fields.append(.init(key: "name", value: name)) }
            fields.append(.init(key: key, value: typed))
            fields.append(.init(key: "last_updated", value: time))
            return .object(.init(fields))
        }
        return [.init(key: name, value: .list(entries))]
    }

    /// The route configurations inside connection managers.
    private func routes(_ resources: ConfigValue?) -> [ConfigValue] {
        Self.elements(resources, "listeners").flatMap { listener -> [ConfigValue] in
            var chains = Self.elements(listener, "filter_chains")
            if let chain = Self.member(listener, "default_filter_chain") { chains.append(chain) }
            return chains.flatMap { chain in
                Self.elements(chain, "filters").compactMap { filter in
                    Self.member(Self.member(filter, "typed_config"), "route_config")
                }
            }
        }
    }

    // MARK: Answers

    func response(_ request: AdminRequest) -> AdminResponse {
        var regex: Regex?
        if let pattern = request["name_regex"], !pattern.isEmpty {
            do throws(RegexError) { regex = try Regex(pattern) } catch {
                return AdminResponse(
                    status: 400,
                    "Error while parsing name_regex from \(pattern)\n"
                )
            }
        }
        let mask = request["mask"].map { $0.split(separator: ",").map(Self.path) }
        guard let resource = request["resource"], !resource.isEmpty else {
            return Self.answer(
                parts.map { part in
                    var value = ConfigValue.object(
                        .init(part.fields.map { Self.filtered($0, regex) })
                    )
                    if let mask { value = Self.masked(value, mask) }
                    return Self.typed(Self.admin + part.type, value)
                }
            )
        }
        for part in parts {
            guard let field = part.fields.first(where: { $0.key == resource }) else { continue }
            guard case .list(let entries) = Self.filtered(field, regex).value else {
                // A field that is one message, not a list.
                let value = mask.map { Self.masked(field.value, $0) } ?? field.value
                return Self.answer([value])
            }
            return Self.answer(
                entries.map { entry in
                    Self.typed(
                        Self.admin + part.type + "." + Self.elementType(resource),
                        mask.map { Self.masked(entry, $0) } ?? entry
                    )
                }
            )
        }
        if Self.knownResources.contains(resource) { return Self.answer([]) }
        return AdminResponse(status: 404, "\(resource) not found in config dump")
    }

    /// Lists that may be asked for and are empty here, or always.
    private static let knownResources: Set<String> = [
        "static_clusters", "static_listeners", "static_route_configs", "static_secrets",
        "dynamic_active_clusters", "dynamic_warming_clusters", "dynamic_listeners",
        "dynamic_route_configs", "dynamic_active_secrets", "dynamic_warming_secrets",
        "inline_scoped_route_configs", "dynamic_scoped_route_configs",
    ]

    /// `static_clusters` → `StaticCluster`.
    private static func elementType(_ resource: String) -> String {
        resource.split(separator: "_").map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
            .removingLast()
    }

    private static func answer(_ configs: [ConfigValue]) -> AdminResponse {
        AdminResponse.json { json in
            json.beginObject()
            if !configs.isEmpty {
                json.key("configs")
                json.beginArray()
                for config in configs { config.write(to: &json) }
                json.endArray()
            }
            json.endObject()
        }
    }

    // MARK: Values

    /// A member by its proto name, in either of the spellings a file may use.
    private static func member(_ value: ConfigValue?, _ name: String) -> ConfigValue? {
        guard let value else { return nil }
        return value[name] ?? value[camel(name)]
    }

    private static func elements(_ value: ConfigValue?, _ name: String) -> [ConfigValue] {
        if case .list(let elements) = member(value, name) { elements } else { [] }
    }

    private static func camel(_ name: String) -> String {
        let words = name.split(separator: "_")
        return words.dropFirst().reduce(String(words.first ?? "")) {
            $0 + $1.prefix(1).uppercased() + $1.dropFirst()
        }
    }

    private static func typed(_ type: String, _ value: ConfigValue) -> ConfigValue {
        guard case .object(let fields) = value else { return value }
        return .object(.init([.init(key: "@type", value: .string(type))] + fields.fields))
    }

    /// Leaves of a list's entries whose resource has a matching name.
    private static func filtered(
        _ field: ConfigValue.Fields.Field,
        _ regex: Regex?
    ) -> ConfigValue.Fields.Field {
        guard let regex, case .list(let entries) = field.value else { return field }
        let kept = entries.filter { entry in
            guard case .object(let fields) = entry else { return false }
            return fields.contains { field in
                guard var name = field.value["name"]?.stringValue else { return false }
                return name.withUTF8 { regex.fullMatch(Bytes($0)) }
            }
        }
        return .init(key: field.key, value: .list(kept))
    }

    private static func path(_ text: Substring) -> [String] {
        text.split(separator: ".").map(String.init)
    }

    /// Keeps what the paths name (google.protobuf.FieldMask), through lists, and types.
    private static func masked(_ value: ConfigValue, _ paths: [[String]]) -> ConfigValue {
        switch value {
        case .list(let elements): return .list(elements.map { masked($0, paths) })
        case .object(let fields):
            return .object(
                .init(
                    fields.compactMap { field in
                        if field.key == "@type" { return field }
                        let inner = paths.filter {
                            $0.first == field.key || $0.first.map(camel) == field.key
                        }
                        guard !inner.isEmpty else { return nil }
                        let rests = inner.map { Array($0.dropFirst()) }
                        guard !rests.contains([]) else { return field }
                        return .init(key: field.key, value: masked(field.value, rests))
                    }
                )
            )
        default: return value
        }
    }

    // MARK: Secrets

    /// Messages and fields of which nothing is shown (udpa: sensitive).
    private static let secretKeys: Set<String> = [
        "private_key", "privateKey", "private_key_provider", "privateKeyProvider", "password",
        "session_ticket_keys", "sessionTicketKeys", "generic_secret", "genericSecret", "pkcs12",
        "secrets_map", "secretsMap",
    ]

    static func redacted(_ value: ConfigValue, isSecret: Bool = false) -> ConfigValue {
        switch value {
        case .string(let text):
            return isSecret && !text.isEmpty ? .string("[redacted]") : value
        case .number: return isSecret ? .string("[redacted]") : value
        case .null, .bool: return value
        case .list(let elements):
            return .list(elements.map { redacted($0, isSecret: isSecret) })
        case .object(let fields):
            return .object(
                .init(
                    fields.map { field in
                        .init(
                            key: field.key,
                            value: redacted(
                                field.value,
                                // A type is no secret, and says what was redacted.
                                isSecret: field.key != "@type"
                                    && (isSecret || secretKeys.contains(field.key))
                            )
                        )
                    }
                )
            )
        }
    }
}

extension String {
    fileprivate func removingLast() -> String { String(dropLast()) }
}

extension Admin {
    func configDump(_ request: AdminRequest) -> AdminResponse {
        ConfigDump(state.configuration, loadedAt: state.loadedAt).response(request)
    }
}
