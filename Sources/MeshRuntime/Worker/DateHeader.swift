import MeshNet

/// The `date` header's value (RFC 9110 §5.6.7), made anew once a second.
package struct DateHeader {
    /// `Sun, 06 Nov 1994 08:49:37 GMT`
    private var text: [UInt8] = Array(repeating: 0x20, count: 29)
    private var second = Int64.min

    package init() {}

    /// Calls `body` with the text for this moment.
    package mutating func withText<R>(at time: WallTime, _ body: (Bytes) -> R) -> R {
        if time.seconds != second { write(time.seconds) }
        return text.withUnsafeBytes { body($0) }
    }

    private mutating func write(_ seconds: Int64) {
        second = seconds
        let date = CivilDate(secondsSinceEpoch: seconds)
        let days: StaticString = "SunMonTueWedThuFriSat"
        let months: StaticString = "JanFebMarAprMayJunJulAugSepOctNovDec"
        copy(days, from: date.weekday * 3, to: 0)
        text[3] = UInt8(ascii: ",")
        put(date.day, at: 5)
        copy(months, from: (date.month - 1) * 3, to: 8)
        put(date.year / 100, at: 12)
        put(date.year % 100, at: 14)
        put(date.hour, at: 17)
        text[19] = UInt8(ascii: ":")
        put(date.minute, at: 20)
        text[22] = UInt8(ascii: ":")
        put(date.second, at: 23)
        copy("GMT", from: 0, to: 26)
    }

    private mutating func copy(_ source: StaticString, from: Int, to: Int) {
        for at in 0..<3 { text[to + at] = source.utf8Start[from + at] }
    }

    private mutating func put(_ value: Int, at: Int) {
        text[at] = 0x30 + UInt8(value / 10)
        text[at + 1] = 0x30 + UInt8(value % 10)
    }
}

/// A moment in the proleptic Gregorian calendar, UTC.
package struct CivilDate: Hashable, Sendable {
    package let year: Int
    /// 1…12
    package let month: Int
    /// 1…31
    package let day: Int
    package let hour: Int
    package let minute: Int
    package let second: Int
    /// 0 is Sunday.
    package let weekday: Int

    /// Counts eras of 400 years, in which the calendar repeats, with years that begin in March, so
    /// that the leap day comes last.
    package init(secondsSinceEpoch seconds: Int64) {
        let days = Int((Double(seconds) / 86_400).rounded(.down))
        let rest = Int(seconds) - days * 86_400
        hour = rest / 3600
        minute = rest / 60 % 60
        second = rest % 60
        weekday = ((days + 4) % 7 + 7) % 7
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }
}
