import MeshConfig
import MeshNet

extension CivilDate {
    /// 1...366.
    fileprivate var dayOfYear: Int {
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334][month - 1]
        return before + day + (isLeap && month > 2 ? 1 : 0)
    }
}

extension TimeFormat {
    package func append(_ time: WallTime, to buffer: inout ByteBuffer) {
        let civil = CivilDate(secondsSinceEpoch: time.seconds)
        for part in parts {
            switch part {
            case .literal(let text): buffer.append(text)
            case .year: buffer.append(padded: civil.year, width: 4)
            case .yearOfCentury: buffer.append(padded: civil.year % 100, width: 2)
            case .month: buffer.append(padded: civil.month, width: 2)
            case .day: buffer.append(padded: civil.day, width: 2)
            case .dayPadded:
                if civil.day < 10 { buffer.append(byte: UInt8(ascii: " ")) }
                buffer.append(decimal: civil.day)
            case .dayOfYear: buffer.append(padded: civil.dayOfYear, width: 3)
            case .hour: buffer.append(padded: civil.hour, width: 2)
            case .hour12: buffer.append(padded: (civil.hour + 11) % 12 + 1, width: 2)
            case .minute: buffer.append(padded: civil.minute, width: 2)
            case .second: buffer.append(padded: civil.second, width: 2)
            case .amPM: buffer.append(civil.hour < 12 ? "AM" as StaticString : "PM")
            case .fraction(let digits):
                var value = Int(time.nanoseconds - time.seconds * 1_000_000_000)
                for _ in digits..<9 { value /= 10 }
                buffer.append(padded: value, width: digits)
            case .epochSeconds: buffer.append(decimal: Int(time.seconds))
            case .weekdayShort: buffer.append(String(Self.weekdays[civil.weekday].prefix(3)))
            case .weekdayLong: buffer.append(Self.weekdays[civil.weekday])
            case .weekdayNumber: buffer.append(decimal: civil.weekday)
            case .monthShort: buffer.append(String(Self.months[civil.month - 1].prefix(3)))
            case .monthLong: buffer.append(Self.months[civil.month - 1])
            }
        }
    }

    private static let weekdays = [
        "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
    ]
    private static let months = [
        "January", "February", "March", "April", "May", "June", "July", "August", "September",
        "October", "November", "December",
    ]
}

extension ByteBuffer {
    /// Decimal digits with leading zeros.
    mutating func append(padded value: Int, width: Int) {
        var power = 1
        for _ in 1..<width { power *= 10 }
        while power > value, power > 1 {
            append(byte: UInt8(ascii: "0"))
            power /= 10
        }
        append(decimal: value)
    }
}
