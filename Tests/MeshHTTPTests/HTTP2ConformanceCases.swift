/// The tables of ``HTTP2ConformanceTests``.
extension HTTP2ConformanceTests {
    private static let get = H2.headers(H2.get)
    /// A request whose body is still to come.
    private static let post = H2.headers(H2.post, flags: H2.endHeaders)
    private static let block = H2.block(H2.get)

    static let framing: [Case] = [
        Case(
            "4.1",
            "unknown frame types are ignored",
            H2.frame(0x63, flags: 0xFF, bytes("x")),
            .ignored
        ),
        Case(
            "4.1",
            "undefined flags are ignored",
            H2.frame(.ping, flags: 0xFE, bytes("abcdefgh")),
            .ignored
        ),
        Case(
            "4.1",
            "the reserved bit is ignored",
            H2.frame(.ping, stream: 0x8000_0000, bytes("abcdefgh")),
            .ignored
        ),
        Case(
            "4.2",
            "DATA of the largest size",
            post + H2.frame(.data, flags: H2.end, stream: 1, Array(repeating: 1, count: 16_384)),
            .answered
        ),
        Case(
            "4.2",
            "a frame larger than that",
            post + H2.frame(.data, flags: H2.end, stream: 1, Array(repeating: 1, count: 16_385)),
            .connection(.frameSizeError)
        ),
        Case(
            "4.2",
            "HEADERS larger than that",
            H2.frame(.headers, flags: 5, stream: 1, Array(repeating: 0, count: 16_385)),
            .connection(.frameSizeError)
        ),
        Case(
            "4.3",
            "a header section that does not decode",
            H2.frame(.headers, flags: 5, stream: 1, [0x40]),
            .connection(.compressionError)
        ),
        Case(
            "4.3",
            "PRIORITY within a header section",
            H2.headers(H2.get, flags: H2.end) + H2.frame(.priority, stream: 1, [0, 0, 0, 0, 1]),
            .connection(.protocolError)
        ),
        Case(
            "4.3",
            "HEADERS of another stream within a header section",
            H2.headers(H2.get, flags: H2.end) + H2.headers(H2.get, stream: 3),
            .connection(.protocolError)
        ),
        Case(
            "5.5",
            "an extension frame within a header section",
            H2.headers(H2.get, flags: H2.end) + H2.frame(0x63, bytes("x")),
            .connection(.protocolError)
        ),
    ]

    static let streams: [Case] = [
        Case("5.1", "DATA on an idle stream", H2.data("x"), .connection(.protocolError)),
        Case("5.1", "RST_STREAM on an idle stream", H2.reset(1), .connection(.protocolError)),
        Case(
            "5.1",
            "WINDOW_UPDATE on an idle stream",
            H2.windowUpdate(1, 10),
            .connection(.protocolError)
        ),
        Case(
            "5.1",
            "CONTINUATION on an idle stream",
            H2.frame(.continuation, flags: 4, stream: 1, block),
            .connection(.protocolError)
        ),
        Case(
            "5.1",
            "DATA behind the client's RST_STREAM",
            post + H2.reset(1) + H2.data("x"),
            .ignored
        ),
        Case(
            "5.1",
            "HEADERS behind the client's RST_STREAM",
            post + H2.reset(1) + get,
            .connection(.streamClosed)
        ),
        Case("5.1", "HEADERS behind the end of a request", get + get, .connection(.streamClosed)),
        Case(
            "5.1",
            "CONTINUATION on a closed stream",
            get + H2.frame(.continuation, flags: 4, stream: 1, block),
            .connection(.protocolError)
        ),
        Case(
            "5.1",
            "PRIORITY on an idle stream",
            H2.frame(.priority, stream: 9, [0, 0, 0, 0, 1]),
            .ignored
        ),
        Case(
            "5.1",
            "PRIORITY on a closed stream",
            get + H2.frame(.priority, stream: 1, [0, 0, 0, 0, 1]),
            .answered
        ),
        Case("5.1", "WINDOW_UPDATE on a closed stream", get + H2.windowUpdate(1, 10), .answered),
        Case("5.1", "RST_STREAM on a closed stream", get + H2.reset(1), .ignored),
        Case(
            "5.1.1",
            "an even stream identifier",
            H2.headers(H2.get, stream: 2),
            .connection(.protocolError)
        ),
        Case(
            "5.1.1",
            "a stream identifier below the last",
            H2.headers(H2.get, stream: 5) + H2.headers(H2.get, stream: 3),
            .connection(.protocolError)
        ),
        Case(
            "5.3.1",
            "HEADERS of a stream that depends on itself",
            H2.frame(.headers, flags: 0x25, stream: 1, [0, 0, 0, 1, 16] + block),
            .connection(.protocolError)
        ),
    ]

