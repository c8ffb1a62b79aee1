import MeshConfig
import MeshNet
import MeshRuntime

extension ZtunnelAgent {
    /// What the ports for people show of this agent, and what they may do to it.
    ///
    /// - Parameters:
    ///   - identityProblems: why wanted identities have no good certificate.
    ///   - droppedLogLines: of the workers.
    func adminFacts(
        logSettings: LogSettings,
        identityProblems: @escaping () -> [String],
        droppedLogLines: @escaping () -> UInt64
    ) -> AdminFacts {
        var facts = AdminFacts(
            version: ZtunnelRunner.version,
            logSettings: logSettings,
            metrics: metrics
        )
        facts.options = options.forAdmin
        facts.config = { [unowned self] in mesh.config }
        facts.state = { [unowned self] in mesh.state }
        facts.refusal = { [unowned self] in mesh.refusal }
        facts.identities = { [unowned self] in identitySnapshot }
        facts.identityProblems = identityProblems
        let readiness = readiness
        facts.pending = { readiness.pending }
        let loop = loop
        facts.now = { loop.now }
        facts.droppedLogLines = droppedLogLines
        facts.workers = workers.count
        facts.hbonePort = options.hbonePort
        facts.ownPorts = options.ownPorts
        let workers = workers
        facts.connections = { answer in
            let control = loop.mailbox
            let answer = ControlThreadOnly(answer)
            workers.postAll { worker in
                let connections = WorkerConnections(worker.records)
                control.post { _ in answer.value(connections) }
            }
        }
        let own = options.mode == .dedicated ? options.workload : nil
        facts.ownWorkload = { [unowned self] in
            own.flatMap {
                mesh.state.workload(
                    named: $0.name,
                    namespace: $0.namespace,
                    serviceAccount: $0.serviceAccount
                )
            }
        }
        facts.quit = { [unowned self] in drain() }
        return facts
    }
}

/// Travels through other threads without being touched there: letters carry it to a worker and back.
private struct ControlThreadOnly<Value>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}

extension ZtunnelOptions {
    /// Everything that can be set, under the names of ztunnel's own dump as far as it has them.
    var forAdmin: [(name: String, value: ConfigValue)] {
        func seconds(_ time: Nanoseconds) -> ConfigValue {
            .string("\(Double(time.milliseconds) / 1000)s")
        }
        func number(_ value: some BinaryInteger) -> ConfigValue { .number(Double(value)) }
        func text(_ value: (some CustomStringConvertible)?) -> ConfigValue {
            value.map { .string($0.description) } ?? .null
        }
        let source: ConfigValue =
            switch self.source {
            case .file(let path): .string(path)
            case .text: .string("LOCAL_XDS")
            case nil: .null
            }
        let identity: String =
            switch identitySource {
            case .developmentAuthority(_, nil): "development authority"
            case .developmentAuthority(_, let directory?): "development authority in \(directory)"
            case .directory(let path): "directory \(path)"
            case .files(let chain, _, _): "file \(chain)"
            }
        return [
            ("proxyMode", .string(mode.rawValue)),
            (
                "proxyWorkloadInformation",
                text(workload.map { "\($0.namespace)/\($0.name)/\($0.serviceAccount)" })
            ),
            ("localXdsPath", source),
            ("outboundAddr", text(outboundAddress)),
            ("inboundPlaintextAddr", text(inboundPlaintextAddress)),
            ("inboundAddr", text(inboundAddress)),
            ("socks5Addr", isSOCKS5Enabled ? text(socks5Address) : .null),
            ("adminAddr", text(adminAddress)),
            ("statsAddr", text(statsAddress)),
            ("readinessAddr", text(readinessAddress)),
            ("ipv6Enabled", .bool(isIPv6Enabled)),
            ("inboundHbonePort", number(hbonePort)),
            ("network", .string(network)),
            ("clusterId", .string(clusterID)),
            ("localNode", .string(nodeName)),
            ("windowSize", number(streamWindowBytes)),
            ("connectionWindowSize", number(connectionWindowBytes)),
            ("frameSize", number(frameBytes)),
            ("poolMaxStreamsPerConn", number(poolStreamsMax)),
            ("poolUnusedReleaseTimeout", seconds(poolUnusedRelease)),
            ("numWorkerThreads", workers.map { number($0) } ?? .null),
            ("selfTerminationDeadline", seconds(terminationDeadline)),
            ("packetMark", packetMark.map { number($0) } ?? .null),
            ("requireOriginalSource", usesOriginalSource.map { .bool($0) } ?? .null),
            ("localhostAppTunnel", .bool(allowsLocalhostTunnel)),
            ("keepaliveEnabled", .bool(keepAlive != nil)),
            ("keepaliveTime", keepAlive?.idleSeconds.map { number($0) } ?? .null),
            ("keepaliveInterval", keepAlive?.intervalSeconds.map { number($0) } ?? .null),
            ("keepaliveRetries", keepAlive?.probes.map { number($0) } ?? .null),
            ("userTimeoutEnabled", .bool(isUserTimeoutEnabled)),
            ("fakeCa", .bool(usesDevelopmentAuthority)),
            ("certificates", .string(identity)),
            ("secretTtl", seconds(certificateLifetime)),
            ("tls12Enabled", .bool(allowsTLS12)),
            ("crlPath", text(revocationListPath)),
            ("logFormat", .string(logFormat.rawValue)),
        ]
    }
}
