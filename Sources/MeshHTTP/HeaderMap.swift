import Glibc
import MeshNet

/// The fields of one message head (or trailer section), in order, names in lower case.
///
/// Pseudo-headers are fields too, so that matchers and formatters need no special case; `Host` is
/// kept as `:authority`. Everything lives in one arena that a stream recycles, so a request allocates
/// nothing here. Values read out are borrowed: valid until the next mutation of the map.
///
/// A field lies in the arena as HTTP/1 writes it (`name: value`, CR, LF), so that fields which nobody
/// touched are copied from wire to wire in runs. Every value is followed by its CR LF, always.
package final class HeaderMap {
    struct Entry {
        var nameOffset: UInt32
        var valueOffset: UInt32
        var valueLength: UInt32
        var nameLength: UInt16
        /// A ``KnownHeader``, or `KnownHeader.count`.
        var known: UInt8
        var isRemoved: Bool
        /// The name as the peer wrote it, same length; 0 where it was not kept.
        var originalNameOffset: UInt32
    }

    // Not private: the wire codec of this module reads and fills them (HeaderMap+Wire.swift).
    var arena: UnsafeMutableRawPointer
    var arenaUsed = 0
    /// Usable bytes; ``slack`` more are allocated, so that copies may run over by a word or two.
    var arenaCapacity: Int
    var entries: UnsafeMutablePointer<Entry>
    var entryCount = 0
    var entryCapacity: Int
    /// For each known header the index of its first live entry, or `none`.
    var firstKnown: UnsafeMutablePointer<UInt16>

    // Tables at hand: a global's look-up would ask each time whether it exists already.
    let tokenTable = HTTP1Tables.token.base
    let knownTable = KnownHeaderTable.shared

    static var none: UInt16 { .max }
    static var slack: Int { 16 }
    /// Longest field name that an entry can describe; codecs refuse longer ones.
    static var nameLengthMax: Int { Int(UInt16.max) }
    /// A usual request head and what the proxy adds to it.
    private static let arenaCapacityMin = 1536
    private static let entryCapacityMin = 32

    /// Live fields, pseudo-headers included.
    package internal(set) var count = 0
    /// Bytes of all live names and values.
    package internal(set) var byteSize = 0

    package init() {
        arenaCapacity = Self.arenaCapacityMin
        entryCapacity = Self.entryCapacityMin
        arena = Self.allocateArena(arenaCapacity)
        entries = .allocate(capacity: entryCapacity)
        firstKnown = .allocate(capacity: Int(KnownHeader.count))
        firstKnown.initialize(repeating: Self.none, count: Int(KnownHeader.count))
    }

    deinit {
        arena.deallocate()
        entries.deallocate()
        firstKnown.deallocate()
    }

    /// Forgets all fields; keeps the storage unless an unusual message made it large.
    package func removeAll() {
        for at in 0..<entryCount {
            let known = entries[at].known
            if known < KnownHeader.count { firstKnown[Int(known)] = Self.none }
        }
        entryCount = 0
        arenaUsed = 0
        count = 0
        byteSize = 0
        if arenaCapacity > Self.arenaCapacityMin * 8 {
            arena.deallocate()
            arenaCapacity = Self.arenaCapacityMin
            arena = Self.allocateArena(arenaCapacity)
        }
    }

    /// Exchanges the contents of two maps; copies no field.
    package func swap(with other: HeaderMap) {
        Swift.swap(&arena, &other.arena)
        Swift.swap(&arenaUsed, &other.arenaUsed)
        Swift.swap(&arenaCapacity, &other.arenaCapacity)
        Swift.swap(&entries, &other.entries)
        Swift.swap(&entryCount, &other.entryCount)
        Swift.swap(&entryCapacity, &other.entryCapacity)
        Swift.swap(&firstKnown, &other.firstKnown)
        Swift.swap(&count, &other.count)
        Swift.swap(&byteSize, &other.byteSize)
    }

    // MARK: Reading

    /// The first value of the field, or nil where there is none.
    package subscript(_ header: KnownHeader) -> Bytes? {
        let at = firstKnown[Int(header.rawValue)]
        return at == Self.none ? nil : value(Int(at))
    }

    package func contains(_ header: KnownHeader) -> Bool {
        firstKnown[Int(header.rawValue)] != Self.none
    }

    package func first(_ name: HeaderName) -> Bytes? {
        if let known = name.known { return self[known] }
        var text = name.text
        return text.withUTF8 { wanted in
            for at in 0..<entryCount where matches(at, Bytes(wanted)) { return value(at) }
            return nil
        }
    }

    package func first(_ name: Bytes) -> Bytes? {
        let known = KnownHeader.index(of: name)
        if known < KnownHeader.count {
            let at = firstKnown[Int(known)]
            return at == Self.none ? nil : value(Int(at))
        }
        for at in 0..<entryCount where matches(at, name) { return value(at) }
        return nil
    }

    /// How many fields have this name.
    package func occurrences(_ header: KnownHeader) -> Int {
        let first = firstKnown[Int(header.rawValue)]
        guard first != Self.none else { return 0 }
        var found = 0
        for at in Int(first)..<entryCount
        where entries[at].known == header.rawValue && !entries[at].isRemoved { found += 1 }
        return found
    }

    /// Calls `body` with each value of the field, in order.
    package func forEachValue(_ name: HeaderName, _ body: (Bytes) -> Void) {
        var text = name.text
        text.withUTF8 { wanted in
            for at in 0..<entryCount where matches(at, Bytes(wanted)) { body(value(at)) }
        }
    }

    package func forEachValue(_ header: KnownHeader, _ body: (Bytes) -> Void) {
        let first = firstKnown[Int(header.rawValue)]
        guard first != Self.none else { return }
        for at in Int(first)..<entryCount
        where entries[at].known == header.rawValue && !entries[at].isRemoved { body(value(at)) }
    }

    /// Calls `body` with each live field, in order. The map must not be mutated meanwhile.
    package func forEach(_ body: (_ name: Bytes, _ value: Bytes) -> Void) {
        for at in 0..<entryCount where !entries[at].isRemoved { body(name(at), value(at)) }
    }

    /// As ``forEach(_:)``, with the known header where it is one, and the name as the peer wrote it
    /// where that was kept.
    package func forEachField(
        _ body: (_ known: KnownHeader?, _ name: Bytes, _ original: Bytes?, _ value: Bytes) -> Void
    ) {
        for at in 0..<entryCount where !entries[at].isRemoved {
            let entry = entries[at]
            let original =
                entry.originalNameOffset == 0
                ? nil
                : Bytes(start: arena + Int(entry.originalNameOffset), count: Int(entry.nameLength))
            body(KnownHeader(rawValue: entry.known), name(at), original, value(at))
        }
    }

    /// The value as text; for cold paths.
    package func string(_ header: KnownHeader) -> String? { self[header].map { String(bytes: $0) } }

    package func string(_ name: HeaderName) -> String? { first(name).map { String(bytes: $0) } }

    /// All values joined with a comma, as Envoy's header matchers see a repeated field.
    package func joined(_ name: HeaderName) -> String? {
        var result: String?
        forEachValue(name) { value in
            let text = String(bytes: value)
            result = result.map { $0 + "," + text } ?? text
        }
        return result
    }

    // MARK: Entries

    func name(_ at: Int) -> Bytes {
        Bytes(start: arena + Int(entries[at].nameOffset), count: Int(entries[at].nameLength))
    }

    func value(_ at: Int) -> Bytes {
        Bytes(start: arena + Int(entries[at].valueOffset), count: Int(entries[at].valueLength))
    }

    func matches(_ at: Int, _ wanted: Bytes) -> Bool {
        !entries[at].isRemoved && Int(entries[at].nameLength) == wanted.count
            && name(at).equals(wanted)
    }
}
