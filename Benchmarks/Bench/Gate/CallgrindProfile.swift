import Foundation

/// What a dump of callgrind says of one thread: instructions by function, calls by the function called, and
/// system calls.
///
/// The format is that of the Valgrind manual's chapter on callgrind; only what the gate asks for is kept.
package struct CallgrindProfile: Equatable, Sendable {
    /// Instructions of each function, without those of what it calls.
    package private(set) var instructions: [String: Int] = [:]
    /// How often each function was called.
    package private(set) var calls: [String: Int] = [:]
    /// Calls of the kernel, also those that outside valgrind are none.
    package private(set) var kernelEntries = 0

    package init() {}

    /// - Throws: where it is no dump, or one without `--collect-systime`.
    package init(parsing text: String, subject: String) throws {
        var reader = Reader(subject: subject)
        var text = text
        try text.withUTF8 { bytes in
            var rest = Slice(base: bytes, bounds: bytes.indices)
            while !rest.isEmpty {
                let line = rest.prefix { $0 != UInt8(ascii: "\n") }
                try reader.read(line, into: &self)
                rest = rest.dropFirst(line.count + 1)
            }
        }
        guard reader.hasEvents else { throw reader.failure("there are no events") }
    }

    package var allInstructions: Int { instructions.values.reduce(0, +) }

    package func calls(of functions: [String]) -> Int {
        functions.reduce(0) { $0 + (calls[$1] ?? 0) }
    }

    /// What happened between two dumps of the same traffic, of which this is the longer one.
    package static func - (long: Self, short: Self) -> Self {
        var difference = long
        difference.instructions.merge(short.instructions.mapValues { -$0 }, uniquingKeysWith: +)
        difference.calls.merge(short.calls.mapValues { -$0 }, uniquingKeysWith: +)
        difference.kernelEntries -= short.kernelEntries
        return difference
    }

    /// Instructions and calls of one among so many requests; what is rare disappears.
    func divided(by requests: Int) -> Self {
        var each = self
        each.instructions = instructions.mapValues { $0 / requests }.filter { $0.value != 0 }
        each.calls = calls.mapValues { $0 / requests }.filter { $0.value != 0 }
        each.kernelEntries /= requests
        return each
    }

    package static func + (one: Self, other: Self) -> Self {
        var sum = one
        sum.instructions.merge(other.instructions, uniquingKeysWith: +)
        sum.calls.merge(other.calls, uniquingKeysWith: +)
        sum.kernelEntries += other.kernelEntries
        return sum
    }
}

/// Goes through the lines of a dump.
private struct Reader {
    typealias Line = Slice<UnsafeBufferPointer<UInt8>>

    let subject: String
    /// Names are written once, and then by number.
    private var names: [Int: String] = [:]
    private var function = ""
    private var callee = ""
    /// The line under `calls=` has the cost of what was called, which counts there.
    private var isCallCost = false
    private var kernelColumn = 0
    private(set) var hasEvents = false

    init(subject: String) { self.subject = subject }

    func failure(_ reason: String) -> BenchError {
        BenchError("no figures: \(subject): \(reason); is this a dump of callgrind?")
    }

    mutating func read(_ line: Line, into profile: inout CallgrindProfile) throws {
        guard let first = line.first else { return }
        switch first {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "-"),
            UInt8(ascii: "*"):
            if isCallCost {
                isCallCost = false
            } else {
                profile.add(costs(line), to: function, kernelColumn)
            }
        default: try readWord(line, &profile)
        }
    }

    private mutating func readWord(_ line: Line, _ profile: inout CallgrindProfile) throws {
        if let rest = line.after("fn=") {
            function = name(rest)
        } else if let rest = line.after("cfn=") {
            callee = name(rest)
        } else if let rest = line.after("calls=") {
            profile.count(rest.number ?? 0, callsOf: callee)
            isCallCost = true
        } else if let rest = line.after("events: ") {
            let events = String(decoding: rest, as: UTF8.self).split(separator: " ")
            guard events.first == "Ir", let column = events.firstIndex(of: "sysCount") else {
                throw failure("its events are \(events.joined(separator: " "))")
            }
            kernelColumn = column
            hasEvents = true
        }
    }

    /// The numbers behind the line's place.
    private func costs(_ line: Line) -> [Int] {
        line.split(separator: UInt8(ascii: " ")).dropFirst().map { $0.number ?? 0 }
    }

    /// `(17) name` the first time, then `(17)`.
    private mutating func name(_ text: Line) -> String {
        guard text.first == UInt8(ascii: "("),
            let end = text.firstIndex(of: UInt8(ascii: ")")),
            let number = text[text.startIndex..<end].dropFirst().number
        else { return String(decoding: text, as: UTF8.self) }
        let rest = text[end...].dropFirst(2)
        guard !rest.isEmpty else { return names[number] ?? "" }
        // Recursion and symbol versions tell nothing here: `name'2`, `name@@GLIBC_2.17`.
        let bare = rest.prefix { $0 != UInt8(ascii: "'") && $0 != UInt8(ascii: "@") }
        let full = String(decoding: bare, as: UTF8.self)
        names[number] = full
        return full
    }
}

extension CallgrindProfile {
    fileprivate mutating func add(_ costs: [Int], to function: String, _ kernelColumn: Int) {
        instructions[function, default: 0] += costs.first ?? 0
        // Trailing zeros are left out.
        if kernelColumn < costs.count { kernelEntries += costs[kernelColumn] }
    }

    fileprivate mutating func count(_ count: Int, callsOf function: String) {
        calls[function, default: 0] += count
    }
}

extension Slice<UnsafeBufferPointer<UInt8>> {
    fileprivate func after(_ word: StaticString) -> Self? {
        let count = word.utf8CodeUnitCount
        guard self.count >= count,
            prefix(count).elementsEqual(
                UnsafeBufferPointer(start: word.utf8Start, count: count)
            )
        else { return nil }
        return dropFirst(count)
    }

    /// The decimal number at the beginning.
    fileprivate var number: Int? {
        var value: Int?
        for byte in self {
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { break }
            value = (value ?? 0) &* 10 &+ Int(byte &- UInt8(ascii: "0"))
        }
        return value
    }
}