    static let payloads: [Case] = [
        Case("6.1", "DATA on stream 0", H2.data("x", stream: 0), .connection(.protocolError)),
        Case(
            "6.1",
            "padded DATA",
            post + H2.frame(.data, flags: 9, stream: 1, [2, 0x61, 0, 0]),
            .answered
        ),
        Case(
            "6.1",
            "more padding than DATA",
            post + H2.frame(.data, flags: 9, stream: 1, [9, 0x61]),
            .connection(.protocolError)
        ),
        Case(
            "6.2",
            "HEADERS, then CONTINUATION",
            H2.frame(.headers, flags: H2.end, stream: 1, Array(block[..<9]))
                + H2.frame(.continuation, stream: 1, Array(block[9..<12]))
                + H2.frame(.continuation, flags: 4, stream: 1, Array(block[12...])),
            .answered
        ),
        Case(
            "6.2",
            "HEADERS on stream 0",
            H2.headers(H2.get, stream: 0),
            .connection(.protocolError)
        ),
        Case(
            "6.2",
            "HEADERS with padding and priority",
            H2.frame(.headers, flags: 0x2D, stream: 1, [3, 0, 0, 0, 0, 9] + block + [0, 0, 0]),
            .answered
        ),
        Case(
            "6.2",
            "more padding than HEADERS",
            H2.frame(.headers, flags: 0x0D, stream: 1, [255] + block),
            .connection(.protocolError)
        ),
        Case(
            "6.3",
            "PRIORITY on stream 0",
            H2.frame(.priority, [0, 0, 0, 0, 1]),
            .connection(.protocolError)
        ),
        Case(
            "6.3",
            "PRIORITY of another length",
            post + H2.frame(.priority, stream: 1, [0, 0, 0, 1]),
            .connection(.frameSizeError)
        ),
        Case("6.4", "RST_STREAM on stream 0", H2.reset(0), .connection(.protocolError)),
        Case(
            "6.4",
            "RST_STREAM of another length",
            post + H2.frame(.reset, stream: 1, [0, 0, 8]),
            .connection(.frameSizeError)
        ),
        Case(
            "6.5",
            "SETTINGS with ACK and payload",
            H2.frame(.settings, flags: 1, [0, 0, 0, 0, 0, 0]),
            .connection(.frameSizeError)
        ),
        Case(
            "6.5",
            "SETTINGS on a stream",
            H2.frame(.settings, stream: 1),
            .connection(.protocolError)
        ),
        Case(
            "6.5",
            "SETTINGS of another length",
            H2.frame(.settings, [0, 3, 0]),
            .connection(.frameSizeError)
        ),
        Case(
            "6.5.2",
            "ENABLE_PUSH neither 0 nor 1",
            H2.settings([(2, 2)]),
            .connection(.protocolError)
        ),
        Case(
            "6.5.2",
            "INITIAL_WINDOW_SIZE beyond the limit",
            H2.settings([(4, 0x8000_0000)]),
            .connection(.flowControlError)
        ),
        Case(
            "6.5.2",
            "MAX_FRAME_SIZE below the least",
            H2.settings([(5, 16_383)]),
            .connection(.protocolError)
        ),
        Case(
            "6.5.2",
            "MAX_FRAME_SIZE beyond the limit",
            H2.settings([(5, 16_777_216)]),
            .connection(.protocolError)
        ),
        Case("6.5.2", "unknown settings are ignored", H2.settings([(0x99, 7)]), .ignored),
        Case("6.5.3", "SETTINGS apply in order", H2.settings([(4, 100), (4, 1)]) + get, .answered),
        Case(
            "6.6",
            "PUSH_PROMISE from a client",
            H2.frame(.pushPromise, flags: 4, stream: 1, [0, 0, 0, 2] + block),
            .connection(.protocolError)
        ),
        Case(
            "6.7",
            "PING on a stream",
            H2.frame(.ping, stream: 1, bytes("12345678")),
            .connection(.protocolError)
        ),
        Case(
            "6.7",
            "PING of another length",
            H2.frame(.ping, bytes("1234")),
            .connection(.frameSizeError)
        ),
        Case("6.7", "an answer to no PING", H2.ping(ack: true), .ignored),
        Case(
            "6.8",
            "GOAWAY on a stream",
            H2.frame(.goAway, stream: 1, H2.word(0) + H2.word(0)),
            .connection(.protocolError)
        ),
        Case("6.8", "the client's GOAWAY ends an idle connection", H2.goAway(last: 0), .closed),
        Case("6.9", "WINDOW_UPDATE of nothing", H2.windowUpdate(0, 0), .connection(.protocolError)),
        Case(
            "6.9",
            "WINDOW_UPDATE of nothing on a stream",
            post + H2.windowUpdate(1, 0),
            .connection(.protocolError)
        ),
        Case(
            "6.9",
            "WINDOW_UPDATE of another length",
            H2.frame(.windowUpdate, [0, 0, 1]),
            .connection(.frameSizeError)
        ),
        Case(
            "6.9.1",
            "a connection window beyond 2^31-1",
            H2.windowUpdate(0, 0x7FFF_FFFF),
            .connection(.flowControlError)
        ),
        Case(
            "6.9.1",
            "a stream window beyond 2^31-1",
            post + H2.windowUpdate(1, 0x7FFF_FFFF),
            .stream(1, .flowControlError)
        ),
        Case(
            "6.9.2",
            "a window that grows beyond by SETTINGS",
            post + H2.windowUpdate(1, 0x7FFF_0000) + H2.settings([(4, 0x7FFF_FFFF)]),
            .stream(1, .flowControlError)
        ),
        Case(
            "6.10",
            "CONTINUATION on stream 0",
            H2.headers(H2.get, flags: H2.end) + H2.frame(.continuation, flags: 4),
            .connection(.protocolError)
        ),
        Case(
            "6.10",
            "CONTINUATION behind complete HEADERS",
            get + H2.frame(.continuation, flags: 4, stream: 1),
            .connection(.protocolError)
        ),
        Case(
            "6.10",
            "CONTINUATION behind DATA",
            post + H2.data("x") + H2.frame(.continuation, flags: 4, stream: 1),
            .connection(.protocolError)
        ),
        Case("7", "GOAWAY with an unknown code", H2.goAway(last: 0, 0xFF), .closed),
        Case("7", "RST_STREAM with an unknown code", post + H2.reset(1, 0xFF), .ignored),
    ]

