import Glibc

/// The protected records of one TLS 1.3 connection after its handshake (RFC 8446 §5), in both directions.
///
/// Knows the form of a record, not what follows from it: ``TLSSession`` decides. An idle connection holds no
/// buffer here.
package final class TLSRecords {
    /// The most plaintext in one record, and the most that protection adds.
    package static let plaintextMax = 16_384
    private static let expansionMax = 256
    private static let overheadBytes = TLSRecordKey.headerBytes + 1 + TLSRecordKey.tagBytes
    /// Records under one key of ours, below what AES-GCM allows (RFC 8446 §5.5: 2^24.5).
    private static let recordsPerKeyMax: UInt64 = 1 << 24

    package enum Content {
        package static let alert: UInt8 = 21, handshake: UInt8 = 22
        package static let applicationData: UInt8 = 23
    }

    let reading: TLSRecordKey
    let writing: TLSRecordKey
    /// The beginning of a record that has not come whole.
    private var partial = ByteBuffer()

    package init(reading: TLSRecordKey, writing: TLSRecordKey) {
        self.reading = reading
        self.writing = writing
    }

    /// What lies next in the received bytes.
    package enum Next {
        /// More has to come; what there was is kept.
        case incomplete
        /// A whole record. Valid until ``consumed()``.
        case record(Bytes)
        /// A header with a length that no record has.
        case overlong
    }

    /// Takes the next record off `input`. To be followed by ``consumed()``.
    package func next(_ input: inout Bytes) -> Next {
        if partial.isEmpty {
            guard let size = Self.size(input) else { return .overlong }
            if input.count >= size { return .record(Self.take(size, from: &input)) }
            partial.append(Self.take(input.count, from: &input))
            return .incomplete
        }
        while true {
            guard let size = Self.size(partial.bytes) else { return .overlong }
            let missing = size - partial.count
            if missing == 0 { return .record(partial.bytes) }
            if input.isEmpty { return .incomplete }
            partial.append(Self.take(min(missing, input.count), from: &input))
        }
    }

    /// Of the whole record that begins here, or of a header that is not whole; nil where no record is so long.
    private static func size(_ bytes: Bytes) -> Int? {
        guard bytes.count >= TLSRecordKey.headerBytes else { return TLSRecordKey.headerBytes }
        let length = Int(bytes[3]) << 8 | Int(bytes[4])
        return length > plaintextMax + expansionMax ? nil : TLSRecordKey.headerBytes + length
    }

    /// How many protected records these whole records are.
    static func count(_ bytes: Bytes) -> UInt64 {
        var count: UInt64 = 0
        var rest = bytes
        while rest.count >= TLSRecordKey.headerBytes, let size = size(rest), size <= rest.count {
            if take(size, from: &rest)[0] == Content.applicationData { count += 1 }
        }
        return count
    }

    private static func take(_ count: Int, from input: inout Bytes) -> Bytes {
        let taken = Bytes(rebasing: input[..<count])
        input = Bytes(rebasing: input[count...])
        return taken
    }

    /// The record of ``next(_:)`` has been looked at.
    package func consumed() { partial.release() }

    // MARK: Opening

    /// Why a record cannot be what the peer meant to send (RFC 8446 §5.2 and §5.4).
    package enum Fault { case notGenuine, withoutContent, overlong }

    /// Decrypts a record behind what is in `plaintext`, without counting it as there.
    ///
    /// - Returns: the content's type, and the content; nil with the fault noted in `fault`.
    package func open(
        _ record: Bytes,
        behind plaintext: inout ByteBuffer,
        fault: inout Fault
    ) -> (type: UInt8, content: Bytes)? {
        let count = record.count - TLSRecordKey.headerBytes - TLSRecordKey.tagBytes
        guard count > 0, let space = plaintext.reserve(count).baseAddress,
            reading.open(record, into: space)
        else {
            fault = .notGenuine
            return nil
        }
        // Behind the content come its type and any number of zeros.
        var end = count
        while end > 0, space.load(fromByteOffset: end &- 1, as: UInt8.self) == 0 { end &-= 1 }
        guard end > 0 else {
            fault = .withoutContent
            return nil
        }
        guard end <= Self.plaintextMax + 1 else {
            fault = .overlong
            return nil
        }
        let type = space.load(fromByteOffset: end &- 1, as: UInt8.self)
        return (type, Bytes(start: space, count: end &- 1))
    }

    // MARK: Sealing

    /// Appends `content` in as many records as it takes.
    package func seal(_ content: Bytes, type: UInt8, into output: inout ByteBuffer) {
        let records = (content.count + Self.plaintextMax - 1) / Self.plaintextMax
        _ = output.reserve(content.count + records * Self.overheadBytes)
        var rest = content
        while !rest.isEmpty {
            if writing.sequence >= Self.recordsPerKeyMax { renewKey(into: &output) }
            let part = Self.take(min(rest.count, Self.plaintextMax), from: &rest)
            sealOne(part, type: type, into: &output)
        }
    }

    private func sealOne(_ content: Bytes, type: UInt8, into output: inout ByteBuffer) {
        let size = Self.overheadBytes + content.count
        guard let record = output.reserve(size).baseAddress, let source = content.baseAddress
        else { return }
        let length = UInt16(truncatingIfNeeded: size - TLSRecordKey.headerBytes)
        record.storeBytes(of: Content.applicationData, as: UInt8.self)
        (record + 1).storeBytes(of: 0x0303, as: UInt16.self)
        (record + 3).storeBytes(of: length.bigEndian, as: UInt16.self)
        memcpy(record + TLSRecordKey.headerBytes, source, content.count)
        (record + TLSRecordKey.headerBytes + content.count).storeBytes(of: type, as: UInt8.self)
        writing.seal(record, count: content.count + 1)
        output.commit(size)
    }

    /// Tells the peer that our next records come under the next key, and goes on to it (RFC 8446 §4.6.3).
    func renewKey(into output: inout ByteBuffer) {
        // KeyUpdate, one byte long: update_not_requested.
        let message: [UInt8] = [24, 0, 0, 1, 0]
        message.withUnsafeBytes { sealOne($0, type: Content.handshake, into: &output) }
        writing.update()
    }
}
