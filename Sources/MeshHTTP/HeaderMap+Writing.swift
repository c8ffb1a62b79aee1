import Glibc
import MeshNet

/// Changing a map. Names are lower-cased on the way in; values may point into this very map.
extension HeaderMap {
    package func append(_ header: KnownHeader, _ value: Bytes) {
        let name = header.name
        insert(
            Bytes(start: name.utf8Start, count: name.utf8CodeUnitCount),
            value,
            known: header.rawValue
        )
    }

    package func append(_ header: KnownHeader, _ value: StaticString) {
        append(header, Bytes(start: value.utf8Start, count: value.utf8CodeUnitCount))
    }

    package func append(_ header: KnownHeader, _ value: String) {
        var value = value
        value.withUTF8 { append(header, Bytes($0)) }
    }

    package func append(_ name: HeaderName, _ value: Bytes) {
        var text = name.text
        text.withUTF8 {
            insert(Bytes($0), value, known: name.known?.rawValue ?? KnownHeader.count)
        }
    }

    package func append(_ name: HeaderName, _ value: String) {
        var value = value
        value.withUTF8 { append(name, Bytes($0)) }
    }

    /// Appends a field as it came over the wire. The name must be a non-empty token.
    ///
    /// - Parameter keepingCase: also keep the peer's spelling (envoy: preserve_case).
    package func append(wireName: Bytes, value: Bytes, keepingCase: Bool = false) {
        precondition(wireName.count <= Self.nameLengthMax, "header map: field name too long")
        withStable(value, reserving: wireName.count * 2 + value.count + 16) { value in
            var originalOffset = 0
            if keepingCase {
                // Offset 0 means "not kept", so nothing kept may lie there.
                if arenaUsed == 0 { arenaUsed = 1 }
                originalOffset = arenaUsed
                store(wireName)
            }
            let nameOffset = arenaUsed
            for byte in wireName {
                let isUpper = byte &- 0x41 < 26
                arena.storeBytes(
                    of: isUpper ? byte | 0x20 : byte,
                    toByteOffset: arenaUsed,
                    as: UInt8.self
                )
                arenaUsed += 1
            }
            var known = KnownHeader.index(
                of: Bytes(start: arena + nameOffset, count: arenaUsed - nameOffset)
            )
            if known == KnownHeader.host.rawValue {
                arenaUsed = nameOffset
                known = KnownHeader.authority.rawValue
                originalOffset = 0
                store(KnownHeader.authority.name)
            }
            add(
                nameOffset: nameOffset,
                nameLength: arenaUsed - nameOffset,
                original: originalOffset,
                value,
                known: known
            )
        }
    }

    package func set(_ header: KnownHeader, _ value: Bytes) {
        // The common case replaces in place: the field keeps its position.
        let at = firstKnown[Int(header.rawValue)]
        guard at != Self.none else { return append(header, value) }
        if occurrences(header) > 1 { removeAllButFirst(header) }
        replaceValue(Int(at), value)
    }

    package func set(_ header: KnownHeader, _ value: StaticString) {
        set(header, Bytes(start: value.utf8Start, count: value.utf8CodeUnitCount))
    }

    package func set(_ header: KnownHeader, _ value: String) {
        var value = value
        value.withUTF8 { set(header, Bytes($0)) }
    }

    package func set(_ header: KnownHeader, decimal value: Int) {
        withUnsafeTemporaryAllocation(byteCount: 20, alignment: 1) { scratch in
            var rest = value.magnitude
            var at = 20
            repeat {
                at &-= 1
                scratch[at] = 0x30 &+ UInt8(truncatingIfNeeded: rest % 10)
                rest /= 10
            } while rest > 0
            set(header, Bytes(rebasing: scratch[at...]))
        }
    }

    /// Replaces all fields of this name by one at the end of the map.
    package func set(_ name: HeaderName, _ value: Bytes) {
        if let known = name.known { return set(known, value) }
        withCopy(of: value) { copy in
            remove(name)
            append(name, copy)
        }
    }

    package func set(_ name: HeaderName, _ value: String) {
        var value = value
        value.withUTF8 { set(name, Bytes($0)) }
    }

