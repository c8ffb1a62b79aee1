import Foundation

/// Where a request's time goes, by the stamps that MeshProxy keeps in `/stats/prometheus`.
package enum PhaseReader {
    /// In the order of the way.
    package static let names = [
        "parse", "authorize", "route", "pool_wait", "send", "upstream", "receive", "flush",
    ]

    /// The phases of one hop, mean over all requests since its start.
    ///
    /// - Parameter text: the statistics, as Prometheus reads them; histograms `…timing_PHASE_ns`.
    package static func phases(in text: String, hop: Int) -> [PeerResult.Phase] {
        var sums: [String: Double] = [:]
        var counts: [String: Double] = [:]
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            let name = line.prefix { $0 != "{" && $0 != " " }
            guard let at = name.range(of: "timing_"),
                let value = line.split(separator: " ").last.flatMap({ Double($0) })
            else { continue }
            let end = name[at.upperBound...]
            if end.hasSuffix("_ns_sum") { sums[String(end.dropLast(7)), default: 0] += value }
            if end.hasSuffix("_ns_count") { counts[String(end.dropLast(9)), default: 0] += value }
        }
        return names.compactMap { name in
            guard let sum = sums[name], let count = counts[name], count > 0 else { return nil }
            return PeerResult.Phase(hop: hop, name: name, meanNanoseconds: sum / count)
        }
    }
}
