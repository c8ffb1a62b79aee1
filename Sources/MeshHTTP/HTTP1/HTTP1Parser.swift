import Glibc
import MeshNet

/// Reads one header or trailer section, line by line, into a header map. Knows no framing and no I/O.
///
/// Whole lines are consumed as they come, so a section that arrives in pieces is parsed once. Of a
/// line that has not ended only the new bytes are looked at, for its end.
struct HTTP1Parser {
    enum Role { case request, response, trailers }

    enum Progress: Equatable {
        case needsMore
        case complete
        case failed(HTTP1Fault)
    }

    private var role: Role
    private let bytesMax: Int
    private let fieldsMax: Int
    private let leniency: HTTP1Leniency
    private let keepsCase: Bool
    private let allowsAnyMethod: Bool

    /// Bytes of the section consumed so far.
    private(set) var byteCount = 0
    private(set) var version = HTTPVersion.http11
    private(set) var method = HTTP1Method.other
    private(set) var targetForm = HTTP1Target.origin
    private(set) var status = 0
    /// Which of the first 32 known headers have come, and which of them more than once, as bits.
    private(set) var seen: UInt32 = 0
    private(set) var repeated: UInt32 = 0

    private var isStartLineRead: Bool
    private var fieldCount = 0
    /// Bytes at the start of the unfinished line known to hold no line end.
    private var scanned = 0

    init(_ role: Role, settings: HTTP1Settings) {
        self.role = role
        bytesMax = settings.headBytesMax
        fieldsMax = settings.fieldsMax
        leniency = settings.leniency
        keepsCase = settings.headerKeyFormat == .preserveCase
        allowsAnyMethod = settings.allowCustomMethods
        isStartLineRead = role == .trailers
    }

    /// Begins the next section.
    mutating func restart(as role: Role) {
        self.role = role
        byteCount = 0
        version = .http11
        method = .other
        status = 0
        seen = 0
        repeated = 0
        isStartLineRead = role == .trailers
        fieldCount = 0
        scanned = 0
    }

    /// A first byte was seen.
    var hasBegun: Bool { byteCount > 0 || scanned > 0 }

    @inline(__always)
    static func bit(_ header: KnownHeader) -> UInt32 { 1 << UInt32(header.rawValue) }

    @inline(__always)
    func has(_ header: KnownHeader) -> Bool { seen & Self.bit(header) != 0 }

    /// Consumes whole lines of `bytes` from `at` on, up to and including the empty one.
    mutating func read(_ bytes: Bytes, _ at: inout Int, into map: HeaderMap) -> Progress {
        guard let base = bytes.baseAddress else { return .needsMore }
        if scanned > 0 {
            let rest = bytes.count - at
            guard scanned < rest, memchr(base + at + scanned, 0x0A, rest - scanned) != nil else {
                scanned = max(scanned, rest)
                return incomplete(base + at, rest)
            }
            scanned = 0
        }
        if !isStartLineRead {
            switch readStartLine(base + at, bytes.count - at, into: map) {
            case .field(let length, _):
                isStartLineRead = true
                byteCount = length
                at += length
                if byteCount > bytesMax { return .failed(.headTooLarge) }
            case .incomplete: return incomplete(base + at, bytes.count - at)
            case .fault(let fault): return failed(fault, base + at, bytes.count - at)
            }
        }
        while true {
            let line = base + at
            let rest = bytes.count &- at
            guard rest > 0 else { return .needsMore }
            let first = line.load(as: UInt8.self)
            if first <= 0x20 {
                switch readOddLine(first, line, rest, into: map) {
                case .field(let length, _):
                    at &+= length
                    byteCount &+= length
                    if byteCount > bytesMax { return tooLarge }
                    if first == 0x0D || first == 0x0A { return .complete }
                    continue
                case .incomplete: return incomplete(line, rest)
                case .fault(let fault): return failed(fault, line, rest)
                }
            }
            switch map.readField(line, rest, leniency: leniency, keepingCase: keepsCase) {
            case .field(let length, let known):
                at &+= length
                byteCount &+= length
                fieldCount &+= 1
                if byteCount > bytesMax { return tooLarge }
                if fieldCount > fieldsMax {
                    return .failed(role == .trailers ? .tooManyTrailers : .tooManyFields)
                }
                if known < 32 {
                    let bit: UInt32 = 1 << UInt32(known)
                    repeated |= seen & bit
                    seen |= bit
                }
            case .incomplete: return incomplete(line, rest)
            case .fault(let fault): return failed(fault, line, rest)
            }
        }
    }

