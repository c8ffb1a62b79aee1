import Glibc
import MeshNet

/// Reads one header or trailer section, field by field as HPACK yields them, into a map, and refuses
/// what RFC 9113 §8.2 and §8.3 refuse. After the first fault the rest is not looked at: it only keeps
/// the HPACK table in step.
struct HTTP2FieldSection {
    enum Kind: UInt8 { case request, response, trailers }

    private(set) var kind = Kind.request
    private(set) var fault: HTTP2Fault?
    /// Bits of the pseudo-headers seen.
    private(set) var pseudo: UInt8 = 0
    private(set) var contentLength: UInt64?
    private var hasRegular = false
    private var cookies = 0
    private let bytesMax: Int
    private let fieldsMax: Int
    /// Where the fields go. Nil where nobody wants them.
    private var target: Uncounted<HeaderMap>?

    init(_ settings: HTTP2Settings) {
        bytesMax = settings.headBytesMax
        fieldsMax = settings.fieldsMax
    }

    /// - Parameter map: outlives the section.
    mutating func begin(_ kind: Kind, into map: Uncounted<HeaderMap>) {
        self.kind = kind
        target = map
        fault = nil
        pseudo = 0
        contentLength = nil
        hasRegular = false
        cookies = 0
    }

    /// What follows is nobody's.
    mutating func end() { target = nil }

    func has(_ header: KnownHeader) -> Bool { pseudo & (1 << header.rawValue) != 0 }

    mutating func refuse(_ fault: HTTP2Fault) { self.fault = self.fault ?? fault }

    /// Pseudo-headers that each kind of section may have.
    private var allowedPseudo: UInt8 {
        switch kind {
        case .request:
            1 << KnownHeader.method.rawValue | 1 << KnownHeader.path.rawValue
                | 1 << KnownHeader.scheme.rawValue | 1 << KnownHeader.authority.rawValue
                | 1 << KnownHeader.protocol.rawValue
        case .response: 1 << KnownHeader.status.rawValue
        case .trailers: 0
        }
    }

    mutating func read(
        _ name: UnsafeRawPointer,
        _ nameLength: Int,
        _ value: UnsafeRawPointer,
        _ valueLength: Int
    ) {
        guard fault == nil, let target else { return }
        target.use { map in read(name, nameLength, value, valueLength, into: map) }
    }

    private mutating func read(
        _ name: UnsafeRawPointer,
        _ nameLength: Int,
        _ value: UnsafeRawPointer,
        _ valueLength: Int,
        into map: HeaderMap
    ) {
        guard nameLength > 0, nameLength <= HeaderMap.nameLengthMax else { return refuse(.field) }
        let known = map.knownTable.find(name, nameLength)
        if name.load(as: UInt8.self) == 0x3A {
            guard known <= KnownHeader.protocol.rawValue, !hasRegular else { return refuse(.field) }
            let bit = UInt8(1) << known
            guard allowedPseudo & bit != 0, pseudo & bit == 0 else { return refuse(.field) }
            pseudo |= bit
        } else {
            hasRegular = true
            if known <= KnownHeader.http2Settings.rawValue {
                let bytes = Bytes(start: value, count: valueLength)
                switch KnownHeader(rawValue: known) {
                case .connection, .transferEncoding, .upgrade, .keepAlive, .proxyConnection:
                    return refuse(.field)
                case .te:
                    guard kind == .request, bytes.equalsIgnoringCase("trailers") else {
                        return refuse(.field)
                    }
                case .host:
                    guard readHost(bytes, map) else { return }
                    return append(
                        KnownHeader.authority.name.utf8Start,
                        KnownHeader.authority.name.utf8CodeUnitCount,
                        value,
                        valueLength,
                        KnownHeader.authority.rawValue,
                        map
                    )
                case .contentLength:
                    guard contentLength == nil, let length = HTTP1Framing.length(bytes) else {
                        return refuse(.field)
                    }
                    contentLength = length
                default: break
                }
            }
        }
        append(name, nameLength, value, valueLength, known, map)
    }

    private mutating func append(
        _ name: UnsafeRawPointer,
        _ nameLength: Int,
        _ value: UnsafeRawPointer,
        _ valueLength: Int,
        _ known: UInt8,
        _ map: HeaderMap
    ) {
        if known == KnownHeader.cookie.rawValue { cookies += 1 }
        guard map.byteSize + nameLength + valueLength <= bytesMax else {
            return refuse(.headTooLarge)
        }
        guard map.entryCount < HTTP2Settings.entriesMax,
            map.count - max(0, cookies - 1) < fieldsMax
        else { return refuse(.tooManyFields) }
        guard map.appendWire(name, nameLength, value, valueLength, known: known) else {
            return refuse(.field)
        }
    }

    /// Host beside `:authority` must name the same; alone it takes its place (RFC 9113 §8.3.1). Returns
    /// whether it is to be stored.
    private mutating func readHost(_ value: Bytes, _ map: HeaderMap) -> Bool {
        guard kind == .request else { return false }
        guard let authority = map[.authority] else { return true }
        let isSame =
            authority.count == value.count
            && zip(authority, value).allSatisfy { HTTP1Tables.lower($0) == HTTP1Tables.lower($1) }
        if !isSame { refuse(.message) }
        return false
    }

