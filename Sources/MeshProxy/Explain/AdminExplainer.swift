import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// Answers `POST /explain`: follows a request that nobody has sent through the configuration. Belongs
/// to the control thread, compiles what it needs for each question, and shares nothing with workers
/// but the health of endpoints.
package final class AdminExplainer {
    private let bootstrap: Bootstrap
    private let clusters: (String) -> ClusterPlan?
    private let formats: FormatEnvironment
    private let runtime: () -> RuntimeConfig

    /// - Parameters:
    ///   - runtime: the values in force.
    ///   - clusters: the process's clusters by name.
    package init(
        _ bootstrap: Bootstrap,
        formats: FormatEnvironment,
        runtime: @escaping () -> RuntimeConfig,
        clusters: @escaping (String) -> ClusterPlan?
    ) {
        self.bootstrap = bootstrap
        self.formats = formats
        self.runtime = runtime
        self.clusters = clusters
    }

    package func respond(to request: AdminRequest) -> AdminResponse {
        let diagnostics = ConfigDiagnostics()
        let text = String(decoding: request.body, as: UTF8.self)
        guard let object = ConfigDocument.parse(json: text, diagnostics: diagnostics) else {
            return Self.refusal(diagnostics)
        }
        let question = ExplainRequest(object)
        let listener = find(question.listener, object)
        object.finish()
        guard let listener, diagnostics.errors.isEmpty else { return Self.refusal(diagnostics) }
        let explanation = explain(question, listener)
        return AdminResponse.json { explanation.write(to: &$0) }
    }

    private static func refusal(_ diagnostics: ConfigDiagnostics) -> AdminResponse {
        var response = AdminResponse.json { json in
            json.beginObject()
            json.key("errors")
            json.beginArray()
            for error in diagnostics.errors { json.string("\(error)") }
            json.endArray()
            json.endObject()
        }
        response.status = 400
        return response
    }

    private func find(_ name: String, _ object: ConfigObject) -> ListenerConfig? {
        if name.isEmpty {
            if bootstrap.listeners.count == 1 { return bootstrap.listeners[0] }
            let names = bootstrap.listeners.map(\.displayName).joined(separator: ", ")
            object.error("listener is required: one of \(names)")
            return nil
        }
        let found = bootstrap.listeners.first { listener in
            listener.name == name || listener.addresses.contains { $0.address.description == name }
        }
        if found == nil {
            let names = bootstrap.listeners.map(\.displayName).joined(separator: ", ")
            object.error("there is no listener \"\(name)\"; there are \(names)", at: "listener")
        }
        return found
    }

    // MARK: The connection

    package func explain(_ question: ExplainRequest, _ listener: ListenerConfig) -> Explanation {
        let connection = connection(question, listener)
        var explanation = Explanation(
            outcome: Explanation.Outcome(
                action: "close",
                status: nil,
                details: "filter_chain_not_found",
                summary: "closed: no filter chain matches the connection"
            )
        )
        explanation.request = Explanation.Request(connection)
        explanation.chain.listener = listener.displayName
        guard let chain = chain(question, listener, connection, &explanation.chain) else {
            return explanation
        }
        connection.filterChainName = chain.name
        if let reason = Self.handshakeFailure(question, chain) {
            explanation.outcome = Explanation.Outcome(
                action: "close",
                status: nil,
                details: nil,
                summary: "closed: \(reason)"
            )
            return explanation
        }
        if question.isTLS {
            connection.tls = TLSConnectionInfo(
                alpn: question.alpn.first ?? "",
                serverName: question.serverName,
                peer: question.certificate,
                isPeerVerified: question.from != nil
            )
        }
        explanation.request = Explanation.Request(connection)
        return explain(chain, question, connection, explanation)
    }

    private func connection(_ question: ExplainRequest, _ listener: ListenerConfig)
        -> ConnectionInfo
    {
        let bound = listener.addresses.first?.address
        let address = question.destination ?? bound?.ip ?? IPAddress(ipv4: 0)
        let port = question.destinationPort ?? bound?.port ?? 0
        let connection = ConnectionInfo(
            remoteAddress: .ip(question.sourceAddress, port: 0),
            localAddress: .ip(address, port: port),
            start: Instant(nanoseconds: 0),
            startWall: WallTime(nanoseconds: 0)
        )
        connection.listenerName = listener.displayName
        connection.requestedServerName = question.serverName
        connection.filterState = question.filterState.mapValues { text in
            FilterStateObject(text, address: SocketAddress(ipAndPort: text))
        }
        if listener.takesPassedAddresses { connection.restoreAddresses() }
        return connection
    }

    private func chain(
        _ question: ExplainRequest,
        _ listener: ListenerConfig,
        _ connection: ConnectionInfo,
        _ explained: inout Explanation.Chain
    ) -> FilterChainConfig? {
        var facts = ConnectionFacts(
            localAddress: connection.localAddress,
            remoteAddress: connection.remoteAddress
        )
        facts.filterState = connection.filterState
        let inspectors = listener.listenerFilters.filter {
            !($0.disabled?.holds(port: connection.localAddress.port) ?? false)
        }
        let isInspected = inspectors.contains {
            if case .tlsInspector = $0.kind { true } else { false }
        }
        // Without an inspector nobody looks at the ClientHello before the chain is chosen.
        if isInspected, question.isTLS {
            facts.transportProtocol = "tls"
            facts.serverName = question.serverName
            facts.applicationProtocols = question.alpn
        }
        if inspectors.contains(where: { $0.kind == .httpInspector }), !question.isTLS {
            facts.applicationProtocols = ["http/1.1"]
        }
        let matcher = FilterChainMatcher(listener)
        var passedOver: [(name: String, because: String)] = []
        let found = matcher.match(facts) { chain, criterion in
            let name = listener.filterChains[chain].displayName
            passedOver.append((name, "\(criterion) does not match"))
        }
        explained.passedOver = passedOver
        if let found {
            explained.name = listener.filterChains[found].displayName
            return listener.filterChains[found]
        }
        explained.name = listener.defaultFilterChain?.displayName
        return listener.defaultFilterChain
    }

    /// Why the transport would not be established.
    private static func handshakeFailure(
        _ question: ExplainRequest,
        _ chain: FilterChainConfig
    ) -> String? {
        guard case .tls(let tls) = chain.transportSocket else {
            return question.isTLS ? "the filter chain takes plaintext, the client speaks TLS" : nil
        }
        if !question.isTLS { return "the filter chain takes TLS only, the client speaks plaintext" }
        if tls.requireClientCertificate, question.from == nil {
            return "the filter chain requires a client certificate"
        }
        return nil
    }

    // MARK: Filters

    private func explain(
        _ chain: FilterChainConfig,
        _ question: ExplainRequest,
        _ connection: ConnectionInfo,
        _ connectionExplanation: Explanation
    ) -> Explanation {
        var explanation = connectionExplanation
        let stream = StreamInfo(
            connection: connection,
            start: connection.start,
            startWall: connection.startWall
        )
        // Counts of questions must not mix with those of traffic.
        let scratch = WorkerStats(StatsRegistry(workers: 1), index: 0)
        for filter in chain.filters {
            switch filter {
            case .setFilterState(let config):
                let context = FormatContext(
                    stream,
                    now: connection.start,
                    wallNow: connection.startWall
                )
                FilterStateValues(config, formats).setInConnection(context)
            case .rbac(let config):
                let explained = NetworkRBAC(config, stats: scratch).explain(stream)
                explanation.networkFilters.append(explained)
                if let details = explained.details {
                    explanation.outcome = Explanation.Outcome(
                        action: "close",
                        status: nil,
                        details: details,
                        summary:
                            "closed by \(explained.name): \(explained.enforced?.summary ?? "denied")"
                    )
                    return explanation
                }
            case .tcpProxy(let proxy):
                let chosen = proxy.cluster(question.random, of: proxy.weightTotal)
                let name = chosen?.name ?? ""
                explanation.follow(
                    name,
                    clusters(name),
                    criteria: chosen.flatMap { .merging(proxy.metadataMatch, $0.metadataMatch) },
                    statusIfUnknown: nil
                )
                return explanation
            case .httpConnectionManager(let manager):
                return explain(manager, question, stream, explanation, scratch)
            }
        }
        explanation.outcome = Explanation.Outcome(
            action: "close",
            status: nil,
            details: nil,
            summary: "closed: the filter chain has no filter that serves connections"
        )
        return explanation
    }

    private func explain(
        _ manager: HTTPConnectionManagerConfig,
        _ question: ExplainRequest,
        _ stream: StreamInfo,
        _ connectionExplanation: Explanation,
        _ scratch: WorkerStats
    ) -> Explanation {
        var explanation = connectionExplanation
        let head = question.makeHead()
        if let refusal = prepare(head, manager, stream) {
            explanation.request = Explanation.Request(head, stream)
            explanation.outcome = refusal
            return explanation
        }
        let filters = HTTPFilterChain.make(manager, stats: scratch, formats: formats)
        let runtime = runtime()
        let routes = RouteTable(
            manager.routes,
            RouteEnvironment(
                cluster: { _ in nil },
                formats: formats,
                share: { runtime.share($0) },
                filters: filters.map(\.name),
                settings: { filters[$0].setting($1) }
            )
        )
        var result = RequestExplainer(routes: routes, filters: filters, clusters: clusters)
            .explain(head, stream, random: question.random)
        result.chain = explanation.chain
        result.networkFilters = explanation.networkFilters
        return result
    }

    /// As ``RequestPreparation`` does before filters see a request; the reply where it refuses.
    private func prepare(
        _ head: HeaderMap,
        _ manager: HTTPConnectionManagerConfig,
        _ stream: StreamInfo
    ) -> Explanation.Outcome? {
        func refusal(_ status: Int, _ details: String, _ reason: String) -> Explanation.Outcome {
            Explanation.Outcome(
                action: "reply",
                status: status,
                details: details,
                summary: "\(status) before any filter: \(reason)"
            )
        }
        guard head.contains(.authority) else {
            return refusal(400, "missing_host_header", "the request names no authority")
        }
        switch PathNormalization(manager).apply(head) {
        case .proceed: break
        case .reject: return refusal(400, "path_normalization_failed", "the path is not acceptable")
        case .redirect:
            return refusal(307, "path_normalization_failed", "the path has escaped slashes")
        }
        HostHeader.normalize(head, manager, listenerPort: stream.connection.localAddress.port)
        let origin = RequestSanitizer(manager, node: bootstrap.node)
            .sanitize(head, from: stream.connection, random: (0, 0))
        if let status = origin.rejectStatus {
            return refusal(
                status,
                "rejecting_because_detection_failed",
                "the client's address is not told"
            )
        }
        stream.remoteAddress = origin.remoteAddress
        return nil
    }
}

extension NetworkRBAC {
    /// Decides as ``admits(_:)`` does, counts nothing, and says why.
    func explain(_ stream: StreamInfo) -> Explanation.Filter {
        let decision = enforced?.engine.decide(nil, stream)
        let details = enforced.flatMap { rules in
            decision.flatMap { $0.isAllowed ? nil : rules.engine.deniedDetails($0) }
        }
        return Explanation.Filter(
            name: Self.metadataNamespace,
            source: .chain,
            enforced: enforced?.engine.explain(nil, stream),
            shadow: shadow?.engine.explain(nil, stream),
            details: details
        )
    }
}
