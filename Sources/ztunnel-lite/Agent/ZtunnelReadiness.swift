/// What must be done before the agent is ready (`/healthz/ready`). Control thread.
package final class ZtunnelReadiness {
    package enum Task: String, CaseIterable {
        case mesh = "mesh state"
        case certificates
    }

    private var open = Set(Task.allCases)
    package var isDraining = false

    func done(_ task: Task) { open.remove(task) }

    /// What is still to be done, sorted; empty: ready.
    package var pending: [String] {
        open.map(\.rawValue).sorted() + (isDraining ? ["draining"] : [])
    }
}