    private var tooLarge: Progress {
        .failed(role == .trailers ? .trailersTooLarge : .headTooLarge)
    }

    /// The end of the section, or a folded line.
    private mutating func readOddLine(
        _ first: UInt8,
        _ line: UnsafeRawPointer,
        _ count: Int,
        into map: HeaderMap
    ) -> WireLine {
        switch first {
        case 0x0D:
            guard count > 1 else { return .incomplete }
            guard line.load(fromByteOffset: 1, as: UInt8.self) == 0x0A else {
                return .fault(.bareCarriageReturn)
            }
            return .field(length: 2, known: KnownHeader.count)
        case 0x0A:
            guard leniency.contains(.bareLineFeed) else { return .fault(.bareLineFeed) }
            return .field(length: 1, known: KnownHeader.count)
        case 0x20, 0x09:
            guard let end = memchr(line, 0x0A, count) else { return .incomplete }
            // Before the first field there is nothing to continue (RFC 9112 §2.2).
            guard leniency.contains(.foldedLines), fieldCount > 0 else {
                return .fault(.foldedLine)
            }
            let length = UnsafeRawPointer(end) - line + 1
            var text = Bytes(start: line, count: length - 1)
            if text.last == 0x0D {
                text = Bytes(rebasing: text.dropLast())
            } else if !leniency.contains(.bareLineFeed) {
                return .fault(.bareLineFeed)
            }
            if text.contains(where: { ($0 < 0x20 && $0 != 0x09) || $0 == 0x7F }) {
                return .fault(.fieldValue)
            }
            text = Bytes(rebasing: text.drop { $0 == 0x20 || $0 == 0x09 })
            map.extendLastValue(text)
            return .field(length: length, known: KnownHeader.count)
        default:
            return .fault(.fieldName)
        }
    }

    // MARK: Incomplete and faulty lines

    private mutating func incomplete(_ line: UnsafeRawPointer, _ count: Int) -> Progress {
        scanned = count
        if !isStartLineRead, !isPlausibleStart(line, count) { return .failed(.startLine) }
        return byteCount + count > bytesMax ? tooLarge : .needsMore
    }

    /// A fault counts once its line has ended, and only within the limit: so the answer does not
    /// depend on how the bytes were split on their way.
    private mutating func failed(
        _ fault: HTTP1Fault,
        _ line: UnsafeRawPointer,
        _ count: Int
    ) -> Progress {
        if !isStartLineRead, !isPlausibleStart(line, count) { return .failed(.startLine) }
        let room = bytesMax - byteCount
        if let end = memchr(line, 0x0A, count) {
            return UnsafeRawPointer(end) - line < room ? .failed(fault) : tooLarge
        }
        return incomplete(line, count)
    }

    /// Whether the first bytes can be those of a start line: lets us refuse garbage, TLS for
    /// instance, that may never have a line end.
    private func isPlausibleStart(_ line: UnsafeRawPointer, _ count: Int) -> Bool {
        if role == .response {
            let wanted: StaticString = "HTTP/1."
            let length = min(count, wanted.utf8CodeUnitCount)
            return memcmp(line, wanted.utf8Start, length) == 0
        }
        for at in 0..<min(count, HTTP1Method.lengthMax) {
            let byte = line.load(fromByteOffset: at, as: UInt8.self)
            if byte == 0x20 { return at > 0 }
            if byte == 0x09, leniency.contains(.requestLineSpace) { return at > 0 }
            if HTTP1Tables.token[byte] == 0 { return false }
        }
        return count < HTTP1Method.lengthMax
    }

