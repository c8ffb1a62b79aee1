import MeshConfig
import MeshNet
import MeshRuntime

// The file's values under the file's keys; what has no value is left out.

extension ZtunnelConfig.Workload {
    func write(to json: inout JSONWriter) {
        json.beginObject()
        json.strings("workloadIps", addresses.map(\.description))
        waypoint?.write(to: &json, "waypoint")
        networkGateway?.write(to: &json, "networkGateway")
        json.member("protocol", tunnel.rawValue)
        json.member("networkMode", networkMode.rawValue)
        json.known("uid", uid)
        json.member("name", name)
        json.member("namespace", namespace)
        json.known("trustDomain", trustDomain)
        json.known("serviceAccount", serviceAccount)
        json.known("network", network)
        json.known("workloadName", workloadName)
        json.known("workloadType", workloadType)
        json.known("canonicalName", canonicalName)
        json.known("canonicalRevision", canonicalRevision)
        json.known("hostname", hostname)
        json.known("node", node)
        if nativeTunnel { json.member("nativeTunnel", true) }
        if let applicationTunnel {
            json.key("applicationTunnel")
            json.beginObject()
            json.member("protocol", applicationTunnel.tunnel.rawValue)
            if let port = applicationTunnel.port { json.member("port", Int(port)) }
            json.endObject()
        }
        if !authorizationPolicies.isEmpty {
            json.strings("authorizationPolicies", authorizationPolicies)
        }
        json.member("status", status.rawValue)
        json.known("clusterId", clusterID)
        if !(locality.region + locality.zone + locality.subzone).isEmpty {
            json.key("locality")
            json.beginObject()
            json.known("region", locality.region)
            json.known("zone", locality.zone)
            json.known("subzone", locality.subzone)
            json.endObject()
        }
        json.strings("services", services.map(\.service.description))
        json.member("capacity", Int(capacity))
        json.endObject()
    }
}

extension ZtunnelConfig.Service {
    func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("name", name)
        json.member("namespace", namespace)
        json.member("hostname", hostname)
        json.strings("vips", vips.map(\.description))
        if !ranges.isEmpty { json.strings("cidrVips", ranges.map(\.description)) }
        ports.write(to: &json, "ports")
        json.key("endpoints")
        json.beginObject()
        for endpoint in endpoints {
            json.key(endpoint.workloadUID)
            json.beginObject()
            json.member("workloadUid", endpoint.workloadUID)
            endpoint.ports.write(to: &json, "port")
            json.member("status", endpoint.status.rawValue)
            json.endObject()
        }
        json.endObject()
        if !subjectAltNames.isEmpty { json.strings("subjectAltNames", subjectAltNames) }
        waypoint?.write(to: &json, "waypoint")
        if !weightedWaypoints.isEmpty {
            json.list("weightedWaypoints", weightedWaypoints) { json, waypoint in
                json.beginObject()
                json.member("destination", waypoint.gateway.destination.description)
                json.member("hboneMtlsPort", Int(waypoint.gateway.port))
                json.member("weight", Int(waypoint.weight))
                json.endObject()
            }
        }
        if let loadBalancer {
            json.key("loadBalancer")
            json.beginObject()
            json.strings(
                "routingPreferences",
                loadBalancer.routingPreferences.map(\.rawValue)
            )
            json.member("mode", loadBalancer.mode.rawValue)
            json.member("healthPolicy", loadBalancer.healthPolicy.rawValue)
            json.endObject()
        }
        if let ipFamilies { json.member("ipFamilies", ipFamilies.rawValue) }
        if isCanonical { json.member("canonical", true) }
        json.endObject()
    }
}

extension ZtunnelConfig.Policy {
    func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("name", name)
        json.member("namespace", namespace)
        json.member("scope", scope.rawValue)
        json.member("action", action.rawValue)
        json.member("dryRun", isDryRun)
        json.list("rules", rules) { json, rule in
            json.beginArray()
            for clause in rule {
                json.beginArray()
                for match in clause { match.write(to: &json) }
                json.endArray()
            }
            json.endArray()
        }
        json.endObject()
    }
}

extension ZtunnelConfig.Policy.Match {
    fileprivate func write(to json: inout JSONWriter) {
        json.beginObject()
        json.values("namespaces", namespaces.positive) { $1.write(to: &$0) }
        json.values("notNamespaces", namespaces.negative) { $1.write(to: &$0) }
        json.values("serviceAccounts", serviceAccounts.positive) { $1.write(to: &$0) }
        json.values("notServiceAccounts", serviceAccounts.negative) { $1.write(to: &$0) }
        json.values("principals", principals.positive) { $1.write(to: &$0) }
        json.values("notPrincipals", principals.negative) { $1.write(to: &$0) }
        json.values("sourceIps", sourceIPs.positive) { $0.string($1.description) }
        json.values("notSourceIps", sourceIPs.negative) { $0.string($1.description) }
        json.values("destinationIps", destinationIPs.positive) { $0.string($1.description) }
        json.values("notDestinationIps", destinationIPs.negative) { $0.string($1.description) }
        json.values("destinationPorts", destinationPorts.positive) { $0.number(Int($1)) }
        json.values("notDestinationPorts", destinationPorts.negative) { $0.number(Int($1)) }
        json.endObject()
    }
}

extension ZtunnelConfig.Policy.ServiceAccount {
    fileprivate func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("namespace", namespace)
        json.member("serviceAccount", serviceAccount)
        json.endObject()
    }
}

extension ZtunnelConfig.StringMatch {
    fileprivate func write(to json: inout JSONWriter) {
        json.beginObject()
        switch self {
        case .exact(let text): json.member("Exact", text)
        case .prefix(let text): json.member("Prefix", text)
        case .suffix(let text): json.member("Suffix", text)
        case .presence:
            json.key("Presence")
            json.null()
        }
        json.endObject()
    }
}

extension ZtunnelConfig.Gateway {
    fileprivate func write(to json: inout JSONWriter, _ key: StaticString) {
        json.key(key)
        json.beginObject()
        switch destination {
        case .address(let address): json.member("destination", address.description)
        case .hostname(let name):
            json.key("destination")
            json.beginObject()
            json.member("namespace", name.namespace)
            json.member("hostname", name.hostname)
            json.endObject()
        }
        json.member("hboneMtlsPort", Int(port))
        json.endObject()
    }
}

extension ZtunnelConfig.PortMap {
    fileprivate func write(to json: inout JSONWriter, _ key: StaticString) {
        json.key(key)
        json.beginObject()
        for entry in entries {
            json.key("\(entry.service)")
            json.number(Int(entry.target))
        }
        json.endObject()
    }
}

extension JSONWriter {
    /// A member where there is something to say.
    fileprivate mutating func known(_ name: StaticString, _ value: String) {
        if !value.isEmpty { member(name, value) }
    }

    mutating func strings(_ name: StaticString, _ values: [String]) {
        list(name, values) { $0.string($1) }
    }

    mutating func list<Value>(
        _ name: StaticString,
        _ values: [Value],
        _ write: (inout JSONWriter, Value) -> Void
    ) {
        key(name)
        beginArray()
        for value in values { write(&self, value) }
        endArray()
    }

    /// A list that is left out where it is empty.
    fileprivate mutating func values<Value>(
        _ name: StaticString,
        _ values: [Value],
        _ write: (inout JSONWriter, Value) -> Void
    ) {
        if !values.isEmpty { list(name, values, write) }
    }
}
