/// A `strftime` pattern with Envoy's sub-second digits, parsed. All times are UTC.
package struct TimeFormat: Hashable, Sendable {
    package enum Part: Hashable, Sendable {
        case literal(String)
        case year, yearOfCentury, month, day, dayPadded, dayOfYear
        case hour, hour12, minute, second, amPM
        /// That many leading digits of the second's fraction.
        case fraction(digits: Int)
        case epochSeconds
        case weekdayShort, weekdayLong, weekdayNumber, monthShort, monthLong
    }

    package let parts: [Part]

    /// `2026-11-21T00:56:46.661Z`, what `%START_TIME%` prints without a pattern.
    package static let standard = TimeFormat(parts: [
        .year, .literal("-"), .month, .literal("-"), .day, .literal("T"), .hour, .literal(":"),
        .minute, .literal(":"), .second, .literal("."), .fraction(digits: 3), .literal("Z"),
    ])

    package init(parts: [Part]) { self.parts = parts }

    package static func parse(_ pattern: String) throws(FormatError) -> TimeFormat {
        var parts: [Part] = []
        var literal = ""
        var rest = Array(pattern.unicodeScalars)[...]
        func close() {
            if !literal.isEmpty { parts.append(.literal(literal)) }
            literal = ""
        }
        while let character = rest.popFirst() {
            guard character == "%" else {
                literal.unicodeScalars.append(character)
                continue
            }
            guard let letter = rest.popFirst() else {
                throw FormatError(
                    description: "the time format \(ConfigNode.quoted(pattern)) ends in a lone %"
                )
            }
            switch letter {
            case "%": literal += "%"
            case "n": literal += "\n"
            case "t": literal += "\t"
            case "Z": literal += "UTC"
            case "z": literal += "+0000"
            case "1"..."9":
                guard let digits = Int(String(letter)), rest.popFirst() == "f" else {
                    throw FormatError(
                        description:
                            "the time format \(ConfigNode.quoted(pattern)) has %\(letter) without f"
                    )
                }
                close()
                parts.append(.fraction(digits: digits))
            default:
                guard let expansion = Self.expansion(of: letter) else {
                    throw FormatError(
                        description:
                            "the time format \(ConfigNode.quoted(pattern)) has the unsupported %\(letter)"
                    )
                }
                close()
                parts += expansion
            }
        }
        close()
        return TimeFormat(parts: parts)
    }

    private static func expansion(of letter: Unicode.Scalar) -> [Part]? {
        switch letter {
        case "Y": [.year]
        case "y": [.yearOfCentury]
        case "m": [.month]
        case "d": [.day]
        case "e": [.dayPadded]
        case "j": [.dayOfYear]
        case "H": [.hour]
        case "I": [.hour12]
        case "M": [.minute]
        case "S": [.second]
        case "p": [.amPM]
        case "f": [.fraction(digits: 9)]
        case "s": [.epochSeconds]
        case "a": [.weekdayShort]
        case "A": [.weekdayLong]
        case "w": [.weekdayNumber]
        case "b", "h": [.monthShort]
        case "B": [.monthLong]
        case "F": [.year, .literal("-"), .month, .literal("-"), .day]
        case "T": [.hour, .literal(":"), .minute, .literal(":"), .second]
        case "R": [.hour, .literal(":"), .minute]
        case "D": [.month, .literal("/"), .day, .literal("/"), .yearOfCentury]
        default: nil
        }
    }
}
