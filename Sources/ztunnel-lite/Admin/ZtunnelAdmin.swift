import MeshConfig
import MeshNet
import MeshRuntime

/// The administration port's answers: ztunnel's paths, and `/explain` and `/connections` of our own.
package final class ZtunnelAdmin: ControlResponder {
    private let facts: AdminFacts
    private let loop: EventLoop
    private var random: FastRandom

    package init(_ facts: AdminFacts, loop: EventLoop) {
        self.facts = facts
        self.loop = loop
        random = FastRandom(seed: loop.now.nanoseconds)
    }

    package func respond(to request: AdminRequest, _ reply: ControlReply) {
        switch request.path {
        case "/": reply.send(index())
        case "/config_dump": reply.send(MeshDump(facts).response())
        case "/connections": connections(reply)
        case "/explain": reply.send(explain(request))
        case "/logging": reply.send(logging(request))
        case "/quitquitquit": quit(request, reply)
        default: reply.send(AdminResponse(status: 404, ""))
        }
    }

    // MARK: Index

    private static let paths: [(path: String, help: String)] = [
        ("config_dump", "what is in force: options, workloads, services, policies, certificates"),
        ("connections", "what is open, at most \(WorkerConnections.shownMax) of each worker"),
        (
            "explain?src=IP&dst=IP:PORT",
            "which way a connection would take and whether policy lets it; also src_identity and "
                + "format=json"
        ),
        ("logging", "POST: show or change log levels"),
        ("quitquitquit", "POST: stop the agent"),
    ]

    private func index() -> AdminResponse {
        var html = """
            <!DOCTYPE html>
            <html><head><title>ztunnel-lite</title></head><body>
            <h1>ztunnel-lite \(facts.version)</h1>
            <table>

            """
        for (path, help) in Self.paths {
            html += "<tr><td><a href=\"\(path)\">\(path)</a></td><td>\(help)</td></tr>\n"
        }
        return AdminResponse(contentType: AdminResponse.html, html + "</table>\n</body></html>\n")
    }

    // MARK: Logging

    private static let loggingUsage = """
        usage: POST /logging                            (show the levels)
        usage: POST /logging?level=<level>              (change the level of all scopes)
        usage: POST /logging?level=<scope>=<level>,...  (change the level of some)
        usage: POST /logging?reset[&level=...]          (begin with RUST_LOG again)

        levels: error|warn|info|debug|trace|off
        scopes: \(LogFilter.scopes.joined(separator: "|"))

        """

    private func logging(_ request: AdminRequest) -> AdminResponse {
        guard request.method == "POST" else {
            return AdminResponse(status: 405, "Invalid HTTP method\n\n" + Self.loggingUsage)
        }
        let level = request["level"] ?? ""
        if request.has("reset") || !level.isEmpty {
            let filter: LogFilter
            do throws(LogFilter.Problem) {
                filter = try LogFilter(level)
            } catch {
                return refusal(of: level, "\(error)")
            }
            if let unknown = filter.unknownScopes.first {
                return refusal(of: level, "\(unknown): unknown scope")
            }
            facts.logSettings.change(filter, resets: request.has("reset"))
        }
        return AdminResponse("current log level is \(facts.logSettings.filterText)\n")
    }

    private func refusal(of level: String, _ reason: String) -> AdminResponse {
        AdminResponse(
            status: 400,
            "Invalid level provided: \(level)\n\(reason)\n\n" + Self.loggingUsage
        )
    }

    // MARK: Quit

    private func quit(_ request: AdminRequest, _ reply: ControlReply) {
        guard request.method == "POST" else {
            return reply.send(AdminResponse(status: 405, ""))
        }
        reply.send(AdminResponse("shutdown now\n"))
        facts.quit()
    }

    // MARK: Explain

    private static let explainUsage = """
        usage: /explain?src=IP[:PORT]&dst=IP:PORT|HOSTNAME:PORT[&src_identity=SPIFFE][&format=json]

        """

    private func explain(_ request: AdminRequest) -> AdminResponse {
        let question: ConnectionQuestion
        do throws(ConnectionQuestion.Problem) {
            question = try ConnectionQuestion(request, facts.state())
        } catch {
            return AdminResponse(status: 400, "\(error)\n\n" + Self.explainUsage)
        }
        let answer = ConnectionExplanation(question, facts, &random)
        guard request["format"] == "json" else { return AdminResponse(answer.text) }
        var json = JSONWriter(indentation: 2)
        answer.write(to: &json)
        return .document(json)
    }

    // MARK: Connections

    private func connections(_ reply: ControlReply) {
        let collector = ConnectionCollector(facts, loop: loop, reply)
        collector.start()
    }
}

extension AdminResponse {
    /// A JSON text with its last newline.
    static func document(_ json: consuming JSONWriter) -> AdminResponse {
        var body = json.finish()
        body.append(byte: UInt8(ascii: "\n"))
        return AdminResponse(contentType: Self.json, body: body)
    }
}
