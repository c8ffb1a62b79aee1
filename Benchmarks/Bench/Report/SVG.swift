import Foundation

/// A drawing in the making: an `<svg>` element that scales with its column. Lengths are in its own units,
/// which are CSS pixels where the column is ``width`` wide.
struct SVG {
    enum Anchor: String {
        case start, middle, end
    }

    let width: Double
    let height: Double
    private(set) var body = ""

    init(width: Double, height: Double) {
        self.width = width
        self.height = height
    }

    /// The element. `label` is what a screen reader says instead of it.
    func markup(label: String) -> String {
        """
        <svg viewBox="0 0 \(Self.n(width)) \(Self.n(height))" role="img" aria-label="\(HTML.escape(label))">
        \(body)</svg>

        """
    }

    mutating func line(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, class name: String) {
        body +=
            "<line x1=\"\(Self.n(x1))\" y1=\"\(Self.n(y1))\" x2=\"\(Self.n(x2))\" y2=\"\(Self.n(y2))\" "
            + "class=\"\(name)\"/>\n"
    }

    /// `tip` is shown while the pointer is over it.
    mutating func rect(
        _ x: Double,
        _ y: Double,
        _ width: Double,
        _ height: Double,
        class name: String,
        tip: String? = nil
    ) {
        let head =
            "<rect x=\"\(Self.n(x))\" y=\"\(Self.n(y))\" width=\"\(Self.n(max(0, width)))\" "
            + "height=\"\(Self.n(height))\" class=\"\(name)\""
        body += Self.element(head, "rect", tip: tip)
    }

    mutating func circle(
        _ x: Double,
        _ y: Double,
        radius: Double,
        class name: String,
        tip: String? = nil
    ) {
        let head =
            "<circle cx=\"\(Self.n(x))\" cy=\"\(Self.n(y))\" r=\"\(Self.n(radius))\" class=\"\(name)\""
        body += Self.element(head, "circle", tip: tip)
    }

    mutating func polyline(_ points: [(Double, Double)], class name: String) {
        let list = points.map { "\(Self.n($0.0)),\(Self.n($0.1))" }.joined(separator: " ")
        body += "<polyline points=\"\(list)\" class=\"\(name)\"/>\n"
    }

    mutating func text(
        _ x: Double,
        _ y: Double,
        _ text: String,
        class name: String,
        anchor: Anchor = .start
    ) {
        body +=
            "<text x=\"\(Self.n(x))\" y=\"\(Self.n(y))\" class=\"\(name)\" "
            + "text-anchor=\"\(anchor.rawValue)\">\(HTML.escape(text))</text>\n"
    }

    /// What is drawn meanwhile has the class in common.
    mutating func group(class name: String, _ draw: (inout SVG) -> Void) {
        body += "<g class=\"\(name)\">\n"
        draw(&self)
        body += "</g>\n"
    }

    /// How wide a text of the drawing's usual size is, roughly.
    static func textWidth(_ text: String) -> Double { Double(text.count) * 7.4 }

    private static func element(_ head: String, _ name: String, tip: String?) -> String {
        guard let tip else { return head + "/>\n" }
        return head + "><title>\(HTML.escape(tip))</title></\(name)>\n"
    }

    /// A coordinate, with a decimal at most.
    private static func n(_ value: Double) -> String {
        let text = String(format: "%.1f", value)
        return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
    }
}

/// Text inside of markup that is XML and HTML alike.
enum HTML {
    static func escape(_ text: String) -> String {
        var result = ""
        for character in text {
            switch character {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            default: result.append(character)
            }
        }
        return result
    }

    /// A part of a page that can be linked to, of a scenario's identifier or the like.
    static func anchor(_ text: String) -> String {
        String(text.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "-" })
    }
}
