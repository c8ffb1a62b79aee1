import MeshConfig
import MeshNet

extension Admin {
    // MARK: /clusters

    func clusters(_ request: AdminRequest) -> AdminResponse {
        var clusters = state.clusters()
        if let pattern = request["filter"], !pattern.isEmpty {
            do throws(RegexError) {
                let regex = try Regex(pattern)
                clusters.removeAll { cluster in
                    var name = cluster.name
                    return !name.withUTF8 { regex.partialMatch(Bytes($0)) }
                }
            } catch {
                return AdminResponse(status: 400, "Invalid re2 regex: \(error)")
            }
        }
        if request["format"] == "json" { return Self.json(clusters) }
        var body = ByteBuffer()
        for cluster in clusters { Self.append(cluster, to: &body) }
        return AdminResponse(body: body)
    }

    /// The counts of an endpoint as Envoy orders them; it has no requests waiting for itself here:
    /// they wait for the cluster.
    private static let counts: [(name: StaticString, counter: EndpointCounter?, isGauge: Bool)] = [
        ("cx_active", .connectionsActive, true), ("cx_connect_fail", .connectFailures, false),
        ("cx_total", .connectionsTotal, false), ("rq_active", .requestsActive, true),
        ("rq_error", .requestsError, false), ("rq_pending_active", nil, true),
        ("rq_success", .requestsSuccess, false), ("rq_timeout", .requestsTimeout, false),
        ("rq_total", .requestsTotal, false),
    ]

    private static func append(_ cluster: ClusterView, to body: inout ByteBuffer) {
        func line(_ key: String, _ value: String) {
            body.append("\(cluster.name)::\(key)::\(value)\n")
        }
        line("observability_name", cluster.statName)
        for (priority, limits) in cluster.limits {
            let prefix = "\(priority.name)_priority"
            line("\(prefix)::max_connections", "\(limits.connections)")
            line("\(prefix)::max_pending_requests", "\(limits.pendingRequests)")
            line("\(prefix)::max_requests", "\(limits.requests)")
            line("\(prefix)::max_retries", "\(limits.retries)")
        }
        line("added_via_api", "false")
        for endpoint in cluster.endpoints {
            let host = endpoint.address.description
            for (name, counter, _) in counts {
                line("\(host)::\(name)", "\(counter.map { endpoint[$0] } ?? 0)")
            }
            line("\(host)::hostname", endpoint.hostname)
            line("\(host)::health_flags", "\(endpoint.health.flags)")
            line("\(host)::weight", "\(endpoint.weight)")
            line("\(host)::region", endpoint.locality.region)
            line("\(host)::zone", endpoint.locality.zone)
            line("\(host)::sub_zone", endpoint.locality.subZone)
            line("\(host)::canary", "\(endpoint.isCanary)")
            line("\(host)::priority", "\(endpoint.priority)")
            line("\(host)::success_rate", "-1")
            line("\(host)::local_origin_success_rate", "-1")
        }
    }

    private static func json(_ clusters: [ClusterView]) -> AdminResponse {
        AdminResponse.json { json in
            json.beginObject()
            json.key("cluster_statuses")
            json.beginArray()
            for cluster in clusters {
                json.beginObject()
                json.member("name", cluster.name)
                if !cluster.endpoints.isEmpty {
                    json.key("host_statuses")
                    json.beginArray()
                    for endpoint in cluster.endpoints { write(endpoint, to: &json) }
                    json.endArray()
                }
                json.key("circuit_breakers")
                json.beginObject()
                json.key("thresholds")
                json.beginArray()
                for (priority, limits) in cluster.limits {
                    json.beginObject()
                    if priority == .high { json.member("priority", "HIGH") }
                    json.member("max_connections", limits.connections)
                    json.member("max_pending_requests", limits.pendingRequests)
                    json.member("max_requests", limits.requests)
                    json.member("max_retries", limits.retries)
                    json.endObject()
                }
                json.endArray()
                json.endObject()
                json.member("observability_name", cluster.statName)
                json.endObject()
            }
            json.endArray()
            json.endObject()
        }
    }

