import Glibc
import MeshConfig
import MeshNet

/// Which stats are asked for, and in what form (envoy: the parameters of `/stats`).
struct StatsQuery {
    enum Format { case text, json, prometheus }

    enum Kind: String, CaseIterable {
        case all = "All"
        case counters = "Counters"
        case gauges = "Gauges"
        case histograms = "Histograms"
        case textReadouts = "TextReadouts"
    }

    enum Buckets: String, CaseIterable {
        case summary, cumulative, disjoint, detailed
    }

    var format = Format.text
    var kind = Kind.all
    /// Nil where nothing was asked for: quantiles in text and JSON, buckets in Prometheus' form.
    var buckets: Buckets?
    var usedOnly = false
    var filter: Regex?
    var isInverted = false

    /// The answer 400 explains what is wrong.
    struct Malformed: Error { let text: String }

    init(_ request: AdminRequest, format: Format? = nil) throws(Malformed) {
        if let format {
            self.format = format
        } else if let name = request["format"] {
            switch name {
            case "text", "html", "active-html": self.format = .text
            case "json": self.format = .json
            case "prometheus": self.format = .prometheus
            default: throw Malformed(text: "usage: /stats?format=(json|prometheus|text)\n\n")
            }
        }
        if let name = request["type"] {
            guard let kind = Kind.allCases.first(where: { $0.rawValue == name }) else {
                throw Malformed(text: "invalid &type= param")
            }
            self.kind = kind
        }
        if let name = request["histogram_buckets"] {
            guard let buckets = Buckets(rawValue: name) else {
                let forms = "cumulative|disjoint|detailed|summary"
                throw Malformed(text: "usage: /stats?histogram_buckets=(\(forms))\n")
            }
            self.buckets = buckets
        }
        usedOnly = request.has("usedonly")
        isInverted = request.has("invert_filter")
        if let pattern = request["filter"], !pattern.isEmpty {
            do throws(RegexError) {
                filter = try Regex(pattern)
            } catch {
                throw Malformed(text: "Invalid re2 regex: \(error)")
            }
        }
    }

    func wants(_ name: String, isUsed: Bool) -> Bool {
        guard isUsed || !usedOnly else { return false }
        guard let filter else { return true }
        var name = name
        return name.withUTF8 { filter.partialMatch(Bytes($0)) } != isInverted
    }

    func wants(_ kind: StatKind) -> Bool {
        switch self.kind {
        case .all: true
        case .counters: kind == .counter
        case .gauges: kind == .gauge
        case .histograms, .textReadouts: false
        }
    }

    var wantsHistograms: Bool { kind == .all || kind == .histograms }
}

/// The quantiles that Envoy prints.
enum StatsQuantiles {
    static let all = [0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1]
    static let percents: [StaticString] = [
        "0", "25", "50", "75", "90", "95", "99", "99.5", "99.9", "100",
    ]
}

extension ByteBuffer {
    /// The shortest text that reads back as the same number, whole numbers without fraction.
    mutating func append(number value: Double) {
        if let whole = Int(exactly: value), abs(value) < 1e15 { return append(decimal: whole) }
        append(value.description)
    }

    /// As C's `%.<digits>g`.
    mutating func append(general value: Double, digits: Int) {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { text in
            guard let base = text.baseAddress else { return }
            let length = withVaList([CInt(digits), value]) {
                vsnprintf(base, text.count, "%.*g", $0)
            }
            append(Bytes(rebasing: UnsafeRawBufferPointer(text).prefix(Int(length))))
        }
    }
}
