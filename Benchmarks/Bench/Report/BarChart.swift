/// Horizontal bars that begin at zero, one for each row, each in segments if need be.
struct BarChart {
    struct Segment {
        var value: Double
        /// Of the style sheet: `full`, `light`, or a colour of its own.
        var style: String
        /// Shown while the pointer is over it.
        var tip: String
    }

    struct Row {
        var name: String
        /// Class that gives the colour, from ``PeerColour``.
        var colour: String
        var segments: [Segment]
        /// Lowest and highest repetition, drawn as a whisker.
        var spread: ClosedRange<Double>?
        /// Written behind the bar.
        var label: String
    }

    /// A line across all rows.
    struct Reference {
        var value: Double
        var label: String
    }

    var rows: [Row]
    var reference: Reference?
    var width = 460.0

    private static let rowHeight = 27.0
    private static let barHeight = 15.0

    /// - Parameter label: what a screen reader says.
    func markup(label: String) -> String {
        let top = reference == nil ? 4.0 : 20.0
        let bottom = top + Self.rowHeight * Double(rows.count)
        var svg = SVG(width: width, height: bottom + 20)
        let left = 10 + (rows.map { SVG.textWidth($0.name) }.max() ?? 0)
        let right = width - 12 - (rows.map { SVG.textWidth($0.label) }.max() ?? 0)
        let largest =
            rows.map { row in
                max(row.segments.reduce(0) { $0 + $1.value }, row.spread?.upperBound ?? 0)
            }
            .max() ?? 1
        let axis = Axis(
            linearTo: max(largest, reference?.value ?? 0) / 1.04,
            from: left,
            to: max(left + 60, right)
        )
        for tick in axis.ticks {
            let x = axis.position(tick)
            svg.line(x, top, x, bottom, class: "grid")
            svg.text(x, bottom + 15, Axis.label(tick), class: "tick", anchor: .middle)
        }
        svg.line(left, top, left, bottom, class: "base")
        for (index, row) in rows.enumerated() {
            draw(row, at: top + Self.rowHeight * Double(index), axis: axis, in: &svg)
        }
        if let reference {
            let x = axis.position(reference.value)
            svg.line(x, top - 4, x, bottom, class: "reference")
            let isLate = x > width * 0.6
            svg.text(
                isLate ? x + 4 : x - 4,
                top - 8,
                reference.label,
                class: "tick",
                anchor: isLate ? .end : .start
            )
        }
        return svg.markup(label: label)
    }

    private func draw(_ row: Row, at y: Double, axis: Axis, in svg: inout SVG) {
        let middle = y + Self.rowHeight / 2
        let barTop = middle - Self.barHeight / 2
        svg.text(axis.start - 8, middle + 4, row.name, class: "name", anchor: .end)
        var end = axis.start
        svg.group(class: row.colour) { svg in
            var sum = 0.0
            for segment in row.segments where segment.value > 0 {
                let x = axis.position(sum)
                sum += segment.value
                end = axis.position(sum)
                svg.rect(
                    x,
                    barTop,
                    max(0.8, end - x),
                    Self.barHeight,
                    class: segment.style,
                    tip: segment.tip
                )
            }
        }
        if let spread = row.spread {
            let low = axis.position(spread.lowerBound)
            let high = axis.position(spread.upperBound)
            svg.line(low, middle, high, middle, class: "whisker")
            svg.line(low, middle - 4, low, middle + 4, class: "whisker")
            svg.line(high, middle - 4, high, middle + 4, class: "whisker")
            end = max(end, high)
        }
        svg.text(end + 6, middle + 4, row.label, class: "value")
    }
}
