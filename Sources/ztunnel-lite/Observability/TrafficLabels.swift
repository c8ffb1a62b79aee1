import MeshNet

/// The labels that tell one series of `istio_tcp_*` from another, all but `response_flags`: ztunnel's,
/// in ztunnel's order. An empty value is written as `unknown`.
struct TrafficLabels: Hashable, Sendable {
    var direction: ConnectionRecord.Direction
    var isMutualTLS: Bool
    var source = Peer()
    var destination = Peer()
    var serviceHostname = ""
    var serviceNamespace = ""
    var serviceName = ""
    /// Whether there are `*_region` and `*_zone`: only where one of the peers is known.
    var hasLocality = false
    /// The source is what the peer says of itself.
    var isClaimed = false

    struct Peer: Hashable, Sendable {
        var workload = ""
        var canonicalService = ""
        var canonicalRevision = ""
        var namespace = ""
        var principal = ""
        var app = ""
        var version = ""
        var cluster = ""
        var region = ""
        var zone = ""
    }

    /// Everything about the peers unknown: what is left of labels beyond ``TrafficMetrics/seriesMax``.
    init(unknownPeers direction: ConnectionRecord.Direction, isMutualTLS: Bool) {
        self.direction = direction
        self.isMutualTLS = isMutualTLS
    }

    /// The same without what the source says of itself; its identity is proved.
    var unclaimed: TrafficLabels {
        var labels = self
        labels.source = Peer()
        labels.source.principal = source.principal
        labels.isClaimed = false
        return labels
    }

    init(_ record: ConnectionRecord) {
        self.init(unknownPeers: record.direction, isMutualTLS: record.isMutualTLS)
        if let workload = record.sourceWorkload {
            source = Peer(workload)
            hasLocality = true
        } else if let claimed = record.claimedSource {
            source = Peer(claimed)
            hasLocality = true
            isClaimed = true
        }
        // A source is believed by its handshake alone.
        if let identity = record.sourceIdentity {
            source.principal = identity.description
            hasLocality = true
        }
        if let workload = record.destinationWorkload {
            destination = Peer(workload)
            destination.principal = workload.identity.description
            hasLocality = true
        }
        if let identity = record.destinationIdentity {
            destination.principal = identity.description
        }
        if let service = record.service {
            serviceHostname = service.hostname
            serviceNamespace = service.namespace
            serviceName = service.name
        }
    }

    /// The text before and after the value of `response_flags`.
    var text: (before: [UInt8], after: [UInt8]) {
        var before = ByteBuffer()
        before.append("reporter=\"" as StaticString)
        before.append(direction.reporter)
        before.append("\"" as StaticString)
        source.append(to: &before, "source_")
        Self.append("destination_service", serviceHostname, to: &before)
        Self.append("destination_service_namespace", serviceNamespace, to: &before)
        Self.append("destination_service_name", serviceName, to: &before)
        destination.append(to: &before, "destination_")
        before.append(",request_protocol=\"tcp\",response_flags=\"" as StaticString)
        var after = ByteBuffer()
        after.append("\",connection_security_policy=\"" as StaticString)
        after.append(isMutualTLS ? "mutual_tls" as StaticString : "unknown")
        after.append("\"" as StaticString)
        if hasLocality {
            Self.append("source_region", source.region, to: &after)
            Self.append("source_zone", source.zone, to: &after)
            Self.append("destination_region", destination.region, to: &after)
            Self.append("destination_zone", destination.zone, to: &after)
        }
        return (Array(before.bytes), Array(after.bytes))
    }

    fileprivate static func append(
        _ name: StaticString,
        _ value: String,
        to buffer: inout ByteBuffer
    ) {
        buffer.append(byte: UInt8(ascii: ","))
        buffer.append(name)
        buffer.append("=\"" as StaticString)
        appendEscaped(value.isEmpty ? "unknown" : value, to: &buffer)
        buffer.append("\"" as StaticString)
    }

    /// A label's value as the exposition format quotes it.
    static func appendEscaped(_ value: String, to buffer: inout ByteBuffer) {
        for byte in value.utf8 {
            switch byte {
            case UInt8(ascii: "\\"): buffer.append("\\\\" as StaticString)
            case UInt8(ascii: "\""): buffer.append("\\\"" as StaticString)
            case UInt8(ascii: "\n"): buffer.append("\\n" as StaticString)
            default: buffer.append(byte: byte)
            }
        }
    }
}

extension TrafficLabels.Peer {
    init(_ workload: Workload) {
        self.init(
            workload: workload.workloadName,
            canonicalService: workload.canonicalName,
            canonicalRevision: workload.canonicalRevision,
            namespace: workload.namespace,
            app: workload.canonicalName,
            version: workload.canonicalRevision,
            cluster: workload.clusterID,
            region: workload.locality.region,
            zone: workload.locality.zone
        )
    }

    init(_ claimed: ClaimedWorkload) {
        self.init(
            workload: claimed.workloadName,
            canonicalService: claimed.app,
            canonicalRevision: claimed.revision,
            namespace: claimed.namespace,
            app: claimed.workloadName,
            version: claimed.revision,
            cluster: claimed.clusterID,
            region: claimed.region,
            zone: claimed.zone
        )
    }

    fileprivate func append(to buffer: inout ByteBuffer, _ prefix: StaticString) {
        func append(_ name: StaticString, _ value: String) {
            buffer.append(byte: UInt8(ascii: ","))
            buffer.append(prefix)
            buffer.append(name)
            buffer.append("=\"" as StaticString)
            TrafficLabels.appendEscaped(value.isEmpty ? "unknown" : value, to: &buffer)
            buffer.append("\"" as StaticString)
        }
        append("workload", workload)
        append("canonical_service", canonicalService)
        append("canonical_revision", canonicalRevision)
        append("workload_namespace", namespace)
        append("principal", principal)
        append("app", app)
        append("version", version)
        append("cluster", cluster)
    }
}
