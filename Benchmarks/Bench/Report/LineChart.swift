/// Curves over two axes, each with its name at its end. Drawn once with a logarithmic and once with a linear
/// vertical axis; the page shows one of them.
struct LineChart {
    struct Series {
        var name: String
        /// Class that gives the colour, from ``PeerColour``.
        var colour: String
        var points: [Point]
        var hasMarks = false
    }

    struct Point {
        var x: Double
        var y: Double
        /// Shown while the pointer is over its mark.
        var tip = ""
    }

    /// A stretch of the horizontal axis, and what is said while the pointer is over it.
    struct Stretch {
        var from: Double
        var to: Double
        var tip: String
    }

    var series: [Series]
    /// Position and text of the horizontal ticks.
    var ticks: [(x: Double, label: String)]
    var stretches: [Stretch] = []
    var horizontalTitle: String
    var verticalTitle: String

    static let width = 460.0
    static let left = 46.0
    private static let height = 290.0
    private static let top = 22.0
    private static let bottom = height - 40

    /// Where curves end, so that the longest of the names has room behind them.
    static func right(names: [String]) -> Double {
        width - 14 - (names.map(SVG.textWidth).max() ?? 0)
    }

    func markup(label: String) -> String {
        var svg = SVG(width: Self.width, height: Self.height)
        let values = series.flatMap { $0.points.map(\.y) }
        let scales = [
            ("log", Axis(logarithmicOver: values, from: Self.bottom, to: Self.top)),
            ("linear", Axis(linearTo: values.max() ?? 1, from: Self.bottom, to: Self.top)),
        ]
        let right = Self.right(names: series.map(\.name))
        for tick in ticks {
            svg.line(tick.x, Self.top, tick.x, Self.bottom, class: "grid")
            svg.text(tick.x, Self.bottom + 16, tick.label, class: "tick", anchor: .middle)
        }
        svg.text(Self.width - 2, Self.height - 6, horizontalTitle, class: "tick", anchor: .end)
        svg.text(2, 11, verticalTitle, class: "tick")
        for (name, axis) in scales {
            svg.group(class: "scale-\(name)") { draw(axis, right: right, in: &$0) }
        }
        for stretch in stretches {
            svg.rect(
                stretch.from,
                Self.top,
                stretch.to - stretch.from,
                Self.bottom - Self.top,
                class: "hover",
                tip: stretch.tip
            )
        }
        return svg.markup(label: label)
    }

    private func draw(_ axis: Axis, right: Double, in svg: inout SVG) {
        for tick in axis.ticks {
            let y = axis.position(tick)
            svg.line(Self.left, y, right, y, class: "grid")
            svg.text(Self.left - 6, y + 4, Axis.label(tick), class: "tick", anchor: .end)
        }
        svg.line(Self.left, Self.bottom, right, Self.bottom, class: "base")
        for one in series {
            svg.group(class: one.colour) { svg in
                svg.polyline(one.points.map { ($0.x, axis.position($0.y)) }, class: "curve")
                guard one.hasMarks else { return }
                for point in one.points {
                    svg.circle(
                        point.x,
                        axis.position(point.y),
                        radius: 3.4,
                        class: "mark",
                        tip: point.tip
                    )
                }
            }
        }
        for (one, y) in labels(axis) {
            guard let last = one.points.last else { continue }
            svg.group(class: one.colour) { svg in
                // A thin line leads to a name that had to give way.
                if abs(axis.position(last.y) - y) > 5 || right - last.x > 12 {
                    svg.line(last.x + 3, axis.position(last.y), right + 5, y - 4, class: "leader")
                }
                svg.text(right + 8, y, one.name, class: "end")
            }
        }
    }

    /// Names beside the ends of their curves, moved apart where they would cover each other.
    private func labels(_ axis: Axis) -> [(Series, Double)] {
        let distance = 14.0
        let ends = series.compactMap { one in one.points.last.map { (one, axis.position($0.y) + 4) }
        }
        var placed = ends.sorted { $0.1 < $1.1 }
        for index in placed.indices.dropFirst() {
            placed[index].1 = max(placed[index].1, placed[index - 1].1 + distance)
        }
        if var limit = placed.last.map({ _ in Self.bottom }) {
            for index in placed.indices.reversed() {
                placed[index].1 = min(placed[index].1, limit)
                limit = placed[index].1 - distance
            }
        }
        return placed
    }
}
