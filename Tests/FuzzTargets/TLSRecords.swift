import MeshNet

// The first byte says how the wire cuts what arrives. What a stranger sends is never taken for a record of the
// peer's; what the peer sends arrives as it was, unless a byte of it was changed.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzTLSRecords(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 3 else { return 0 }
    let piece = Int(start[0]) + 1
    let content = Bytes(start: start + 3, count: count - 3)
    precondition(read(content, piece) == nil, "a stranger's record was opened")

    let type = start[1]
    guard type != 0 else { return 0 }
    var wire = ByteBuffer()
    records().seal(content, type: type, into: &wire)
    var bytes = Array(wire.bytes)
    bytes.withUnsafeBytes {
        precondition(read($0, piece)?.elementsEqual(content) == true, "a record was not opened")
    }
    // Its version is not looked at, but it is authenticated.
    bytes[Int(start[2]) % bytes.count] ^= 0x40
    bytes.withUnsafeBytes { precondition(read($0, piece) == nil, "a changed record was opened") }
    return 0
}

private func records() -> TLSRecords {
    let secret = TLSTrafficSecret(.aes128GCM, Array(repeating: 7, count: 32))
    return TLSRecords(
        reading: TLSRecordKey(secret, sequence: 0, isForSending: false),
        writing: TLSRecordKey(secret, sequence: 0, isForSending: true)
    )
}

/// What is in the records that arrive in such pieces; nil where none comes whole, or one is refused.
private func read(_ wire: Bytes, _ piece: Int) -> [UInt8]? {
    let reader = records()
    var plaintext = ByteBuffer()
    var fault = TLSRecords.Fault.notGenuine
    var opened = 0
    var at = 0
    while at < wire.count {
        let end = min(at + piece, wire.count)
        var part = Bytes(rebasing: wire[at..<end])
        at = end
        reading: while true {
            switch reader.next(&part) {
            case .incomplete: break reading
            case .overlong: return nil
            case .record(let record):
                guard let (_, content) = reader.open(record, behind: &plaintext, fault: &fault)
                else { return nil }
                plaintext.commit(content.count)
                opened += 1
                reader.consumed()
            }
        }
    }
    return opened == 0 ? nil : Array(plaintext.bytes)
}
