import MeshHTTP
import MeshNet
import Testing

/// Responses as they come over the wire.
@Suite struct HTTP1ResponseTests {
    struct Valid: Sendable, CustomTestStringConvertible {
        let name: String
        let wire: String
        let events: [Event]
        var method = "GET"
        var reusable = true
        /// The server ends the connection behind it.
        var ends = false
        var settings = HTTP1Settings()
        var testDescription: String { name }
    }

    struct Invalid: Sendable, CustomTestStringConvertible {
        let name: String
        let wire: String
        var details = "http1.codec_error"
        var method = "GET"
        var before: [Event] = []
        var ends = false
        var reason = StreamResetReason.protocolError
        var settings = HTTP1Settings()
        var testDescription: String { name }
    }

    static let ok = "HTTP/1.1 200 OK\r\n"
    static let chunked = ok + "Transfer-Encoding: chunked\r\n\r\n"

    static let valid: [Valid] = [
        Valid(
            name: "a length",
            wire: ok + "Content-Length: 5\r\nX-A:  b \r\n\r\nhello",
            events: [
                .head(":status: 200 | content-length: 5 | x-a: b", end: false), .data("hello"),
                .end,
            ]
        ),
        Valid(
            name: "no body",
            wire: ok + "Content-Length: 0\r\n\r\n",
            events: [.head(":status: 200 | content-length: 0", end: true)]
        ),
        Valid(
            name: "no reason, with its space",
            wire: "HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n",
            events: [.head(":status: 404 | content-length: 0", end: true)]
        ),
        Valid(
            name: "no reason, without its space",
            wire: "HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n",
            events: [.head(":status: 404 | content-length: 0", end: true)]
        ),
        Valid(
            name: "a reason beyond ASCII",
            wire: "HTTP/1.1 200 \u{FC}ber\tgut\r\nContent-Length: 0\r\n\r\n",
            events: [.head(":status: 200 | content-length: 0", end: true)]
        ),
        Valid(
            name: "chunked",
            wire: chunked + "5\r\nhello\r\n1;x\r\n!\r\n0\r\n\r\n",
            events: [.head(":status: 200", end: false), .data("hello!"), .end]
        ),
        Valid(
            name: "trailers are dropped unless enabled",
            wire: chunked + "0\r\nX: y\r\n\r\n",
            events: [.head(":status: 200", end: false), .end]
        ),
        Valid(
            name: "trailers where enabled",
            wire: chunked + "2\r\nhi\r\n0\r\nX: y\r\nContent-Length: 3\r\n\r\n",
            events: [.head(":status: 200", end: false), .data("hi"), .trailers("x: y")],
            settings: settings { $0.enableTrailers = true }
        ),
        Valid(
            name: "a body that ends with the connection",
            wire: ok + "\r\nhello",
            events: [.head(":status: 200", end: false), .data("hello"), .end],
            reusable: false,
            ends: true
        ),
        Valid(
            name: "an empty body that ends with the connection",
            wire: ok + "\r\n",
            events: [.head(":status: 200", end: false), .end],
            reusable: false,
            ends: true
        ),
        Valid(
            name: "HEAD",
            wire: ok + "Content-Length: 5\r\n\r\n",
            events: [.head(":status: 200 | content-length: 5", end: true)],
            method: "HEAD"
        ),
        Valid(
            name: "HEAD that says chunked",
            wire: chunked,
            events: [.head(":status: 200", end: true)],
            method: "HEAD"
        ),
        Valid(
            name: "HEAD that says nothing",
            wire: ok + "\r\n",
            events: [.head(":status: 200", end: true)],
            method: "HEAD"
        ),
        Valid(
            name: "204",
            wire: "HTTP/1.1 204 No Content\r\n\r\n",
            events: [.head(":status: 204", end: true)]
        ),
        Valid(
            name: "204 with length 0",
            wire: "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
            events: [.head(":status: 204", end: true)]
        ),
        Valid(
            name: "304 with a length",
            wire: "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            events: [.head(":status: 304 | content-length: 5", end: true)]
        ),
        Valid(
            name: "205",
            wire: "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",
            events: [.head(":status: 205 | content-length: 0", end: true)]
        ),
        Valid(
            name: "informational heads first",
            wire:
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\nContent-Length: 0\r\n\r\n"
                + ok + "Content-Length: 2\r\n\r\nhi",
            events: [
                .informational(":status: 100"), .informational(":status: 103 | link: x"),
                .head(":status: 200 | content-length: 2", end: false), .data("hi"), .end,
            ]
        ),
        Valid(
            name: "the server closes",
            wire: ok + "Connection: close\r\nContent-Length: 2\r\n\r\nhi",
            events: [.head(":status: 200 | content-length: 2", end: false), .data("hi"), .end],
            reusable: false
        ),
        Valid(
            name: "HTTP/1.0",
            wire: "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
            events: [.head(":status: 200 | content-length: 2", end: false), .data("hi"), .end],
            reusable: false
        ),
        Valid(
            name: "HTTP/1.0 with keep-alive",
            wire: "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nhi",
            events: [.head(":status: 200 | content-length: 2", end: false), .data("hi"), .end]
        ),
        Valid(
            name: "fields of one hop are taken off",
            wire: ok
                + "Connection: keep-alive, Foo, Content-Length, X-Envoy-Y\r\nFoo: 1\r\nKeep-Alive: 3\r\n"
                + "Proxy-Connection: x\r\nUpgrade: h2c\r\nTE: x\r\nTrailer: z\r\nProxy-Authenticate: p\r\n"
                + "X-Envoy-Y: 1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi",
            events: [
                .head(
                    ":status: 200 | trailer: z | proxy-authenticate: p | x-envoy-y: 1 | content-length: 2",
                    end: false
                ), .data("hi"), .end,
            ]
        ),
        Valid(
            name: "allow_chunked_length drops the length",
            wire: ok
                + "Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            events: [.head(":status: 200", end: false), .data("hi"), .end],
            settings: settings { $0.allowChunkedLength = true }
        ),
        Valid(
            name: "bare LF where allowed",
            wire: "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi",
            events: [.head(":status: 200 | content-length: 2", end: false), .data("hi"), .end],
            settings: settings { $0.leniency = .bareLineFeed }
        ),
        Valid(
            name: "folded lines where allowed",
            wire: ok + "X: a\r\n b\r\nContent-Length: 2\r\n\r\nhi",
            events: [
                .head(":status: 200 | x: a b | content-length: 2", end: false), .data("hi"), .end,
            ],
            settings: settings { $0.leniency = .foldedLines }
        ),
        Valid(
            name: "a plain answer to an upgrade request",
            wire: ok + "Upgrade: x\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n",
            events: [.head(":status: 200 | content-length: 0", end: true)],
            method: "UPGRADE",
            reusable: false
        ),
    ]

