import Glibc

/// Bytes that somebody else owns. Valid only during the call that receives them.
package typealias Bytes = UnsafeRawBufferPointer

/// A contiguous queue of bytes: append at the tail, consume at the head.
///
/// It owns its storage and gives it back as soon as it is empty and told so with ``release()``: an
/// idle connection holds no buffer. Growth doubles; the owner keeps the size within its named limit.
package struct ByteBuffer: ~Copyable {
    private var storage: UnsafeMutableRawPointer?
    private var head = 0
    private var tail = 0
    private var capacity = 0

    /// First allocation: a request or response head with a small body fits without growing.
    fileprivate static let capacityMin = 4096

    package init() {}

    deinit { free(storage) }

    package var count: Int { tail &- head }
    package var isEmpty: Bool { tail == head }

    /// The bytes not yet consumed. Valid until the next mutation.
    package var bytes: Bytes { Bytes(start: storage.map { $0 + head }, count: tail &- head) }

    /// Room for at least `size` more bytes; what is written there counts after ``commit(_:)``.
    package mutating func reserve(_ size: Int) -> UnsafeMutableRawBufferPointer {
        if capacity &- tail < size { grow(size) }
        guard let storage else { return UnsafeMutableRawBufferPointer(start: nil, count: 0) }
        return UnsafeMutableRawBufferPointer(start: storage + tail, count: capacity &- tail)
    }

    package mutating func commit(_ size: Int) {
        precondition(size <= capacity - tail)
        tail &+= size
    }

    package mutating func consume(_ size: Int) {
        precondition(size <= tail - head)
        head &+= size
        if head == tail {
            head = 0
            tail = 0
        }
    }

    package mutating func clear() {
        head = 0
        tail = 0
    }

    /// Gives the storage back. The bytes must have been consumed or be unwanted.
    package mutating func release() {
        free(storage)
        storage = nil
        head = 0
        tail = 0
        capacity = 0
    }

    package mutating func append(_ source: Bytes) {
        guard let base = source.baseAddress, source.count > 0 else { return }
        if capacity &- tail < source.count { grow(source.count) }
        guard let storage else { return }
        memcpy(storage + tail, base, source.count)
        tail &+= source.count
    }

    /// Appends, and takes a spare block where it has no storage yet.
    mutating func append(_ source: Bytes, from spares: inout SpareBlocks) {
        if source.count <= Self.capacityMin { adoptBlock(of: &spares) }
        append(source)
    }

    /// Takes a spare block for its storage where it has none yet.
    mutating func adoptBlock(of spares: inout SpareBlocks) {
        guard storage == nil, let block = spares.take() else { return }
        storage = block
        capacity = Self.capacityMin
    }

    /// Like ``release()``; storage of the usual size is kept among the spares.
    mutating func release(to spares: inout SpareBlocks) {
        if let storage, capacity == Self.capacityMin, spares.keep(storage) {
            self.storage = nil
            capacity = 0
            clear()
        } else {
            release()
        }
    }

    package mutating func append(_ text: StaticString) {
        append(Bytes(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    package mutating func append(_ text: String) {
        var text = text
        text.withUTF8 { append(Bytes($0)) }
    }

    package mutating func append(byte: UInt8) {
        if capacity == tail { grow(1) }
        guard let storage else { return }
        storage.storeBytes(of: byte, toByteOffset: tail, as: UInt8.self)
        tail &+= 1
    }

    package mutating func append(decimal value: UInt64) {
        append(digits: UInt(value), negative: false, radix: 10)
    }

    package mutating func append(decimal value: Int) {
        append(digits: value.magnitude, negative: value < 0, radix: 10)
    }

    /// Lower-case hexadecimal without prefix, as chunk sizes are written (RFC 9112 §7.1).
    package mutating func append(hexadecimal value: Int) {
        append(digits: value.magnitude, negative: value < 0, radix: 16)
    }

    private mutating func append(digits: UInt, negative: Bool, radix: UInt) {
        // 20 decimal digits of UInt.max and a sign.
        withUnsafeTemporaryAllocation(byteCount: 24, alignment: 1) { scratch in
            var rest = digits
            var at = 24
            repeat {
                let digit = UInt8(truncatingIfNeeded: rest % radix)
                at &-= 1
                scratch[at] = digit < 10 ? 0x30 &+ digit : 0x57 &+ digit
                rest /= radix
            } while rest > 0
            if negative {
                at &-= 1
                scratch[at] = 0x2D
            }
            append(Bytes(rebasing: scratch[at...]))
        }
    }

    private mutating func grow(_ size: Int) {
        let used = tail - head
        if head > 0, capacity - used >= size, let storage {
            memmove(storage, storage + head, used)
        } else {
            // Doubling serves small appends; one large piece gets what it needs, and no more.
            let needed = (used + size + Self.capacityMin - 1) & ~(Self.capacityMin - 1)
            let wanted = max(capacity * 2, needed)
            guard let fresh = malloc(wanted) else { fatalError("out of memory: \(wanted) bytes") }
            if let storage, used > 0 { memcpy(fresh, storage + head, used) }
            free(storage)
            storage = fresh
            capacity = wanted
        }
        head = 0
        tail = used
    }
}

/// Storage that the buffers of one loop have given back, for the next: malloc's cache holds no blocks of
/// that size, and a relay needs one for every message.
struct SpareBlocks: ~Copyable {
    private let blocks = UnsafeMutablePointer<UnsafeMutableRawPointer>.allocate(capacity: countMax)
    private var count = 0

    /// As many connections as are usually written to in one iteration.
    private static let countMax = 64

    deinit {
        for at in 0..<count { free(blocks[at]) }
        blocks.deallocate()
    }

    fileprivate mutating func take() -> UnsafeMutableRawPointer? {
        guard count > 0 else { return nil }
        count &-= 1
        return blocks[count]
    }

    /// False where there are enough.
    fileprivate mutating func keep(_ block: UnsafeMutableRawPointer) -> Bool {
        guard count < Self.countMax else { return false }
        blocks[count] = block
        count &+= 1
        return true
    }
}

extension UnsafeRawBufferPointer {
    /// Compares with ASCII text, byte by byte.
    @inline(__always)
    package func equals(_ text: StaticString) -> Bool {
        equals(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    @inline(__always)
    package func equals(_ other: UnsafeRawBufferPointer) -> Bool {
        guard count == other.count else { return false }
        guard let base = baseAddress, let otherBase = other.baseAddress else { return true }
        return memcmp(base, otherBase, count) == 0
    }
}

extension String {
    /// Copies the bytes; ill-formed UTF-8 is repaired with U+FFFD.
    package init(bytes: Bytes) { self = String(decoding: bytes, as: UTF8.self) }
}
