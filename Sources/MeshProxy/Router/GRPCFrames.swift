import MeshNet

/// Where messages begin and end in a gRPC body: each has a byte of flags, its length in four bytes, and
/// that many bytes. Keeps five numbers, no bytes.
package struct GRPCFrames {
    /// Messages that have begun.
    package private(set) var count: UInt64 = 0
    private var headBytes = 0
    private var length: UInt32 = 0
    private var left = 0

    package init() {}

    /// Nothing of a message is outstanding.
    package var isBetween: Bool { headBytes == 0 }

    /// Takes the bytes up to the end of the message that they begin with or go on with. Returns their
    /// number; all of them where the message goes on beyond.
    package mutating func take(_ bytes: Bytes) -> Int {
        var at = 0
        while headBytes < 5 {
            guard at < bytes.count else { return at }
            if headBytes == 0 {
                count &+= 1
                length = 0
            } else {
                length = length << 8 | UInt32(bytes[at])
            }
            headBytes += 1
            at += 1
            if headBytes == 5 { left = Int(length) }
        }
        let step = min(left, bytes.count - at)
        left -= step
        at += step
        if left == 0 { headBytes = 0 }
        return at
    }

    /// Takes all of it, and returns how many messages begin in it.
    package mutating func takeAll(_ bytes: Bytes) -> UInt64 {
        let before = count
        var at = 0
        while at < bytes.count { at += take(Bytes(rebasing: bytes[at...])) }
        return count &- before
    }
}
