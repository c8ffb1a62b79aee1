/// How `mesh-bench run` measures.
package struct RunOptions: Sendable {
    package var repetitions = 3
    /// Of every window that is counted.
    package var seconds = 3.0
    /// Before each of them.
    package var warmUp = 1.0
    /// Requests a second instead of a scenario's own.
    package var rate: Double?
    /// Also tries 25, 50, 75 and 90 % of what each can do.
    package var hasCurves = false
    package var isQuick = false
    /// Of requests whose system calls are counted.
    package var countedRequests = 5_000
    /// Nil: round robin where it is allowed.
    package var scheduling: Placement.Scheduling?
    /// Nil: where the machine is a virtual one.
    package var hasSpinners: Bool?
    package var noise = NoiseRule()
    /// As typed.
    package var command = "mesh-bench run"

    package init() {}

    /// One short repetition of everything.
    package mutating func makeQuick() {
        isQuick = true
        repetitions = 1
        seconds = 0.3
        warmUp = 0.2
        countedRequests = 2_000
    }
}