    /// Removes all fields of this name; says whether there were any.
    @discardableResult
    package func remove(_ header: KnownHeader) -> Bool {
        let first = firstKnown[Int(header.rawValue)]
        guard first != Self.none else { return false }
        for at in Int(first)..<entryCount
        where entries[at].known == header.rawValue && !entries[at].isRemoved { tombstone(at) }
        firstKnown[Int(header.rawValue)] = Self.none
        return true
    }

    @discardableResult
    package func remove(_ name: HeaderName) -> Bool {
        if let known = name.known { return remove(known) }
        var text = name.text
        return text.withUTF8 { wanted in
            var removed = false
            for at in 0..<entryCount where matches(at, Bytes(wanted)) {
                tombstone(at)
                removed = true
            }
            return removed
        }
    }

    /// Removes all fields of this name, which must be in lower case.
    @discardableResult
    package func remove(_ name: Bytes) -> Bool {
        let known = KnownHeader.index(of: name)
        if let header = KnownHeader(rawValue: known) { return remove(header) }
        var removed = false
        for at in 0..<entryCount where matches(at, name) {
            tombstone(at)
            removed = true
        }
        return removed
    }

    /// Removes every field the predicate accepts.
    package func remove(where isUnwanted: (_ name: Bytes, _ value: Bytes) -> Bool) {
        for at in 0..<entryCount where !entries[at].isRemoved && isUnwanted(name(at), value(at)) {
            tombstone(at)
            let known = entries[at].known
            if known < KnownHeader.count, firstKnown[Int(known)] == UInt16(at) {
                firstKnown[Int(known)] = Self.none
                for next in (at + 1)..<max(entryCount, at + 1)
                where entries[next].known == known && !entries[next].isRemoved {
                    firstKnown[Int(known)] = UInt16(next)
                    break
                }
            }
        }
    }

    /// Replaces this map's fields by a copy of another's.
    package func copy(from other: HeaderMap) {
        guard other !== self else { return }
        removeAll()
        if arenaCapacity < other.arenaUsed { growArena(other.arenaUsed) }
        while entryCapacity < other.entryCount { growEntries() }
        memcpy(arena, other.arena, other.arenaUsed)
        entries.update(from: other.entries, count: other.entryCount)
        firstKnown.update(from: other.firstKnown, count: Int(KnownHeader.count))
        arenaUsed = other.arenaUsed
        entryCount = other.entryCount
        count = other.count
        byteSize = other.byteSize
    }

    // MARK: Storage

    private func tombstone(_ at: Int) {
        entries[at].isRemoved = true
        count -= 1
        byteSize -= Int(entries[at].nameLength) + Int(entries[at].valueLength)
    }

    private func removeAllButFirst(_ header: KnownHeader) {
        let first = Int(firstKnown[Int(header.rawValue)])
        for at in (first + 1)..<entryCount
        where entries[at].known == header.rawValue && !entries[at].isRemoved { tombstone(at) }
    }

    private func replaceValue(_ at: Int, _ value: Bytes) {
        byteSize += value.count - Int(entries[at].valueLength)
        if value.count <= Int(entries[at].valueLength) {
            let target = Int(entries[at].valueOffset)
            if let base = value.baseAddress { memmove(arena + target, base, value.count) }
            entries[at].valueLength = UInt32(value.count)
            storeLineEnd(target + value.count)
        } else {
            withStable(value, reserving: value.count + 2) { value in
                entries[at].valueOffset = UInt32(arenaUsed)
                entries[at].valueLength = UInt32(value.count)
                store(value)
                storeLineEnd(arenaUsed)
                arenaUsed += 2
            }
        }
    }

    private func insert(_ name: Bytes, _ value: Bytes, known: UInt8) {
        precondition(name.count <= Self.nameLengthMax, "header map: field name too long")
        withStable(value, reserving: name.count + value.count + 4) { value in
            let nameOffset = arenaUsed
            store(name)
            add(nameOffset: nameOffset, nameLength: name.count, original: 0, value, known: known)
        }
    }