    private static func write(_ endpoint: EndpointView, to json: inout JSONWriter) {
        json.beginObject()
        json.key("address")
        write(endpoint.address, to: &json)
        json.key("stats")
        json.beginArray()
        for isGauge in [false, true] {
            for (name, counter, kind) in counts where kind == isGauge {
                json.beginObject()
                if isGauge { json.member("type", "GAUGE") }
                let value = counter.map { endpoint[$0] } ?? 0
                // ProtoJSON: 64-bit numbers are strings, defaults are left out.
                if value != 0 { json.member("value", "\(value)") }
                json.member("name", name.description)
                json.endObject()
            }
        }
        json.endArray()
        json.key("health_status")
        json.beginObject()
        json.member("eds_health_status", "\(endpoint.health)".uppercased())
        json.endObject()
        if !endpoint.hostname.isEmpty { json.member("hostname", endpoint.hostname) }
        json.member("weight", endpoint.weight)
        if endpoint.priority != 0 { json.member("priority", endpoint.priority) }
        json.key("locality")
        json.beginObject()
        let locality = endpoint.locality
        if !locality.region.isEmpty { json.member("region", locality.region) }
        if !locality.zone.isEmpty { json.member("zone", locality.zone) }
        if !locality.subZone.isEmpty { json.member("sub_zone", locality.subZone) }
        json.endObject()
        json.endObject()
    }

    /// envoy: core.v3.Address
    private static func write(_ address: SocketAddress, to json: inout JSONWriter) {
        json.beginObject()
        switch address {
        case .ip(let ip, let port):
            json.key("socket_address")
            json.beginObject()
            json.member("address", ip.description)
            json.member("port_value", Int(port))
        case .unix(let path):
            json.key("pipe")
            json.beginObject()
            json.member("path", path)
        case .internal(let listener, let endpointID):
            json.key("envoy_internal_address")
            json.beginObject()
            json.member("server_listener_name", listener)
            if !endpointID.isEmpty { json.member("endpoint_id", endpointID) }
        }
        json.endObject()
        json.endObject()
    }

    // MARK: /listeners

    func listeners(_ request: AdminRequest) -> AdminResponse {
        let listeners = state.listeners()
        guard request["format"] == "json" else {
            return AdminResponse(
                listeners.map { "\($0.name)::\($0.address)\n" }.joined()
            )
        }
        return AdminResponse.json { json in
            json.beginObject()
            json.key("listener_statuses")
            json.beginArray()
            for listener in listeners {
                json.beginObject()
                json.member("name", listener.name)
                json.key("local_address")
                Self.write(listener.address, to: &json)
                json.endObject()
            }
            json.endArray()
            json.endObject()
        }
    }

    // MARK: /certs

    func certs() -> AdminResponse {
        AdminResponse.json { json in
            json.beginObject()
            json.key("certificates")
            json.beginArray()
            for set in state.certificates() {
                json.beginObject()
                json.key("ca_cert")
                json.beginArray()
                for certificate in set.authorities { write(certificate, to: &json) }
                json.endArray()
                json.key("cert_chain")
                json.beginArray()
                for certificate in set.chain { write(certificate, to: &json) }
                json.endArray()
                json.endObject()
            }
            json.endArray()
            json.endObject()
        }
    }

    private func write(_ certificate: AdminState.Certificate, to json: inout JSONWriter) {
        let info = certificate.info
        json.beginObject()
        json.member("path", certificate.path)
        json.member("serial_number", info.serial)
        json.key("subject_alt_names")
        json.beginArray()
        for (key, names) in [
            ("dns" as StaticString, info.dnsSANs), ("uri", info.uriSANs),
            ("ip_address", info.ipSANs),
        ] {
            for name in names {
                json.beginObject()
                json.member(key, name)
                json.endObject()
            }
        }
        json.endArray()
        let left = info.notAfter.seconds - state.wallClock().seconds
        json.member("days_until_expiration", "\(max(0, left / 86_400))")
        json.member("valid_from", Self.time(info.notBefore, .seconds))
        json.member("expiration_time", Self.time(info.notAfter, .seconds))
        json.endObject()
    }

