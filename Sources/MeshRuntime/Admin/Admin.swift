import MeshConfig
import MeshNet

/// The administration server's answers, without its sockets (envoy: the admin interface).
/// Belongs to the control thread.
package final class Admin: ControlResponder {
    let state: AdminState
    private let prometheus: StatsPrometheus

    package init(_ state: AdminState) {
        self.state = state
        prometheus = StatsPrometheus(state.stats.options.tags)
    }

    package func respond(to request: AdminRequest, _ reply: ControlReply) {
        reply.send(respond(to: request))
    }

    struct Endpoint {
        let path: StaticString
        /// Changes something: POST only.
        let isMutating: Bool
        let help: StaticString
        /// Name and meaning of each parameter.
        let parameters: [(StaticString, StaticString)]
        let answer: (Admin, AdminRequest) -> AdminResponse

        init(
            _ path: StaticString,
            mutating: Bool = false,
            _ help: StaticString,
            _ parameters: [(StaticString, StaticString)] = [],
            _ answer: @escaping (Admin, AdminRequest) -> AdminResponse
        ) {
            self.path = path
            isMutating = mutating
            self.help = help
            self.parameters = parameters
            self.answer = answer
        }
    }

    package func respond(to request: AdminRequest) -> AdminResponse {
        guard
            state.allowedPaths.isEmpty
                || state.allowedPaths.contains(where: {
                    $0.matches(request.path)
                })
        else {
            return AdminResponse(
                status: 403,
                "request to path \(request.path) not allowed: allow_paths"
            )
        }
        guard let endpoint = endpoints.first(where: { request.path == $0.path.description }) else {
            return AdminResponse(status: 404, "invalid path. " + helpText)
        }
        if endpoint.isMutating, request.method != "POST" {
            return AdminResponse(
                status: 405,
                "Method \(request.method) not allowed, POST required."
            )
        }
        return endpoint.answer(self, request)
    }

    // Sorted by path, as /help lists them. Not static: closures of non-Sendable arguments.
    private let endpoints: [Endpoint] = [
        Endpoint("/", "Admin home page") { admin, _ in admin.home() },
        Endpoint("/certs", "print certs on machine") { admin, _ in admin.certs() },
        Endpoint(
            "/clusters",
            "upstream cluster status",
            [
                ("filter", "Regular expression (Google re2) for filtering clusters by name"),
                ("format", "File format to use; One of (text, json)"),
            ]
        ) { $0.clusters($1) },
        Endpoint(
            "/config_dump",
            "dump the configuration in use; secrets are redacted",
            [
                ("resource", "The resource to dump, e.g. static_clusters"),
                ("mask", "Field paths to keep, comma-separated"),
                ("name_regex", "Dump only what has a matching name"),
                ("include_eds", "Accepted; endpoints are part of their clusters"),
            ]
        ) { $0.configDump($1) },
        Endpoint("/contention", "print mutex contention, which is not traced") { _, _ in
            AdminResponse("Mutex contention tracing is not enabled.\n")
        },
        Endpoint(
            "/drain_listeners",
            mutating: true,
            "drain listeners",
            [
                ("graceful", "Drain for the drain time before listeners stop"),
                ("skip_exit", "Drain connections, never stop the listeners"),
                ("inboundonly", "Drain listeners whose traffic_direction is INBOUND"),
            ]
        ) { $0.drainListeners($1) },
        Endpoint(
            "/explain",
            mutating: true,
            "explain what would be done with the request in the body, a JSON object"
        ) { admin, request in
            guard let explain = admin.state.explain else {
                return AdminResponse(status: 404, "There is no listener to explain.\n")
            }
            return explain(request)
        },
        Endpoint("/healthcheck/fail", mutating: true, "cause the server to fail health checks") {
            $0.state.failHealthChecks()
            _ = $1
            return AdminResponse("OK\n")
        },
        Endpoint("/healthcheck/ok", mutating: true, "cause the server to pass health checks") {
            $0.state.passHealthChecks()
            _ = $1
            return AdminResponse("OK\n")
        },
        Endpoint("/help", "print out list of admin commands") { admin, _ in
            AdminResponse(admin.helpText)
        },
        Endpoint("/hot_restart_version", "print the hot restart compatibility version") { _, _ in
            AdminResponse("disabled")
        },
        Endpoint("/init_dump", "dump what initialization waits for: nothing") { _, _ in
            AdminResponse.json {
                $0.beginObject()
                $0.endObject()
            }
        },
        Endpoint(
            "/listeners",
            "print listener info",
            [("format", "File format to use; One of (text, json)")]
        ) { $0.listeners($1) },
        Endpoint(
            "/logging",
            mutating: true,
            "query/change logging levels",
            [
                ("level", "Level of all loggers"),
                ("paths", "Levels of single loggers: <name>:<level>,<name>:<level>"),
            ]
        ) { $0.logging($1) },
        Endpoint("/memory", "print current allocation/heap usage") { admin, _ in admin.memory() },
        Endpoint("/quitquitquit", mutating: true, "exit the server") {
            $0.state.quit()
            _ = $1
            return AdminResponse("OK\n")
        },
        Endpoint("/ready", "print server state, return 200 if LIVE, otherwise return 503") {
            admin,
            _ in
            let state = admin.state.serverState()
            return AdminResponse(status: state == .live ? 200 : 503, state.rawValue + "\n")
        },
        Endpoint("/reopen_logs", mutating: true, "reopen access logs") {
            $0.state.reopenLogs()
            _ = $1
            return AdminResponse("OK\n")
        },
        Endpoint("/reset_counters", mutating: true, "reset all counters to zero") {
            $0.state.stats.resetCounters()
            _ = $1
            return AdminResponse("OK\n")
        },
        Endpoint("/runtime", "print runtime values") { admin, _ in admin.runtime() },
        Endpoint(
            "/runtime_modify",
            mutating: true,
            "set runtime values given as parameters; an empty value takes one back"
        ) { $0.modifyRuntime($1) },
        Endpoint("/server_info", "print server version/status information") { admin, _ in
            admin.serverInfo()
        },
        Endpoint(
            "/stats",
            "print server stats",
            [
                ("usedonly", "Only stats that were ever touched"),
                ("filter", "Regular expression (Google re2) for filtering stats"),
                ("invert_filter", "Invert the filter regex"),
                ("format", "Format to use; One of (text, json, prometheus)"),
                ("type", "One of (All, Counters, Histograms, Gauges, TextReadouts)"),
                ("histogram_buckets", "One of (cumulative, disjoint, detailed, summary)"),
            ]
        ) { $0.stats($1) },
        Endpoint(
            "/stats/prometheus",
            "print server stats in prometheus format",
            [
                ("usedonly", "Only stats that were ever touched"),
                ("filter", "Regular expression (Google re2) for filtering stats"),
                ("invert_filter", "Invert the filter regex"),
                ("histogram_buckets", "One of (cumulative, summary)"),
            ]
        ) { $0.stats($1, format: .prometheus) },
    ]

    var helpText: String {
        var text = "admin commands are:\n"
        for endpoint in endpoints {
            text += "  \(endpoint.path)\(endpoint.isMutating ? " (POST)" : ""): \(endpoint.help)\n"
            for (name, meaning) in endpoint.parameters { text += "      \(name): \(meaning)\n" }
        }
        return text
    }

    private func home() -> AdminResponse {
        var rows = ""
        for endpoint in endpoints where endpoint.path.description != "/" {
            // What changes something must not hang on a link that a browser may follow by itself.
            let name =
                endpoint.isMutating
                ? "<form action='.\(endpoint.path)' method='post'><button>"
                    + "\(endpoint.path)</button></form>"
                : "<a href='.\(endpoint.path)'>\(endpoint.path)</a>"
            rows += "<tr><td>\(name)</td><td>\(endpoint.help)</td></tr>\n"
        }
        return AdminResponse(
            contentType: AdminResponse.html,
            """
            <!DOCTYPE html>
            <html lang='en'>
            <head><title>MeshProxy admin</title></head>
            <body><table>
            \(rows)</table></body>
            </html>

            """
        )
    }

    // MARK: Stats

    private func stats(_ request: AdminRequest, format: StatsQuery.Format? = nil) -> AdminResponse {
        let query: StatsQuery
        do throws(StatsQuery.Malformed) {
            query = try StatsQuery(request, format: format)
        } catch {
            return AdminResponse(status: 400, error.text)
        }
        let view = state.stats.view()
        switch query.format {
        case .text:
            var body = ByteBuffer()
            StatsText.append(view, query, to: &body)
            return AdminResponse(body: body)
        case .prometheus:
            var body = ByteBuffer()
            prometheus.append(view, query, to: &body)
            return AdminResponse(body: body)
        case .json:
            var json = JSONWriter()
            StatsJSON.append(view, query, to: &json)
            return AdminResponse(contentType: AdminResponse.json, body: json.finish())
        }
    }

    // MARK: Commands

    private func drainListeners(_ request: AdminRequest) -> AdminResponse {
        state.drainListeners(
            AdminState.Drain(
                isGraceful: request.has("graceful"),
                skipsExit: request.has("skip_exit"),
                isInboundOnly: request.has("inboundonly")
            )
        )
        return AdminResponse("OK\n")
    }

    private func modifyRuntime(_ request: AdminRequest) -> AdminResponse {
        let usage = """
            usage: /runtime_modify?key1=value1&key2=value2&keyN=valueN
                   or send the parameters as form values
            use an empty value to remove a previously added override
            """
        var changes = request.query
        if changes.isEmpty, request.isForm {
            let form = String(decoding: request.body, as: UTF8.self)
            changes = AdminRequest(method: "POST", target: "?" + form).query
        }
        guard !changes.isEmpty else { return AdminResponse(status: 400, usage) }
        if let problem = state.modifyRuntime(changes.map { ($0.name, $0.value) }) {
            return AdminResponse(status: 503, problem)
        }
        return AdminResponse("OK\n")
    }
}