    private static func status(
        _ name: String,
        _ line: String,
        _ details: String = "http1.invalid_status"
    )
        -> Invalid
    {
        Invalid(name: name, wire: line + "\r\nContent-Length: 0\r\n\r\n", details: details)
    }
    private static func field(
        _ name: String,
        _ field: String,
        _ details: String = "http1.codec_error"
    )
        -> Invalid
    {
        Invalid(name: name, wire: ok + field + "\r\n\r\nhello", details: details)
    }
    private static func transferCoding(_ name: String, _ field: String) -> Invalid {
        Invalid(
            name: name,
            wire: ok + field + "\r\n\r\n0\r\n\r\n",
            details: "http1.invalid_transfer_encoding"
        )
    }
    private static func chunk(_ name: String, _ body: String, _ data: String = "") -> Invalid {
        Invalid(
            name: name,
            wire: chunked + body,
            before: [.head(":status: 200", end: false)] + (data.isEmpty ? [] : [.data(data)])
        )
    }

    static let invalid: [Invalid] = [
        status("a status of two digits", "HTTP/1.1 99 OK"),
        status("a status below 100", "HTTP/1.1 099 OK"),
        status("status 000", "HTTP/1.1 000 OK"),
        status("a status from 600 on", "HTTP/1.1 600 OK"),
        status("status 999", "HTTP/1.1 999 OK"),
        status("a status of four digits", "HTTP/1.1 1000 OK"),
        status("a status of letters", "HTTP/1.1 abc OK"),
        status("a signed status", "HTTP/1.1 +20 OK"),
        status("no status", "HTTP/1.1  OK and so on"),
        status("HTTP/1.2", "HTTP/1.2 200 OK", "http1.codec_error"),
        status("HTTP/2.0", "HTTP/2.0 200 OK", "http1.codec_error"),
        status("another protocol", "ICY 200 OK", "http1.codec_error"),
        status("no space after the version", "HTTP/1.1\t200 OK", "http1.codec_error"),
        status("an empty line first", "\r\n" + "HTTP/1.1 200 OK", "http1.codec_error"),
        status("NUL in the reason", "HTTP/1.1 200 O\0K", "http1.codec_error"),
        status("a bare CR in the reason", "HTTP/1.1 200 O\rK", "http1.codec_error"),
        status("a request", "GET / HTTP/1.1", "http1.codec_error"),
        status("nothing but a version", "HTTP/1.1", "http1.codec_error"),
        field(
            "Content-Length and chunked",
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "http1.content_length_and_chunked_not_allowed"
        ),
        field("the same length twice", "Content-Length: 5\r\nContent-Length: 5"),
        field("two lengths", "Content-Length: 5\r\nContent-Length: 6"),
        field("a list of lengths", "Content-Length: 5, 5"),
        field("a signed length", "Content-Length: +5"),
        field("a length that is none", "Content-Length: x"),
        transferCoding("gzip", "Transfer-Encoding: gzip"),
        transferCoding("gzip and chunked", "Transfer-Encoding: gzip, chunked"),
        transferCoding("chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        transferCoding("identity", "Transfer-Encoding: identity"),
        Invalid(
            name: "HTTP/1.0 with a transfer coding",
            wire: "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        ),
        Invalid(
            name: "204 with a length",
            wire: "HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\nhello",
            details: "http1.content_length_not_allowed"
        ),
        Invalid(
            name: "204 with a transfer coding",
            wire: "HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            details: "http1.transfer_encoding_not_allowed"
        ),
        Invalid(
            name: "an informational head with a length",
            wire: "HTTP/1.1 103 EH\r\nContent-Length: 3\r\n\r\n",
            details: "http1.content_length_not_allowed"
        ),
        Invalid(
            name: "an informational head with a transfer coding",
            wire: "HTTP/1.1 100 C\r\nTransfer-Encoding: chunked\r\n\r\n",
            details: "http1.transfer_encoding_not_allowed"
        ),
        Invalid(
            name: "more informational heads than anybody needs",
            wire: String(repeating: "HTTP/1.1 103 Early Hints\r\n\r\n", count: 101),
            details: "http1.too_many_informational_heads",
            before: Array(repeating: .informational(":status: 103"), count: 100)
        ),
        Invalid(
            name: "a switch nobody asked for",
            wire: "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            details: "http1.invalid_upgrade"
        ),
        Invalid(
            name: "a switch that does not say to what",
            wire: "HTTP/1.1 101 Switching\r\n\r\n",
            details: "http1.invalid_upgrade",
            method: "UPGRADE"
        ),
        Invalid(
            name: "a granted tunnel with a transfer coding",
            wire: chunked,
            details: "http1.transfer_encoding_not_allowed",
            method: "CONNECT"
        ),
        field("space before the colon", "X : a"),
        field("a folded line", "X: a\r\n b"),
        field("a bare CR", "X: a\rb"),
        field("NUL in a value", "X: a\0b", "http1.invalid_characters"),
        field("NUL in a name", "X\0: a", "http1.invalid_characters"),
        Invalid(
            name: "a bare LF after the status line",
            wire: "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n"
        ),
        Invalid(name: "a bare LF after a field", wire: ok + "Content-Length: 0\n\r\n"),
        Invalid(name: "garbage", wire: "\u{15}\u{3}\u{3}\0\u{2}\u{2}\u{28}"),
        Invalid(
            name: "one field too many",
            wire: ok + (0..<101).map { "F\($0): 1\r\n" }.joined() + "\r\n",
            details: "http1.too_many_headers"
        ),
        Invalid(
            name: "a head over the limit",
            wire: ok + "X: " + String(repeating: "v", count: 1100) + "\r\n\r\n",
            details: "http1.headers_too_large",
            settings: settings { $0.maxHeadersKB = 1 }
        ),
        chunk("a size that is no number", "zz\r\n"),
        chunk("data longer than its size", "2\r\nhix\r\n0\r\n\r\n", "hi"),
        chunk("a bare LF after the size", "2\nhi\r\n0\r\n\r\n"),
        chunk("an extension ended by LF", "2;a\nhi\r\n0\r\n\r\n"),
        chunk("a trailer without colon", "0\r\nX y\r\n\r\n"),
        Invalid(
            name: "nothing",
            wire: "",
            details: "http1.connection_closed",
            ends: true,
            reason: .connectionTermination
        ),
        Invalid(
            name: "half a head",
            wire: ok + "X: y",
            details: "http1.incomplete_head",
            ends: true
        ),
        Invalid(
            name: "only an informational head",
            wire: "HTTP/1.1 100 Continue\r\n\r\n",
            details: "http1.connection_closed",
            before: [.informational(":status: 100")],
            ends: true,
            reason: .connectionTermination
        ),
        Invalid(
            name: "a body shorter than its length",
            wire: ok + "Content-Length: 9\r\n\r\nhi",
            details: "http1.incomplete_body",
            before: [.head(":status: 200 | content-length: 9", end: false), .data("hi")],
            ends: true
        ),
        Invalid(
            name: "a chunked body without end",
            wire: chunked + "2\r\nhi\r\n",
            details: "http1.incomplete_body",
            before: [.head(":status: 200", end: false), .data("hi")],
            ends: true
        ),
        Invalid(
            name: "a chunked body without the end of its trailers",
            wire: chunked + "0\r\n",
            details: "http1.incomplete_body",
            before: [.head(":status: 200", end: false)],
            ends: true
        ),
    ]

    /// `UPGRADE` stands for a GET that asks for an upgrade.
    private func client(_ method: String, _ settings: HTTP1Settings) -> TestClient {
        let client = TestClient(settings)
        if method == "UPGRADE" {
            client.request("GET", fields: ["upgrade": "x"], endStream: false)
        } else {
            client.request(method, endStream: method != "CONNECT")
        }
        return client
    }

    @Test(arguments: valid)
    func `a valid response is delivered`(_ example: Valid) {
        let client = client(example.method, example.settings)
        client.receive(example.wire)
        if example.ends { client.codec.receivedEnd() }
        #expect(client.events == example.events)
        #expect(client.ended == [example.reusable])
        #expect(client.isReusable == example.reusable)
        #expect(client.closes == (example.reusable ? 0 : 1))
        #expect(client.stream?.bytesReceived == UInt64(example.wire.unicodeScalars.count))
    }

    @Test(arguments: invalid)
    func `an invalid response resets the stream`(_ example: Invalid) {
        let client = client(example.method, example.settings)
        client.receive(example.wire)
        if example.ends { client.codec.receivedEnd() }
        #expect(client.events == example.before + [.reset(example.reason)])
        #expect(client.detail == example.details)
        #expect(client.ended == [false])
        #expect(client.closes == 1)
        #expect(!client.isReusable)
        client.receive(Self.ok + "Content-Length: 0\r\n\r\n")
        #expect(client.events.count == example.before.count + 1)
        #expect(client.sink.unconsumed == 0)
    }

    private func splits(_ count: Int) -> [Int] {
        count <= 400
            ? Array(0...count)
            : Array(0...60) + stride(from: 61, to: count, by: 211) + [
                count - 3, count - 2, count - 1,
            ]
    }

    @Test(arguments: valid)
    func `the same is heard however a valid response is split`(_ example: Valid) {
        let wire = bytes(example.wire)
        for cut in splits(wire.count) {
            let client = client(example.method, example.settings)
            client.receive(Array(wire[..<cut]))
            client.receive(Array(wire[cut...]))
            if example.ends { client.codec.receivedEnd() }
            #expect(client.events == example.events, "split at \(cut)")
            #expect(client.isReusable == example.reusable)
        }
        let client = client(example.method, example.settings)
        for byte in wire { client.receive([byte]) }
        if example.ends { client.codec.receivedEnd() }
        #expect(client.events == example.events, "byte by byte")
    }

    @Test(arguments: invalid)
    func `the same is heard however an invalid response is split`(_ example: Invalid) {
        let wire = bytes(example.wire)
        for cut in splits(wire.count) {
            let client = client(example.method, example.settings)
            client.receive(Array(wire[..<cut]))
            client.receive(Array(wire[cut...]))
            if example.ends { client.codec.receivedEnd() }
            #expect(client.events == example.before + [.reset(example.reason)], "split at \(cut)")
            #expect(client.detail == example.details, "split at \(cut)")
        }
        let client = client(example.method, example.settings)
        for byte in wire { client.receive([byte]) }
        if example.ends { client.codec.receivedEnd() }
        #expect(client.events == example.before + [.reset(example.reason)], "byte by byte")
    }
}
