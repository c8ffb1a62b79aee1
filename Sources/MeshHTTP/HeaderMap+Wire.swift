import Glibc
import MeshNet

/// One line of an HTTP/1 field section, as ``HeaderMap/readField(_:_:leniency:keepingCase:)`` found it.
enum WireLine {
    /// A field was appended; its line had so many bytes.
    case field(length: Int, known: UInt8)
    /// The line does not end within the bytes at hand.
    case incomplete
    case fault(HTTP1Fault)
}

extension HeaderMap {
    /// Parses, validates, lower-cases and copies one field line in one pass over its bytes.
    ///
    /// The caller has seen that the line begins with neither CR, LF nor white space. On anything but
    /// `.field` the map's fields are as before.
    func readField(
        _ line: UnsafeRawPointer,
        _ count: Int,
        leniency: HTTP1Leniency,
        keepingCase: Bool
    ) -> WireLine {
        // Nothing below grows the arena: the line fits as it is, twice where its name is kept, and 32
        // more bytes take a longer rewritten name, separators and the overrun of the last word.
        let times = keepingCase ? 2 : 1
        if arenaCapacity &- arenaUsed < count &* times &+ 32 {
            guard let end = memchr(line, 0x0A, count) else { return .incomplete }
            let size = (UnsafeRawPointer(end) - line) &* times &+ 32
            if arenaCapacity &- arenaUsed < size { growArena(size) }
        }
        let arena = arena
        var target = arenaUsed
        var original = 0
        if keepingCase, let colon = memchr(line, 0x3A, count) {
            // Offset 0 means "not kept", so nothing kept may lie there.
            original = max(target, 1)
            memcpy(arena + original, line, UnsafeRawPointer(colon) - line)
            target = original &+ (UnsafeRawPointer(colon) - line)
        }

        // The name: a table look-up lower-cases and validates each byte.
        let nameOffset = target
        let table = tokenTable
        var at = 0
        while at < count {
            let lower = table[Int(line.load(fromByteOffset: at, as: UInt8.self))]
            if lower == 0 { break }
            arena.storeBytes(of: lower, toByteOffset: target, as: UInt8.self)
            target &+= 1
            at &+= 1
        }
        guard at < count else { return .incomplete }
        let end = line.load(fromByteOffset: at, as: UInt8.self)
        guard end == 0x3A, at > 0 else {
            let isControl = end < 0x20 && end != 0x09 && end != 0x0A && end != 0x0D || end == 0x7F
            return .fault(isControl ? .fieldValue : .fieldName)
        }
        guard at <= Self.nameLengthMax else { return .fault(.headTooLarge) }
        at &+= 1
        var known = knownTable.find(arena + nameOffset, target &- nameOffset)
        if known == KnownHeader.host.rawValue {
            known = KnownHeader.authority.rawValue
            // ":authority", ten bytes.
            arena.storeBytes(of: 0x6972_6F68_7475_613A, toByteOffset: nameOffset, as: UInt64.self)
            arena.storeBytes(of: 0x7974, toByteOffset: nameOffset &+ 8, as: UInt16.self)
            target = nameOffset &+ 10
            original = 0
        }
        let nameLength = target &- nameOffset
        arena.storeBytes(of: 0x203A, toByteOffset: target, as: UInt16.self)
        target &+= 2

        // Leading white space.
        while at < count {
            let byte = line.load(fromByteOffset: at, as: UInt8.self)
            if byte != 0x20 && byte != 0x09 { break }
            at &+= 1
        }

        // The value: copied word by word up to the first control character but TAB.
        let valueOffset = target
        var stop: UInt8 = 0
        scan: while true {
            while at &+ 8 <= count {
                let word = line.loadUnaligned(fromByteOffset: at, as: UInt64.self)
                arena.storeBytes(of: word, toByteOffset: target, as: UInt64.self)
                let marks = WordScan.controls(word)
                if marks == 0 {
                    at &+= 8
                    target &+= 8
                    continue
                }
                let clean = marks.trailingZeroBitCount >> 3
                at &+= clean
                target &+= clean
                stop = line.load(fromByteOffset: at, as: UInt8.self)
                if stop != 0x09 { break scan }
                at &+= 1
                target &+= 1
            }
            while at < count {
                stop = line.load(fromByteOffset: at, as: UInt8.self)
                if (stop < 0x20 && stop != 0x09) || stop == 0x7F { break scan }
                arena.storeBytes(of: stop, toByteOffset: target, as: UInt8.self)
                at &+= 1
                target &+= 1
            }
            return .incomplete
        }

        // The line's end.
        if stop == 0x0D {
            guard at &+ 1 < count else { return .incomplete }
            guard line.load(fromByteOffset: at &+ 1, as: UInt8.self) == 0x0A else {
                return .fault(.bareCarriageReturn)
            }
            at &+= 2
        } else if stop == 0x0A {
            guard leniency.contains(.bareLineFeed) else { return .fault(.bareLineFeed) }
            at &+= 1
        } else {
            return .fault(.fieldValue)
        }

        target = trimmed(from: valueOffset, to: target)
        storeLineEnd(target)
        arenaUsed = target &+ 2
        addEntry(
            nameOffset: nameOffset,
            nameLength: nameLength,
            original: original,
            valueOffset: valueOffset,
            valueLength: target &- valueOffset,
            known: known
        )
        return .field(length: at, known: known)
    }

    /// Appends a field whose name is known, from the wire.
    func appendKnown(_ header: KnownHeader, _ value: UnsafeRawPointer, _ count: Int) {
        let name = header.name
        let nameLength = name.utf8CodeUnitCount
        if arenaCapacity &- arenaUsed < nameLength &+ count &+ 4 {
            growArena(nameLength + count + 4)
        }
        let nameOffset = arenaUsed
        memcpy(arena + nameOffset, name.utf8Start, nameLength)
        arena.storeBytes(of: 0x203A, toByteOffset: nameOffset &+ nameLength, as: UInt16.self)
        let valueOffset = nameOffset &+ nameLength &+ 2
        memcpy(arena + valueOffset, value, count)
        storeLineEnd(valueOffset &+ count)
        arenaUsed = valueOffset &+ count &+ 2
        addEntry(
            nameOffset: nameOffset,
            nameLength: nameLength,
            original: 0,
            valueOffset: valueOffset,
            valueLength: count,
            known: header.rawValue
        )
    }

    /// Joins a continuation line, its white space taken off, to the value of the last field, which has
    /// just been read (RFC 9112 §5.2).
    func extendLastValue(_ text: Bytes) {
        guard entryCount > 0 else { return }
        if arenaCapacity - arenaUsed < text.count + 32 { growArena(text.count + 32) }
        let last = entryCount - 1
        let valueOffset = Int(entries[last].valueOffset)
        var target = valueOffset + Int(entries[last].valueLength)
        arena.storeBytes(of: 0x20, toByteOffset: target, as: UInt8.self)
        target += 1
        if let base = text.baseAddress { memcpy(arena + target, base, text.count) }
        target = trimmed(from: valueOffset, to: target + text.count)
        byteSize += target - valueOffset - Int(entries[last].valueLength)
        entries[last].valueLength = UInt32(target - valueOffset)
        storeLineEnd(target)
        arenaUsed = target + 2
    }

    private func trimmed(from start: Int, to end: Int) -> Int {
        var end = end
        while end > start {
            let byte = arena.load(fromByteOffset: end &- 1, as: UInt8.self)
            if byte != 0x20 && byte != 0x09 { break }
            end &-= 1
        }
        return end
    }
}