    /// Appends separator, value and line end after the name, and the entry. The room was reserved.
    private func add(
        nameOffset: Int,
        nameLength: Int,
        original: Int,
        _ value: Bytes,
        known: UInt8
    ) {
        arena.storeBytes(of: 0x203A, toByteOffset: arenaUsed, as: UInt16.self)
        arenaUsed += 2
        let valueOffset = arenaUsed
        store(value)
        storeLineEnd(arenaUsed)
        arenaUsed += 2
        addEntry(
            nameOffset: nameOffset,
            nameLength: nameLength,
            original: original,
            valueOffset: valueOffset,
            valueLength: value.count,
            known: known
        )
    }

    func addEntry(
        nameOffset: Int,
        nameLength: Int,
        original: Int,
        valueOffset: Int,
        valueLength: Int,
        known: UInt8
    ) {
        if entryCount == entryCapacity { growEntries() }
        (entries + entryCount).initialize(
            to: Entry(
                nameOffset: UInt32(truncatingIfNeeded: nameOffset),
                valueOffset: UInt32(truncatingIfNeeded: valueOffset),
                valueLength: UInt32(truncatingIfNeeded: valueLength),
                nameLength: UInt16(truncatingIfNeeded: nameLength),
                known: known,
                isRemoved: false,
                originalNameOffset: UInt32(truncatingIfNeeded: original)
            )
        )
        if known < KnownHeader.count, firstKnown[Int(known)] == Self.none {
            firstKnown[Int(known)] = UInt16(truncatingIfNeeded: entryCount)
        }
        entryCount &+= 1
        count &+= 1
        byteSize &+= nameLength &+ valueLength
    }

    /// CR LF, where every value ends.
    func storeLineEnd(_ offset: Int) {
        arena.storeBytes(of: 0x0A0D, toByteOffset: offset, as: UInt16.self)
    }

    /// Copies to the arena's end, where room was reserved.
    private func store(_ source: Bytes) {
        guard let base = source.baseAddress else { return }
        memmove(arena + arenaUsed, base, source.count)
        arenaUsed += source.count
    }

    private func store(_ text: StaticString) {
        store(Bytes(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// Grows the arena where it must, then calls `body` with the value where it now lies.
    private func withStable(_ value: Bytes, reserving size: Int, _ body: (Bytes) -> Void) {
        guard arenaCapacity - arenaUsed < size else { return body(value) }
        guard let base = value.baseAddress, base >= UnsafeRawPointer(arena),
            base < UnsafeRawPointer(arena + arenaCapacity)
        else {
            growArena(size)
            return body(value)
        }
        let inner = base - UnsafeRawPointer(arena)
        growArena(size)
        body(Bytes(start: UnsafeRawPointer(arena) + inner, count: value.count))
    }

    private func withCopy(of value: Bytes, _ body: (Bytes) -> Void) {
        withUnsafeTemporaryAllocation(byteCount: max(1, value.count), alignment: 1) { copy in
            copy.copyMemory(from: value)
            body(Bytes(rebasing: copy[..<value.count]))
        }
    }

    static func allocateArena(_ capacity: Int) -> UnsafeMutableRawPointer {
        .allocate(byteCount: capacity + slack, alignment: 16)
    }

    /// Makes room for `size` more bytes.
    func growArena(_ size: Int) {
        var wanted = arenaCapacity * 2
        while wanted - arenaUsed < size { wanted *= 2 }
        // Offsets are 32 bits wide; no limit a codec can be given comes near.
        precondition(wanted <= Int(UInt32.max), "header map: fields too large")
        let fresh = Self.allocateArena(wanted)
        memcpy(fresh, arena, arenaUsed)
        arena.deallocate()
        arena = fresh
        arenaCapacity = wanted
    }

    private func growEntries() {
        // Codecs limit the count of fields far below the 65,535 that the index can name.
        precondition(entryCapacity < 32_768, "header map: too many fields")
        let fresh = UnsafeMutablePointer<Entry>.allocate(capacity: entryCapacity * 2)
        fresh.moveInitialize(from: entries, count: entryCount)
        entries.deallocate()
        entries = fresh
        entryCapacity *= 2
    }
}
