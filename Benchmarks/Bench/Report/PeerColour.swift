/// One colour for each peer, the same in every plot, light or dark.
struct PeerColour {
    /// Class, colour on white, colour on black.
    private struct Paint {
        var name: String
        var light: String
        var dark: String
    }

    private static let known: [Paint] = [
        Paint(name: "direct", light: "#8a9099", dark: "#8d949e"),
        Paint(name: "floor", light: "#5c636d", dark: "#b4bac3"),
        Paint(name: "meshproxy", light: "#0b62a4", dark: "#58b0f2"),
        Paint(name: "ztunnel-lite", light: "#0a8080", dark: "#45c4bd"),
        Paint(name: "envoy", light: "#b23a75", dark: "#ec86b4"),
        Paint(name: "haproxy", light: "#c06a00", dark: "#f2a73b"),
        Paint(name: "nginx", light: "#3f7d2c", dark: "#86c96f"),
        Paint(name: "nghttpx", light: "#6f52b5", dark: "#b29bf2"),
    ]

    /// For peers of which this file does not know.
    private static let others: [Paint] = [
        Paint(name: "other-0", light: "#8a5a2b", dark: "#d2a06d"),
        Paint(name: "other-1", light: "#9c2f3f", dark: "#ef8591"),
        Paint(name: "other-2", light: "#47707d", dark: "#93bcc9"),
        Paint(name: "other-3", light: "#6b6b1f", dark: "#c5c465"),
    ]

    private var names: [String: String] = [:]

    /// Gives every peer of the report its class.
    init(_ report: BenchReport) {
        var unknown = 0
        let all = report.peers.map(\.name) + report.scenarios.flatMap { $0.results.map(\.peer) }
        for name in all.map(PeerName.base) where names[name] == nil {
            if Self.known.contains(where: { $0.name == name }) {
                names[name] = "peer-\(name)"
            } else {
                names[name] = "peer-\(Self.others[unknown % Self.others.count].name)"
                unknown += 1
            }
        }
    }

    /// Class of a peer or of a variant of one.
    func style(_ peer: String) -> String { names[PeerName.base(peer)] ?? "peer-other-0" }

    /// Rules of the style sheet.
    static func rules(isDark: Bool) -> String {
        (known + others).map { ".peer-\($0.name){color:\(isDark ? $0.dark : $0.light)}" }
            .joined(separator: "\n")
    }
}
