import Foundation

/// Where a request's time goes, by the stamps that MeshProxy keeps in `/stats/prometheus`.
package enum PhaseReader {
    /// In the order of the way.
    package static let names = [
        "parse", "authorize", "route", "pool_wait", "send", "upstream", "receive", "flush",
    ]

    /// Of each phase, the sum of all times and their number.
    package typealias Stamps = [String: (sum: Double, count: Double)]

    /// - Parameter text: the statistics, as Prometheus reads them; histograms `…timing_PHASE_ns`.
    package static func stamps(in text: String) -> Stamps {
        var found: Stamps = [:]
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            let name = line.prefix { $0 != "{" && $0 != " " }
            guard let at = name.range(of: "timing_"),
                let value = line.split(separator: " ").last.flatMap({ Double($0) })
            else { continue }
            let end = name[at.upperBound...]
            if end.hasSuffix("_ns_sum") {
                found[String(end.dropLast(7)), default: (0, 0)].sum += value
            }
            if end.hasSuffix("_ns_count") {
                found[String(end.dropLast(9)), default: (0, 0)].count += value
            }
        }
        return found
    }

    /// The phases of one hop between two readings, mean over all requests.
    package static func phases(from before: Stamps, to after: Stamps, hop: Int) -> [PeerResult
        .Phase]
    {
        names.compactMap { name in
            guard let last = after[name] else { return nil }
            let first = before[name] ?? (0, 0)
            let count = last.count - first.count
            guard count > 0 else { return nil }
            let mean = (last.sum - first.sum) / count
            return PeerResult.Phase(hop: hop, name: name, meanNanoseconds: mean)
        }
    }
}
