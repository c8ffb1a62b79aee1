import MeshConfig
import MeshHTTP

extension HTTP1Leniency {
    /// Whose messages are meant.
    package enum Side: String, Sendable {
        case downstream, upstream
    }

    /// The leniencies that the runtime switches on: `mesh.http1.SIDE.NAME: true`, with the names of
    /// ``HTTP1Leniency/named``. All are off by default.
    package init(_ runtime: RuntimeConfig, _ side: Side) {
        self = []
        for (name, leniency) in Self.named
        where runtime["mesh.http1.\(side.rawValue).\(name)"] == .bool(true) {
            insert(leniency)
        }
    }
}
