import Foundation

/// Numbers for people: three significant digits, thousands grouped, the same in every locale.
package enum Number {
    /// Three significant digits below 100, whole numbers from there on: `0.844`, `5.27`, `34.1`, `57,700`.
    package static func text(_ value: Double) -> String {
        text(value, decimals: decimals(for: value))
    }

    /// With as many decimals as asked for; a value that is no number is `–`.
    package static func text(_ value: Double, decimals: Int) -> String {
        guard value.isFinite else { return "–" }
        let plain = String(format: "%.\(decimals)f", value.magnitude)
        let parts = plain.split(separator: ".", maxSplits: 1)
        guard let whole = parts.first else { return plain }
        let fraction = parts.count > 1 ? "." + parts[1] : ""
        let isZero = plain.allSatisfy { $0 == "0" || $0 == "." }
        return (value < 0 && !isZero ? "−" : "") + grouped(whole) + fraction
    }

    /// As short as it can be said with three decimals: `20`, `1.5`, `0.95`. For what somebody has typed.
    package static func plain(_ value: Double) -> String {
        var decimals = 0
        while decimals < 3,
            abs(value - (value * pow(10, Double(decimals))).rounded() / pow(10, Double(decimals)))
                > 1e-9
        {
            decimals += 1
        }
        return text(value, decimals: decimals)
    }

    /// How many decimals three significant digits of `value` need.
    package static func decimals(for value: Double) -> Int {
        let magnitude = value.magnitude
        guard magnitude.isFinite, magnitude > 0 else { return 0 }
        // 99.96 is a hundred to whoever reads it.
        if magnitude >= 99.95 { return 0 }
        if magnitude >= 9.995 { return 1 }
        if magnitude >= 0.9995 { return 2 }
        return min(6, 2 - Int(log10(magnitude).rounded(.down)))
    }

    /// `46 %`, of a share from 0 to 1.
    package static func percent(_ share: Double) -> String {
        text(share * 100, decimals: 0) + " %"
    }

    /// `+12 %` or `−3.1 %`, of a ratio of after to before.
    package static func change(_ ratio: Double) -> String {
        let percent = (ratio - 1) * 100
        let written = text(percent.magnitude, decimals: percent.magnitude < 9.95 ? 1 : 0)
        if written == "0.0" { return "0 %" }
        return (percent < 0 ? "−" : "+") + written + " %"
    }

    private static func grouped(_ digits: Substring) -> String {
        var result = ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index) % 3 == 0 { result.append(",") }
            result.append(digit)
        }
        return result
    }
}

extension String {
    /// With spaces after it, `width` characters wide.
    func padded(to width: Int) -> String {
        self + String(repeating: " ", count: max(0, width - count))
    }

    /// With spaces before it, `width` characters wide.
    func aligned(to width: Int) -> String {
        String(repeating: " ", count: max(0, width - count)) + self
    }

    /// Its words in lines of at most `width` characters; a longer word has a line of its own.
    func wrapped(to width: Int) -> [String] {
        var lines: [String] = []
        var line = ""
        for word in split(whereSeparator: \.isWhitespace) {
            if line.isEmpty {
                line = String(word)
            } else if line.count + 1 + word.count <= width {
                line += " " + word
            } else {
                lines.append(line)
                line = String(word)
            }
        }
        if !line.isEmpty { lines.append(line) }
        return lines
    }
}