    static let compression: [Case] = [
        Case(
            "7541 2.3.3",
            "an index beyond the table",
            H2.frame(.headers, flags: 5, stream: 1, block + [0xC6]),
            .connection(.compressionError)
        ),
        Case(
            "7541 2.3.3",
            "a name index beyond the table",
            H2.frame(.headers, flags: 5, stream: 1, block + [0x7F, 0x20, 1, 0x61]),
            .connection(.compressionError)
        ),
        Case(
            "7541 4.2",
            "a table size update behind a field",
            H2.frame(.headers, flags: 5, stream: 1, block + [0x20]),
            .connection(.compressionError)
        ),
        Case(
            "7541 5.2",
            "Huffman padding of more than 7 bits",
            H2.frame(
                .headers,
                flags: 5,
                stream: 1,
                block + [0, 0x85, 0xF2, 0xB2, 0x4A, 0x84, 0xFF, 0x84, 0x49, 0x50, 0x9F, 0xFF]
            ),
            .connection(.compressionError)
        ),
        Case(
            "7541 5.2",
            "Huffman padding of zeros",
            H2.frame(
                .headers,
                flags: 5,
                stream: 1,
                block + [0, 0x85, 0xF2, 0xB2, 0x4A, 0x84, 0xFF, 0x83, 0x49, 0x50, 0x90]
            ),
            .connection(.compressionError)
        ),
        Case(
            "7541 5.2",
            "Huffman text with EOS in it",
            H2.frame(
                .headers,
                flags: 5,
                stream: 1,
                block + [
                    0, 0x85, 0xF2, 0xB2, 0x4A, 0x84, 0xFF, 0x88, 0x49, 0x51, 0xFF, 0xFF, 0xFF, 0xFA,
                    0x7F, 0xFF,
                ]
            ),
            .connection(.compressionError)
        ),
        Case(
            "7541 6.1",
            "index 0",
            H2.frame(.headers, flags: 5, stream: 1, block + [0x80]),
            .connection(.compressionError)
        ),
        Case(
            "7541 6.3",
            "a table larger than SETTINGS allow",
            H2.frame(
                .headers,
                flags: 5,
                stream: 1,
                H2.integer(4097, prefix: 5, first: 0x20) + block
            ),
            .connection(.compressionError)
        ),
        Case(
            "7541 6.1",
            "indexed fields of the static table",
            H2.frame(
                .headers,
                flags: 5,
                stream: 1,
                [0x82, 0x86, 0x84] + H2.literal(":authority", "a")
            ),
            .answered
        ),
        Case(
            "7541 6.2.1",
            "a literal that is indexed, then used",
            H2.frame(
                .headers,
                flags: 5,
                stream: 1,
                [0x82, 0x86, 0x84, 0x41, 1, 0x61, 0x40, 1, 0x78, 1, 0x79, 0xBE]
            ),
            .answered
        ),
        Case(
            "7541 6.2.3",
            "a literal never indexed, Huffman coded",
            H2.frame(
                .headers,
                flags: 5,
                stream: 1,
                [
                    0x82, 0x86, 0x84, 0x11, 0x8C, 0xF1, 0xE3, 0xC2, 0xE5, 0xF2, 0x3A, 0x6B, 0xA0,
                    0xAB, 0x90, 0xF4, 0xFF,
                ]
            ),
            .answered
        ),
        Case(
            "7541 6.3",
            "a table made smaller",
            H2.frame(.headers, flags: 5, stream: 1, [0x20] + block),
            .answered
        ),
    ]