    /// Joins the crumbs into which HTTP/2 may cut a cookie (RFC 9113 §8.2.3).
    func joinCookies(_ map: HeaderMap) {
        guard cookies > 1 else { return }
        var size = 0
        map.forEachValue(.cookie) { size += $0.count + 2 }
        withUnsafeTemporaryAllocation(byteCount: size, alignment: 1) { joined in
            var at = 0
            map.forEachValue(.cookie) { crumb in
                if at > 0 {
                    joined[at] = 0x3B
                    joined[at + 1] = 0x20
                    at += 2
                }
                UnsafeMutableRawBufferPointer(rebasing: joined[at...]).copyMemory(from: crumb)
                at += crumb.count
            }
            map.set(.cookie, Bytes(rebasing: joined[..<at]))
        }
    }
}

extension HTTP1Tables {
    static func lower(_ byte: UInt8) -> UInt8 { byte &- 0x41 < 26 ? byte | 0x20 : byte }
}

extension HeaderMap {
    /// Appends one field as it came over HTTP/2; false where a byte of it may not be there. Names are in
    /// lower case on this wire (RFC 9113 §8.2.1), and a known one need not be looked at again. White
    /// space around the value is taken off, as HTTP/1 does: Envoy lets it pass.
    func appendWire(
        _ name: UnsafeRawPointer,
        _ nameLength: Int,
        _ value: UnsafeRawPointer,
        _ valueLength: Int,
        known: UInt8
    ) -> Bool {
        var value = value
        var valueLength = valueLength
        while valueLength > 0, Self.isBlank(value.load(as: UInt8.self)) {
            value += 1
            valueLength &-= 1
        }
        while valueLength > 0,
            Self.isBlank(value.load(fromByteOffset: valueLength &- 1, as: UInt8.self))
        { valueLength &-= 1 }
        // Separator, line end, and the overrun of the last word.
        let size = nameLength &+ valueLength &+ 32
        if arenaCapacity &- arenaUsed < size { growArena(size) }
        let arena = arena
        let nameOffset = arenaUsed
        if known < KnownHeader.count {
            Self.copyName(arena + nameOffset, name, nameLength)
        } else {
            let table = tokenTable
            for at in 0..<nameLength {
                let byte = name.load(fromByteOffset: at, as: UInt8.self)
                // An upper-case letter differs from its entry; what no token has differs from 0.
                guard byte != 0, table[Int(byte)] == byte else { return false }
                arena.storeBytes(of: byte, toByteOffset: nameOffset &+ at, as: UInt8.self)
            }
        }
        arena.storeBytes(of: 0x203A, toByteOffset: nameOffset &+ nameLength, as: UInt16.self)
        let valueOffset = nameOffset &+ nameLength &+ 2
        if valueLength >= 8 {
            // Words, the last of them overlapping the one before.
            var at = 0
            while true {
                let word = value.loadUnaligned(fromByteOffset: at, as: UInt64.self)
                if WordScan.controls(word) != 0, Self.hasControl(value + at, 8) { return false }
                arena.storeBytes(of: word, toByteOffset: valueOffset &+ at, as: UInt64.self)
                at &+= 8
                if at >= valueLength { break }
                at = min(at, valueLength &- 8)
            }
        } else if valueLength >= 4 {
            let first = value.loadUnaligned(as: UInt32.self)
            let last = value.loadUnaligned(fromByteOffset: valueLength &- 4, as: UInt32.self)
            if WordScan.controls(UInt64(first) | UInt64(last) << 32) != 0,
                Self.hasControl(value, valueLength)
            {
                return false
            }
            arena.storeBytes(of: first, toByteOffset: valueOffset, as: UInt32.self)
            arena.storeBytes(
                of: last,
                toByteOffset: valueOffset &+ valueLength &- 4,
                as: UInt32.self
            )
        } else {
            if Self.hasControl(value, valueLength) { return false }
            for at in 0..<valueLength {
                let byte = value.load(fromByteOffset: at, as: UInt8.self)
                arena.storeBytes(of: byte, toByteOffset: valueOffset &+ at, as: UInt8.self)
            }
        }
        storeLineEnd(valueOffset &+ valueLength)
        arenaUsed = valueOffset &+ valueLength &+ 2
        addEntry(
            nameOffset: nameOffset,
            nameLength: nameLength,
            original: 0,
            valueOffset: valueOffset,
            valueLength: valueLength,
            known: known
        )
        return true
    }

    /// Most names are shorter than what a call of memcpy pays for.
    @inline(__always)
    private static func copyName(
        _ target: UnsafeMutableRawPointer,
        _ name: UnsafeRawPointer,
        _ length: Int
    ) {
        guard length >= 4, length <= 16 else {
            memcpy(target, name, length)
            return
        }
        // Two words that overlap.
        if length >= 8 {
            let last = length &- 8
            let word = name.loadUnaligned(fromByteOffset: last, as: UInt64.self)
            target.storeBytes(of: name.loadUnaligned(as: UInt64.self), as: UInt64.self)
            target.storeBytes(of: word, toByteOffset: last, as: UInt64.self)
        } else {
            let last = length &- 4
            let word = name.loadUnaligned(fromByteOffset: last, as: UInt32.self)
            target.storeBytes(of: name.loadUnaligned(as: UInt32.self), as: UInt32.self)
            target.storeBytes(of: word, toByteOffset: last, as: UInt32.self)
        }
    }

    @inline(__always)
    private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

    /// A control character other than TAB.
    private static func hasControl(_ bytes: UnsafeRawPointer, _ count: Int) -> Bool {
        for at in 0..<count {
            let byte = bytes.load(fromByteOffset: at, as: UInt8.self)
            if byte < 0x20 && byte != 0x09 || byte == 0x7F { return true }
        }
        return false
    }
}