    // MARK: Start lines

    private mutating func readStartLine(
        _ line: UnsafeRawPointer,
        _ count: Int,
        into map: HeaderMap
    ) -> WireLine {
        guard role == .request else { return readStatusLine(line, count, into: map) }
        let result = readRequestLine(line, count, into: map)
        if leniency.contains(.requestLineSpace), case .fault = result {
            return readLooseRequestLine(line, count, into: map) ?? result
        }
        return result
    }

    /// Reads the line with every run of white space made one space, and none at its end.
    private mutating func readLooseRequestLine(
        _ line: UnsafeRawPointer,
        _ count: Int,
        into map: HeaderMap
    ) -> WireLine? {
        guard let end = memchr(line, 0x0A, count) else { return nil }
        let length = UnsafeRawPointer(end) - line + 1
        let isSpace: (UInt8) -> Bool = { $0 == 0x20 || $0 == 0x09 }
        return withUnsafeTemporaryAllocation(byteCount: length, alignment: 1) { tidy in
            var used = 0
            for at in 0..<length {
                let byte = line.load(fromByteOffset: at, as: UInt8.self)
                if isSpace(byte), used > 0, tidy[used - 1] == 0x20 { continue }
                if byte == 0x0D || byte == 0x0A, used > 0, tidy[used - 1] == 0x20 { used -= 1 }
                tidy[used] = isSpace(byte) ? 0x20 : byte
                used += 1
            }
            guard let base = tidy.baseAddress,
                case .field = readRequestLine(base, used, into: map)
            else { return nil }
            return .field(length: length, known: KnownHeader.count)
        }
    }

    /// `method SP request-target SP HTTP-version` (RFC 9112 §3).
    private mutating func readRequestLine(
        _ line: UnsafeRawPointer,
        _ count: Int,
        into map: HeaderMap
    ) -> WireLine {
        let methodLength: Int
        if count >= 8, let quick = HTTP1Method.quick(line.loadUnaligned(as: UInt64.self)) {
            method = quick.method
            methodLength = quick.length
        } else {
            guard let space = memchr(line, 0x20, min(count, HTTP1Method.lengthMax)) else {
                return count < HTTP1Method.lengthMax ? .incomplete : .fault(.startLine)
            }
            methodLength = UnsafeRawPointer(space) - line
            let name = Bytes(start: line, count: methodLength)
            guard let found = HTTP1Method(name, allowsAny: allowsAnyMethod) else {
                return .fault(.method)
            }
            method = found
        }

        // The target ends at the first byte that is not visible ASCII.
        let targetOffset = methodLength + 1
        var at = targetOffset
        while at &+ 8 <= count {
            let marks = WordScan.notVisible(line.loadUnaligned(fromByteOffset: at, as: UInt64.self))
            if marks != 0 {
                at &+= marks.trailingZeroBitCount >> 3
                break
            }
            at &+= 8
        }
        while at < count, case let byte = line.load(fromByteOffset: at, as: UInt8.self),
            byte > 0x20, byte < 0x7F
        { at &+= 1 }
        guard at < count else { return .incomplete }
        let targetLength = at - targetOffset
        let stop = line.load(fromByteOffset: at, as: UInt8.self)
        guard stop == 0x20, targetLength > 0 else {
            // A line without version is HTTP/0.9.
            if stop == 0x0D || stop == 0x0A {
                let first = line.load(fromByteOffset: targetOffset, as: UInt8.self)
                return .fault(first == 0x2F ? .lowVersion : .target)
            }
            return .fault(stop < 0x20 || stop == 0x7F ? .fieldValue : .target)
        }

        // " HTTP/1.1" and the line end.
        at &+= 1
        guard count &- at >= 9 else {
            return memchr(line + at, 0x0A, count - at) == nil ? .incomplete : .fault(.version)
        }
        switch line.loadUnaligned(fromByteOffset: at, as: UInt64.self) {
        case 0x312E_312F_5054_5448: version = .http11
        case 0x302E_312F_5054_5448: version = .http10
        case let word: return .fault(Self.isVersion(word) ? .lowVersion : .version)
        }
        at &+= 8
        switch line.load(fromByteOffset: at, as: UInt8.self) {
        case 0x0D:
            guard at &+ 1 < count else { return .incomplete }
            guard line.load(fromByteOffset: at &+ 1, as: UInt8.self) == 0x0A else {
                return .fault(.version)
            }
            at &+= 2
        case 0x0A:
            guard leniency.contains(.bareLineFeed) else { return .fault(.bareLineFeed) }
            at &+= 1
        default:
            return .fault(.version)
        }
        map.appendKnown(.method, line, methodLength)
        map.appendKnown(.path, line + targetOffset, targetLength)
        targetForm = HTTP1Target(first: line.load(fromByteOffset: targetOffset, as: UInt8.self))
        return .field(length: at, known: KnownHeader.count)
    }