    enum TimePrecision { case seconds, milliseconds }

    /// As ProtoJSON has timestamps.
    static func time(_ time: WallTime, _ precision: TimePrecision) -> String {
        var buffer = ByteBuffer()
        switch precision {
        case .milliseconds: TimeFormat.standard.append(time, to: &buffer)
        case .seconds:
            TimeFormat(parts: [
                .year, .literal("-"), .month, .literal("-"), .day, .literal("T"), .hour,
                .literal(":"), .minute, .literal(":"), .second, .literal("Z"),
            ]).append(time, to: &buffer)
        }
        return String(bytes: buffer.bytes)
    }

    // MARK: /memory, /runtime, /server_info

    func memory() -> AdminResponse {
        let memory = state.memory()
        return AdminResponse.json { json in
            json.beginObject()
            json.member("allocated", "\(memory.allocated)")
            json.member("heap_size", "\(memory.heap)")
            json.member("pageheap_unmapped", "0")
            json.member("pageheap_free", "\(memory.heap - min(memory.heap, memory.allocated))")
            json.member("total_thread_cache", "0")
            json.member("total_physical_bytes", "\(memory.physical)")
            json.endObject()
        }
    }

    func runtime() -> AdminResponse {
        let runtime = state.runtime()
        let layers = runtime.config.layers
        var values: [String: [String]] = [:]
        for (at, layer) in layers.enumerated() {
            let entries: [(key: String, value: String)]
            switch layer {
            case .fixed(_, let fixed): entries = fixed.map { ($0.key, Self.text($0.value)) }
            case .admin: entries = runtime.overrides
            }
            for (key, value) in entries {
                values[key, default: Array(repeating: "", count: layers.count)][at] = value
            }
        }
        return AdminResponse.json { json in
            json.beginObject()
            json.key("entries")
            json.beginObject()
            for (key, layered) in values.sorted(by: { $0.key < $1.key }) {
                json.key(key)
                json.beginObject()
                json.key("layer_values")
                json.beginArray()
                for value in layered { json.string(value) }
                json.endArray()
                json.member("final_value", layered.last { !$0.isEmpty } ?? "")
                json.endObject()
            }
            json.endObject()
            json.key("layers")
            json.beginArray()
            for layer in layers { json.string(layer.name) }
            json.endArray()
            json.endObject()
        }
    }

    private static func text(_ value: ConfigValue) -> String {
        value.stringValue ?? value.description
    }

    func serverInfo() -> AdminResponse {
        let uptime = "\(state.uptime().milliseconds / 1000)s"
        return AdminResponse.json { json in
            json.beginObject()
            json.member("version", state.version)
            json.member("state", state.serverState().rawValue)
            json.member("uptime_current_epoch", uptime)
            json.member("uptime_all_epochs", uptime)
            json.member("hot_restart_version", "disabled")
            json.key("command_line_options")
            json.beginObject()
            for (name, value) in state.options {
                json.key(name)
                value.write(to: &json)
            }
            json.endObject()
            if let node = state.configuration["node"] {
                json.key("node")
                node.write(to: &json)
            }
            json.endObject()
        }
    }
}

extension ConfigValue {
    /// Members in file order.
    package func write(to json: inout JSONWriter) {
        switch self {
        case .null: json.null()
        case .bool(let value): json.bool(value)
        case .number(let value): json.number(value)
        case .string(let value): json.string(value)
        case .list(let values):
            json.beginArray()
            for value in values { value.write(to: &json) }
            json.endArray()
        case .object(let fields):
            json.beginObject()
            for field in fields {
                json.key(field.key)
                field.value.write(to: &json)
            }
            json.endObject()
        }
    }
}
