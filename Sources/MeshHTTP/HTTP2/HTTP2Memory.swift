import CNGHTTP2
import Glibc
import MeshNet

/// Memory for the libnghttp2 sessions of one worker: blocks of a few sizes that are used again and again.
///
/// A stream costs libnghttp2 a dozen allocations, freed in bursts that malloc's per-thread cache is too
/// small for. Not shared between threads.
final class HTTP2Memory {
    /// Lies before every block; as large as malloc's alignment.
    private struct Header {
        /// What the block holds.
        var capacity: Int
        /// Place in ``spare``; ``sizes`` where malloc made the block by itself.
        var size: Int
    }

    private static var unitShift: Int { 6 }
    private static var unit: Int { 1 << unitShift }
    /// Blocks of up to 1 KiB are kept.
    private static var sizes: Int { 16 }
    /// Spare blocks of one size beyond this are given back.
    private static var spareMax: Int { 512 }
    private static var headerBytes: Int { MemoryLayout<Header>.stride }

    /// Spare blocks of each size, linked through their first word.
    private let spare: UnsafeMutablePointer<UnsafeMutableRawPointer?>
    private let spareCounts: UnsafeMutablePointer<Int>
    /// What libnghttp2 is given.
    private(set) var table = nghttp2_mem()

    init() {
        spare = .allocate(capacity: Self.sizes)
        spare.initialize(repeating: nil, count: Self.sizes)
        spareCounts = .allocate(capacity: Self.sizes)
        spareCounts.initialize(repeating: 0, count: Self.sizes)
        table = nghttp2_mem(
            mem_user_data: Unmanaged.passUnretained(self).toOpaque(),
            malloc: { size, user in HTTP2Memory.of(user)?.use { $0.take(size) } },
            free: { block, user in
                guard let block else { return }
                HTTP2Memory.of(user)?.use { $0.give(block) }
            },
            calloc: { count, size, user in
                let (bytes, overflow) = count.multipliedReportingOverflow(by: size)
                guard !overflow, let block = HTTP2Memory.of(user)?.use({ $0.take(bytes) }) else {
                    return nil
                }
                return memset(block, 0, bytes)
            },
            realloc: { block, size, user in
                HTTP2Memory.of(user)?.use { memory in
                    guard let block else { return memory.take(size) }
                    return memory.resize(block, size)
                }
            }
        )
    }

    /// No session is left.
    deinit {
        for size in 0..<Self.sizes {
            while let block = spare[size] {
                spare[size] = block.load(as: UnsafeMutableRawPointer?.self)
                free(block - Self.headerBytes)
            }
        }
        spare.deallocate()
        spareCounts.deallocate()
    }

    private static func of(_ user: UnsafeMutableRawPointer?) -> Uncounted<HTTP2Memory>? {
        user.map { Uncounted(opaque: $0) }
    }

    private func take(_ bytes: Int) -> UnsafeMutableRawPointer? {
        guard bytes > 0, bytes <= Self.sizes &* Self.unit else {
            return make(bytes, size: Self.sizes)
        }
        let size = (bytes &- 1) &>> Self.unitShift
        guard let block = spare[size] else { return make((size &+ 1) &* Self.unit, size: size) }
        spare[size] = block.load(as: UnsafeMutableRawPointer?.self)
        spareCounts[size] &-= 1
        return block
    }

    private func make(_ capacity: Int, size: Int) -> UnsafeMutableRawPointer? {
        let (whole, overflow) = capacity.addingReportingOverflow(Self.headerBytes)
        guard !overflow, let start = malloc(whole) else { return nil }
        start.storeBytes(of: Header(capacity: capacity, size: size), as: Header.self)
        return start + Self.headerBytes
    }

    private func give(_ block: UnsafeMutableRawPointer) {
        let start = block - Self.headerBytes
        let size = start.load(as: Header.self).size
        guard size < Self.sizes, spareCounts[size] < Self.spareMax else { return free(start) }
        block.storeBytes(of: spare[size], as: UnsafeMutableRawPointer?.self)
        spare[size] = block
        spareCounts[size] &+= 1
    }

    private func resize(_ block: UnsafeMutableRawPointer, _ bytes: Int) -> UnsafeMutableRawPointer?
    {
        let capacity = (block - Self.headerBytes).load(as: Header.self).capacity
        guard bytes > capacity else { return block }
        guard let larger = take(bytes) else { return nil }
        memcpy(larger, block, capacity)
        give(block)
        return larger
    }
}
