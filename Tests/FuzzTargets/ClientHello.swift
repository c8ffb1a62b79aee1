import MeshNet

// Reads the input as the first bytes of a connection. What the inspectors say of a part they must say
// of the whole: more bytes may end "need more", but never change an answer.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzClientHello(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let input = Bytes(start: start, count: count)
    let limit = 512
    let tls = TLSInspector(limit: limit).inspect(input)
    let http = HTTPInspector().inspect(input)
    var at = 0
    while at < count {
        let part = Bytes(rebasing: input[..<at])
        let partTLS = TLSInspector(limit: limit).inspect(part)
        precondition(partTLS == .needMore || partTLS == tls)
        let partHTTP = HTTPInspector().inspect(part)
        precondition(partHTTP == .needMore || partHTTP == http)
        // Every place at the start, where the structure is; then now and then.
        at += at < 80 ? 1 : 13
    }
    if case .tls(let hello) = tls {
        precondition(hello.serverName.utf8.count <= 3 * 255)
        precondition(http == .notHTTP)
    }
    return 0
}
