import MeshNet
import Testing

@testable import MeshProxy

/// Message boundaries and base64, whatever pieces they come in.
@Suite struct GRPCBodyTests {
    /// Splits `bytes` into pieces of the given size.
    private func pieces(_ bytes: [UInt8], of size: Int) -> [[UInt8]] {
        stride(from: 0, to: bytes.count, by: size).map {
            Array(bytes[$0..<min($0 + size, bytes.count)])
        }
    }

    @Test(arguments: 1...13) func `messages are counted and their ends found in pieces`(size: Int) {
        let body: [UInt8] =
            [0, 0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0] + .init(repeating: 9, count: 256)
        var frames = GRPCFrames()
        var begun: UInt64 = 0
        for piece in pieces(body, of: size) {
            begun += piece.withUnsafeBytes { frames.takeAll($0) }
        }
        #expect(begun == 3)
        #expect(frames.isBetween)
    }

    @Test func `a message that goes on is not at its end`() {
        var frames = GRPCFrames()
        let body: [UInt8] = [0, 0, 0, 0, 2, 7, 7, 0]
        body.withUnsafeBytes { bytes in
            #expect(frames.take(bytes) == 7)
            #expect(frames.isBetween)
            #expect(frames.take(Bytes(rebasing: bytes[7...])) == 1)
        }
        #expect(!frames.isBetween)
        #expect(frames.count == 2)
    }

    @Test(arguments: [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ])
    func `base64 is RFC 4648's in pieces of any size`(plain: String, encoded: String) {
        for size in 1...7 {
            var encoder = Base64Encoder()
            var output = ByteBuffer()
            for piece in pieces(Array(plain.utf8), of: size) {
                piece.withUnsafeBytes { encoder.append($0, to: &output) }
            }
            encoder.finish(to: &output)
            #expect(String(bytes: output.bytes) == encoded)

            var decoder = Base64Decoder()
            var back = ByteBuffer()
            for piece in pieces(Array(encoded.utf8), of: size) {
                let isValid = piece.withUnsafeBytes { decoder.append($0, to: &back) }
                #expect(isValid)
            }
            #expect(String(bytes: back.bytes) == plain)
            #expect(decoder.isBetween)
        }
    }

    @Test func `padded texts may follow one another`() {
        var decoder = Base64Decoder()
        var output = ByteBuffer()
        let isValid = Array("Zg==Zm8=Zm9v".utf8).withUnsafeBytes { decoder.append($0, to: &output) }
        #expect(isValid)
        #expect(String(bytes: output.bytes) == "ffofoo")
    }

    @Test(arguments: ["Z===", "====", "Zm=v", "Zm9!", "Zm 9", "Zm-_", "\u{0}AAA"])
    func `what is no base64 is refused`(text: String) {
        var decoder = Base64Decoder()
        var output = ByteBuffer()
        let isValid = Array(text.utf8).withUnsafeBytes { decoder.append($0, to: &output) }
        #expect(!isValid)
    }

    @Test func `messages of status keep to printable ASCII`() {
        let encoded = Array("100% é\n".utf8).withUnsafeBytes { GRPC.percentEncoded($0) }
        #expect(encoded == "100%25 %C3%A9%0A")
    }
}