    private static func with(_ fields: (String, String)...) -> [UInt8] {
        H2.headers(H2.get + fields)
    }

    private static func body(_ fields: [(String, String)], _ rest: [UInt8]) -> [UInt8] {
        H2.headers(H2.post + fields, flags: H2.endHeaders) + rest
    }

    private static func trailers(_ fields: [(String, String)], flags: UInt8 = 5) -> [UInt8] {
        post + H2.data("x") + H2.headers(fields, flags: flags)
    }

    private static func bad(_ section: String, _ name: String, _ bytes: [UInt8]) -> Case {
        Case(section, name, bytes, .stream(1, .protocolError))
    }

    private static func good(_ section: String, _ name: String, _ bytes: [UInt8]) -> Case {
        Case(section, name, bytes, .answered)
    }

    private static func changed(_ name: String, _ value: String?) -> [UInt8] {
        H2.headers(H2.changed(H2.get, name, value))
    }

    static let messages: [Case] = [
        good("8.1", "GET", get),
        good("8.1", "HEAD", changed(":method", "HEAD")),
        good("8.1", "POST", post + H2.data("body", flags: H2.end)),
        good("8.1", "POST with trailers", trailers([("x", "y")])),
        bad("8.1", "trailers without END_STREAM", trailers([("x", "y")], flags: 4)),
        bad("8.1", "trailers with a pseudo-header", trailers([(":path", "/")])),
        bad("8.1", "trailers with Connection", trailers([("connection", "x")])),
        bad("8.1", "trailers with TE", trailers([("te", "trailers")])),
        bad("8.2.1", "an upper-case name", with(("X-A", "b"))),
        bad("8.2.1", "an empty name", with(("", "b"))),
        bad("8.2.1", "a space in a name", with(("x a", "b"))),
        bad("8.2.1", "a byte above ASCII in a name", with(("x\u{FF}", "b"))),
        bad("8.2.1", "a colon in a name", with(("x:a", "b"))),
        good("8.2.1", "an underscore in a name", with(("x_a", "b"))),
        bad("8.2.1", "NUL in a value", with(("x", "a\0b"))),
        bad("8.2.1", "LF in a value", with(("x", "a\nb"))),
        bad("8.2.1", "CR in a value", with(("x", "some more text\rb"))),
        bad("8.2.1", "DEL in a value", with(("x", "a\u{7F}"))),
        good("8.2.1", "TAB in a value", with(("x", "a\tb and some more"))),
        good("8.2.1", "a byte above ASCII in a value", with(("x", "a\u{FF}"))),
        bad("8.2.2", "Connection", with(("connection", "keep-alive"))),
        bad("8.2.2", "Keep-Alive", with(("keep-alive", "5"))),
        bad("8.2.2", "Proxy-Connection", with(("proxy-connection", "x"))),
        bad("8.2.2", "Transfer-Encoding", with(("transfer-encoding", "chunked"))),
        bad("8.2.2", "Upgrade", with(("upgrade", "websocket"))),
        bad("8.2.2", "TE other than trailers", with(("te", "trailers, deflate"))),
        good("8.2.2", "TE: trailers", with(("te", "trailers"))),
        bad("8.3", "an unknown pseudo-header", with((":x", "y"))),
        bad("8.3", "a pseudo-header of responses", with((":status", "200"))),
        bad("8.3", "a pseudo-header behind a field", H2.headers([("x", "y")] + H2.get)),
        bad("8.3", "a pseudo-header twice", with((":path", "/"))),
        bad("8.3.1", "no method", changed(":method", nil)),
        bad("8.3.1", "no scheme", changed(":scheme", nil)),
        bad("8.3.1", "no path", changed(":path", nil)),
        bad("8.3.1", "no authority", changed(":authority", nil)),
        bad("8.3.1", "an empty method", changed(":method", "")),
        bad("8.3.1", "a method that is no token", changed(":method", "G T")),
        good("8.3.1", "a method of its own", changed(":method", "FOO")),
        bad("8.3.1", "an empty path", changed(":path", "")),
        bad("8.3.1", "a path without slash", changed(":path", "a")),
        bad("8.3.1", "a path with a space", changed(":path", "/a b")),
        bad("8.3.1", "an asterisk without OPTIONS", changed(":path", "*")),
        good(
            "8.3.1",
            "OPTIONS *",
            H2.headers(H2.changed(H2.changed(H2.get, ":method", "OPTIONS"), ":path", "*"))
        ),
        bad("8.3.1", "a scheme that is none", changed(":scheme", "ht tp")),
        good("8.3.1", "https", changed(":scheme", "https")),
        bad("8.3.1", "an empty authority", changed(":authority", "")),
        bad("8.3.1", "user information", changed(":authority", "u@a")),
        bad("8.3.1", "an authority with a slash", changed(":authority", "a/b")),
        bad("8.3.1", "Host and :authority differ", with(("host", "b"))),
        good("8.3.1", "Host and :authority agree", with(("host", "A"))),
        good(
            "8.3.1",
            "Host alone",
            H2.headers(H2.changed(H2.get, ":authority", nil) + [("host", "a")])
        ),
        good(
            "8.1.1",
            "content-length that fits",
            body([("content-length", "3")], H2.data("abc", flags: 1))
        ),
        bad(
            "8.1.1",
            "content-length of more",
            body([("content-length", "4")], H2.data("abc", flags: 1))
        ),
        bad(
            "8.1.1",
            "content-length of less",
            body([("content-length", "2")], H2.data("abc", flags: 1))
        ),
        bad(
            "8.1.1",
            "content-length of less, over several frames",
            body([("content-length", "3")], H2.data("ab") + H2.data("cd", flags: 1))
        ),
        bad("8.1.1", "content-length without a body", with(("content-length", "4"))),
        good("8.1.1", "content-length 0", with(("content-length", "0"))),
        bad(
            "8.1.1",
            "content-length of more, ended by trailers",
            body([("content-length", "4")], H2.data("abc") + H2.headers([("x", "y")]))
        ),
        bad(
            "8.1.1",
            "content-length twice",
            body([("content-length", "3"), ("content-length", "3")], H2.data("abc", flags: 1))
        ),
        bad(
            "8.1.1",
            "a content-length that is none",
            body([("content-length", "+3")], H2.data("abc", flags: 1))
        ),
        bad(
            "8.5",
            "CONNECT with a path",
            H2.headers([(":method", "CONNECT"), (":authority", "a:1"), (":path", "/")], flags: 4)
        ),
        bad(
            "8.5",
            "CONNECT without a port",
            H2.headers([(":method", "CONNECT"), (":authority", "a")], flags: 4)
        ),
        bad(
            "8441 4",
            ":protocol, not enabled",
            H2.headers(
                [(":method", "CONNECT"), (":protocol", "websocket")] + H2.get[1...],
                flags: 4
            )
        ),
        bad("8441 4", ":protocol without CONNECT", with((":protocol", "websocket"))),
    ]
}
