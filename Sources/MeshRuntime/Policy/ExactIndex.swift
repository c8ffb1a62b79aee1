import Glibc
import MeshNet

/// Finds, for a text, the policies that only this very text can satisfy: a hash table that is built
/// once and then only read. A look-up allocates nothing.
struct ExactIndex {
    private struct Slot {
        var hash: UInt64 = 0
        var textStart: Int32 = 0
        var textLength: Int32 = -1
        var listStart: Int32 = 0
        var listCount: Int32 = 0
    }

    private var slots: [Slot] = []
    private var texts: [UInt8] = []
    /// Policy indices of all keys, ascending within each.
    private var lists: [Int32] = []

    var isEmpty: Bool { slots.isEmpty }

    /// Keys are bytes: `String` would take texts for equal that differ in their Unicode normal form.
    init(_ entries: [[UInt8]: [Int32]]) {
        guard !entries.isEmpty else { return }
        var size = 8
        while size < entries.count * 2 { size *= 2 }
        slots = Array(repeating: Slot(), count: size)
        // Sorted, so that equal configurations give equal tables.
        for (key, policies) in entries.sorted(by: {
            $0.key.lexicographicallyPrecedes($1.key)
        }) {
            let hash = key.withUnsafeBytes(Self.hash)
            var at = Int(truncatingIfNeeded: hash) & (size - 1)
            while slots[at].textLength >= 0 { at = (at + 1) & (size - 1) }
            slots[at] = Slot(
                hash: hash,
                textStart: Int32(texts.count),
                textLength: Int32(key.count),
                listStart: Int32(lists.count),
                listCount: Int32(policies.count)
            )
            texts += key
            lists += policies.sorted()
        }
    }

    /// Where in ``policy(at:)`` the text's policies stand; empty where it has none.
    func find(_ text: Bytes) -> Range<Int> {
        guard !slots.isEmpty else { return 0..<0 }
        let hash = Self.hash(text)
        var at = Int(truncatingIfNeeded: hash) & (slots.count - 1)
        while slots[at].textLength >= 0 {
            let slot = slots[at]
            if slot.hash == hash, Int(slot.textLength) == text.count, hasText(slot, text) {
                return Int(slot.listStart)..<Int(slot.listStart + slot.listCount)
            }
            at = (at + 1) & (slots.count - 1)
        }
        return 0..<0
    }

    func policy(at index: Int) -> Int { Int(lists[index]) }

    private func hasText(_ slot: Slot, _ text: Bytes) -> Bool {
        texts.withUnsafeBytes { texts in
            Bytes(rebasing: texts[Int(slot.textStart)..<Int(slot.textStart + slot.textLength)])
                .equals(text)
        }
    }

    /// Eight bytes a step. The keys are the configuration's, so no peer can choose them to collide.
    private static func hash(_ text: Bytes) -> UInt64 {
        var hash = UInt64(truncatingIfNeeded: text.count) &* 0x9E37_79B9_7F4A_7C15
        var at = 0
        while at &+ 8 <= text.count {
            hash = mix(hash ^ text.loadUnaligned(fromByteOffset: at, as: UInt64.self))
            at &+= 8
        }
        var tail: UInt64 = 0
        while at < text.count {
            tail = tail << 8 | UInt64(text[at])
            at &+= 1
        }
        return mix(hash ^ tail)
    }

    private static func mix(_ value: UInt64) -> UInt64 {
        let product = value.multipliedFullWidth(by: 0xD6E8_FEB8_6659_FD93)
        return product.high ^ product.low
    }
}
