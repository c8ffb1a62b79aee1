import MeshNet
import MeshRuntime

/// The three ports: administration (15000), metrics (15020) and readiness (15021).
package final class AdminPorts {
    private let admin: ControlServer
    private let stats: ControlServer
    private let readiness: ControlServer

    /// What listens where, with the ports the kernel chose.
    package var addresses: [(purpose: String, address: SocketAddress)] {
        [
            ("admin", admin.address), ("metrics", stats.address), ("readiness", readiness.address),
        ]
    }

    /// Listens at once. Throws what the system says, with the address at the front.
    package init(
        _ facts: AdminFacts,
        admin: SocketAddress,
        stats: SocketAddress,
        readiness: SocketAddress,
        loop: EventLoop
    ) throws(AdminPortError) {
        func listen(
            _ purpose: String,
            _ address: SocketAddress,
            _ responder: any ControlResponder
        ) throws(AdminPortError) -> ControlServer {
            do throws(SystemError) {
                return try ControlServer(
                    address,
                    acceptsIPv4: true,
                    loop: loop,
                    responder: responder
                )
            } catch {
                throw AdminPortError(
                    description:
                        "\(purpose) failed: \(address): \(error.reason); is the address in use?"
                )
            }
        }
        self.admin = try listen("admin", admin, ZtunnelAdmin(facts, loop: loop))
        self.stats = try listen("metrics", stats, MetricsResponder(facts))
        self.readiness = try listen("readiness", readiness, ReadinessResponder(facts))
    }
}

package struct AdminPortError: Error, CustomStringConvertible {
    package let description: String
}

/// `/metrics` and `/stats/prometheus`.
final class MetricsResponder: ControlResponder {
    private let facts: AdminFacts
    private var sweptAt: Instant?

    /// Series that have lost their workload are looked for that often.
    private static let sweepInterval = Nanoseconds.seconds(60)

    init(_ facts: AdminFacts) { self.facts = facts }

    func respond(to request: AdminRequest, _ reply: ControlReply) {
        guard request.path == "/metrics" || request.path == "/stats/prometheus" else {
            return reply.send(AdminResponse(status: 404, ""))
        }
        let dropped = facts.logSettings.droppedLines + facts.droppedLogLines()
        let text = facts.metrics.text(
            TrafficMetrics.Process(version: facts.version, droppedLogLines: dropped)
        )
        reply.send(AdminResponse(contentType: Self.contentType(request.accept), body: text))
        // Behind the answer: what leaves has been shown once more.
        sweep()
    }

    /// The text is OpenMetrics in either case; who does not ask for it by name is told that it is the
    /// older text, which it is as well.
    static func contentType(_ accept: String) -> StaticString {
        let wants = accept.lowercased().split(separator: ",").contains { range in
            let type = range.prefix { $0 != ";" }
            return type.drop { $0 == " " }.elementsEqual("application/openmetrics-text")
        }
        return wants
            ? "application/openmetrics-text;charset=utf-8;version=1.0.0"
            : "text/plain; charset=utf-8"
    }

    private func sweep() {
        let now = facts.now()
        if let sweptAt, now - sweptAt < Self.sweepInterval { return }
        sweptAt = now
        let known = Set(
            facts.state().workloads.map { Name(namespace: $0.namespace, workload: $0.workloadName) }
        )
        facts.metrics.sweep(now: now) { namespace, workload in
            known.contains(Name(namespace: namespace, workload: workload))
        }
    }

    private struct Name: Hashable {
        let namespace: String
        let workload: String
    }
}

/// `/healthz/ready`.
final class ReadinessResponder: ControlResponder {
    private let facts: AdminFacts

    init(_ facts: AdminFacts) { self.facts = facts }

    func respond(to request: AdminRequest, _ reply: ControlReply) {
        guard request.path == "/healthz/ready" else {
            return reply.send(AdminResponse(status: 404, ""))
        }
        guard request.method == "GET" || request.method == "HEAD" else {
            return reply.send(AdminResponse(status: 405, ""))
        }
        let pending = facts.pending()
        if pending.isEmpty { return reply.send(AdminResponse("ready\n")) }
        reply.send(
            AdminResponse(
                status: 500,
                "not ready, pending: \(pending.joined(separator: ", "))\n"
            )
        )
    }
}