    /// Whether the eight bytes are `HTTP/`, a digit, a dot and a digit.
    private static func isVersion(_ word: UInt64) -> Bool {
        let isDigit: (UInt64) -> Bool = { ($0 & 0xFF) &- 0x30 < 10 }
        return word & 0xFF_FFFF_FFFF == 0x2F_5054_5448 && isDigit(word >> 40)
            && (word >> 48) & 0xFF == 0x2E && isDigit(word >> 56)
    }

    /// `HTTP-version SP status-code SP [reason]` (RFC 9112 §4); the last space may be missing, as
    /// many servers have it.
    private mutating func readStatusLine(
        _ line: UnsafeRawPointer,
        _ count: Int,
        into map: HeaderMap
    ) -> WireLine {
        if memchr(line, 0x0A, min(count, 12)) != nil { return .fault(.startLine) }
        guard count >= 13 else { return .incomplete }
        switch line.loadUnaligned(as: UInt64.self) {
        case 0x312E_312F_5054_5448: version = .http11
        case 0x302E_312F_5054_5448: version = .http10
        default: return .fault(.version)
        }
        guard line.load(fromByteOffset: 8, as: UInt8.self) == 0x20 else {
            return .fault(.startLine)
        }
        var code = 0
        for at in 9..<12 {
            let digit = line.load(fromByteOffset: at, as: UInt8.self) &- 0x30
            guard digit < 10 else { return .fault(.status) }
            code = code * 10 + Int(digit)
        }
        guard code >= 100, code < 600 else { return .fault(.status) }
        let after = line.load(fromByteOffset: 12, as: UInt8.self)
        guard after == 0x20 || after == 0x0D || after == 0x0A else { return .fault(.status) }
        var at = 12
        while at < count, case let byte = line.load(fromByteOffset: at, as: UInt8.self),
            byte >= 0x20 && byte != 0x7F || byte == 0x09
        { at &+= 1 }
        guard at < count else { return .incomplete }
        switch line.load(fromByteOffset: at, as: UInt8.self) {
        case 0x0D:
            guard at + 1 < count else { return .incomplete }
            guard line.load(fromByteOffset: at + 1, as: UInt8.self) == 0x0A else {
                return .fault(.bareCarriageReturn)
            }
            at += 2
        case 0x0A:
            guard leniency.contains(.bareLineFeed) else { return .fault(.bareLineFeed) }
            at += 1
        default: return .fault(.startLine)
        }
        status = code
        map.appendKnown(.status, line + 9, 3)
        return .field(length: at, known: KnownHeader.count)
    }
}
