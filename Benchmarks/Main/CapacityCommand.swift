import ArgumentParser
import MeshBench

/// `mesh-bench capacity`: what a mesh would cost in cores and memory, by a report's figures.
struct CapacityCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "capacity",
        abstract: "Turns a report into cores and memory of a mesh.",
        discussion: """
            Three layouts: a sidecar for each pod, an L4 agent for each node, and agents with L7 waypoints. Every \
            figure that goes into the answer is printed with the scenario it is from, and the formula with its \
            numbers; what the report lacks is named, and guessed nowhere.
            """
    )

    @Option(help: "What mesh-bench run wrote.")
    var report: String

    @Option(help: "Calls from pod to pod, a second, in the whole mesh.")
    var rate: Double

    @Option(help: "Services.")
    var services: Int

    @Option(help: "Pods of each service.")
    var replicas = CapacityQuestion.defaultReplicas

    @Option(help: "Nodes.")
    var nodes: Int

    @Option(help: "Open connections from each pod to others.")
    var connections = CapacityQuestion.defaultConnections

    @Option(help: "Cores are multiplied with it, so that proxies are not run at their limit.")
    var headroom = CapacityQuestion.defaultHeadroom

    @Option(
        help: "Share of calls that leave their node (default: 1 − 1/nodes, evenly spread pods)."
    )
    var crossNode: Double?

    @Option(help: "Share of calls to services that have a waypoint.")
    var waypointShare = 1.0

    @Option(help: "Waypoint processes in all.")
    var waypoints = CapacityQuestion.defaultWaypoints

    @Option(help: "What sidecars speak to each other: http1 or http2.")
    var version = CapacityQuestion.HTTPVersion.http1

    func validate() throws {
        if let objection = question.objection { throw ValidationError(objection) }
    }

    func run() throws {
        let figures = try BenchReport(contentsOf: report)
        print(CapacityText.text(question, figures, name: report), terminator: "")
    }

    private var question: CapacityQuestion {
        var question = CapacityQuestion(rate: rate, services: services, nodes: nodes)
        question.replicas = replicas
        question.connections = connections
        question.headroom = headroom
        question.statedCrossNodeShare = crossNode
        question.waypointShare = waypointShare
        question.waypoints = waypoints
        question.version = version
        return question
    }
}

extension CapacityQuestion.HTTPVersion: ExpressibleByArgument {}
