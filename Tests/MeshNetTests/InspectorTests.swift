import MeshNet
import MeshSimulation
import Testing

@Suite struct TLSInspectorTests {
    /// A ClientHello as OpenSSL writes it.
    private func hello(name: String?, alpn: [String]) throws -> [UInt8] {
        var settings = TLSSettings(role: .client)
        settings.alpn = alpn
        settings.maxVersion = .tls13
        let session = TLSSession(client: try TLSContext(settings), serverName: name)
        var output = ByteBuffer()
        session.start(output: &output)
        return Array(output.bytes)
    }

    private func inspect(_ bytes: [UInt8], limit: Int = TLSInspector.helloBytesMax)
        -> TLSInspector.Result
    {
        bytes.withUnsafeBytes { TLSInspector(limit: limit).inspect($0) }
    }

    /// The same handshake message in records of `size` bytes.
    private func refragmented(_ record: [UInt8], size: Int) -> [UInt8] {
        var rest = record[5...]
        var out: [UInt8] = []
        while !rest.isEmpty {
            let part = rest.prefix(size)
            out += [22, 3, 1, UInt8(part.count >> 8), UInt8(part.count & 255)] + part
            rest = rest.dropFirst(size)
        }
        return out
    }

    @Test func `name and protocols are found`() throws {
        let bytes = try hello(name: "Www.Example.COM", alpn: ["h2", "http/1.1"])
        #expect(
            inspect(bytes)
                == .tls(.init(serverName: "www.example.com", protocols: ["h2", "http/1.1"]))
        )
        #expect(inspect(try hello(name: nil, alpn: [])) == .tls(.init()))
    }

    @Test func `every prefix asks for more`() throws {
        let bytes = try hello(name: "a.example", alpn: ["h2"])
        for count in 0..<bytes.count {
            #expect(inspect(Array(bytes[..<count])) == .needMore)
        }
    }

    @Test(arguments: [1, 3, 4, 50, 200])
    func `a hello in many records is put together`(size: Int) throws {
        let bytes = refragmented(try hello(name: "a.example", alpn: ["h2"]), size: size)
        let whole = TLSInspector.Result.tls(.init(serverName: "a.example", protocols: ["h2"]))
        #expect(inspect(bytes) == whole)
        #expect(inspect(bytes + [22, 3, 3, 0, 1]) == whole)
        for count in stride(from: 0, to: bytes.count, by: 7) {
            #expect(inspect(Array(bytes[..<count])) == .needMore)
        }
    }

    @Test func `what is not TLS is told at the first byte that shows it`() {
        #expect(inspect(Array("G".utf8)) == .notTLS)
        #expect(inspect([22, 2]) == .notTLS)
        // An alert, a record too long, a ServerHello, SSL 2.
        #expect(inspect([21, 3, 1, 0, 2, 1, 0]) == .notTLS)
        // A record without bytes says nothing yet.
        #expect(inspect([22, 3, 1, 0, 0]) == .needMore)
        #expect(inspect([22, 3, 1, 255, 255]) == .notTLS)
        #expect(inspect([22, 3, 1, 0, 4, 2, 0, 0, 0]) == .notTLS)
        #expect(inspect([128, 46, 1, 3, 1]) == .notTLS)
        // Another record type in the middle.
        #expect(inspect([22, 3, 1, 0, 1, 1, 23, 3, 1, 0, 1]) == .notTLS)
    }

    @Test func `malformed hellos are not TLS and never trap`() throws {
        let bytes = try hello(name: "a.example", alpn: ["h2"])
        for at in 5..<bytes.count {
            for value in [0, 1, 0x7F, 0xFF] as [UInt8] {
                var broken = bytes
                broken[at] = value
                _ = inspect(broken)
            }
        }
        // A hello that ends within its session id.
        #expect(inspect([22, 3, 1, 0, 8, 1, 0, 0, 4, 3, 3, 0, 0]) == .notTLS)
    }

    @Test func `a hello beyond the limit is still TLS`() throws {
        let bytes = try hello(name: "a.example", alpn: ["h2"])
        #expect(inspect(bytes, limit: 100) == .tooLarge)
        // Three bytes of length announce 16 MB: nobody waits for them.
        #expect(inspect([22, 3, 1, 0, 4, 1, 255, 255, 255]) == .tooLarge)
    }
}

@Suite struct HTTPInspectorTests {
    @Test(arguments: [
        ("GET / HTTP/1.1\r\n", HTTPInspector.Result.http11),
        ("GET / HTTP/1.0\n", .http10),
        ("PROPFIND /x HTTP/1.1\r\nhost: a", .http11),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", .http2),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n", .needMore),
        ("P", .needMore), ("PR", .needMore), ("PRI", .needMore), ("PRI * HTTP/1", .needMore),
        ("", .needMore), ("GET", .needMore), ("GET /long", .needMore),
        ("GET / HTTP/1.1", .needMore), ("GET /\r\n", .notHTTP), (" GET / HTTP/1.1\r\n", .notHTTP),
        ("GET / HTTP/3.0\r\n", .notHTTP), ("GET / X HTTP/1.1\r\n", .notHTTP),
        ("\u{16}\u{3}\u{1}", .notHTTP), ("SSH-2.0-OpenSSH_9.2\r\n", .notHTTP),
        ("\r\nGET / HTTP/1.1\r\n", .notHTTP),
    ])
    func `the first line tells`(text: String, result: HTTPInspector.Result) {
        let found = Array(text.utf8).withUnsafeBytes { HTTPInspector().inspect($0) }
        #expect(found == result)
    }
}
