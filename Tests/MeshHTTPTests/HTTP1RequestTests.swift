import MeshHTTP
import MeshNet
import Testing

/// Requests as they come over the wire: what is accepted, as what, and what is refused, with which
/// answer. The answers to what Envoy refuses, too, were read off a running Envoy 1.40.
@Suite struct HTTP1RequestTests {
    struct Valid: Sendable, CustomTestStringConvertible {
        let name: String
        let wire: String
        let events: [Event]
        var settings = HTTP1Settings()
        var testDescription: String { name }
    }

    struct Invalid: Sendable, CustomTestStringConvertible {
        let name: String
        let wire: String
        var status = 400
        var details = "http1.codec_error"
        /// What was delivered before the fault was found.
        var before: [Event] = []
        var settings = HTTP1Settings()
        var testDescription: String { name }
    }

    static let get = "GET / HTTP/1.1\r\nHost: a\r\n"
    static let post = "POST / HTTP/1.1\r\nHost: a\r\n"
    static let getHead = ":method: GET | :path: / | :authority: a"
    static let postHead = ":method: POST | :path: / | :authority: a"
    static let chunked = post + "Transfer-Encoding: chunked\r\n\r\n"

    static let valid: [Valid] = [
        Valid(name: "GET", wire: get + "\r\n", events: [.head(getHead, end: true)]),
        Valid(
            name: "names are lower-cased, values trimmed",
            wire: get + "X-ABC_d.e: \t v w\t \r\nY:\r\nZ: \r\n\r\n",
            events: [.head(getHead + " | x-abc_d.e: v w | y:  | z: ", end: true)]
        ),
        Valid(
            name: "every token character names a field",
            wire: get + "!#$%&'*+-.^_`|~09AZaz: 1\r\n\r\n",
            events: [.head(getHead + " | !#$%&'*+-.^_`|~09azaz: 1", end: true)]
        ),
        Valid(
            name: "tabs and bytes beyond ASCII in values",
            wire: get
                + "X: a\tb\u{FF}c; long enough for several words of eight\u{80}\u{E9}\r\n\r\n",
            events: [
                .head(
                    getHead
                        + " | x: a\tb\u{FF}c; long enough for several words of eight\u{80}\u{E9}",
                    end: true
                )
            ]
        ),
        Valid(
            name: "repeated fields stay in order",
            wire: get + "A: 1\r\nB: 2\r\nA: 3\r\n\r\n",
            events: [.head(getHead + " | a: 1 | b: 2 | a: 3", end: true)]
        ),
        Valid(
            name: "one empty line before the request (RFC 9112 §2.2)",
            wire: "\r\n" + get + "\r\n",
            events: [.head(getHead, end: true)]
        ),
        Valid(
            name: "no Host is for the connection manager to refuse",
            wire: "GET / HTTP/1.1\r\n\r\n",
            events: [.head(":method: GET | :path: /", end: true)]
        ),
        Valid(
            name: "an empty Host",
            wire: "GET / HTTP/1.1\r\nHost:\r\n\r\n",
            events: [.head(":method: GET | :path: / | :authority: ", end: true)]
        ),
        Valid(
            name: "hosts with ports, brackets and user information",
            wire: "GET / HTTP/1.1\r\nHost: u@[::1]:80\r\n\r\n",
            events: [.head(":method: GET | :path: / | :authority: u@[::1]:80", end: true)]
        ),
        Valid(
            name: "all visible characters in a path",
            wire: "GET /a<>\"{}|^`\\#?%zz HTTP/1.1\r\nHost: a\r\n\r\n",
            events: [.head(":method: GET | :path: /a<>\"{}|^`\\#?%zz | :authority: a", end: true)]
        ),
        Valid(
            name: "OPTIONS *",
            wire: "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            events: [.head(":method: OPTIONS | :path: * | :authority: a", end: true)]
        ),
        Valid(
            name: "a method that Envoy knows",
            wire: "PURGE / HTTP/1.1\r\nHost: a\r\n\r\n",
            events: [.head(":method: PURGE | :path: / | :authority: a", end: true)]
        ),
        Valid(
            name: "any method where custom ones are allowed",
            wire: "FOOO / HTTP/1.1\r\nHost: a\r\n\r\n",
            events: [.head(":method: FOOO | :path: / | :authority: a", end: true)],
            settings: settings { $0.allowCustomMethods = true }
        ),
        Valid(
            name: "absolute-form: the target's authority wins over Host (RFC 9112 §3.2.2)",
            wire: "GET http://b:81/x?y HTTP/1.1\r\nHost: a\r\n\r\n",
            events: [
                .head(":method: GET | :path: /x?y | :authority: b:81 | :scheme: http", end: true)
            ]
        ),
        Valid(
            name: "absolute-form without Host, with user information and a secure scheme",
            wire: "GET HTTPS://u:p@b/ HTTP/1.1\r\n\r\n",
            events: [.head(":method: GET | :path: / | :authority: b | :scheme: https", end: true)]
        ),
        Valid(
            name: "absolute-form without a path",
            wire: "GET http://b HTTP/1.1\r\nHost: a\r\n\r\n",
            events: [.head(":method: GET | :path: / | :authority: b | :scheme: http", end: true)]
        ),
        Valid(
            name: "absolute-form with a query but no path",
            wire: "GET http://b?x=1 HTTP/1.1\r\nHost: a\r\n\r\n",
            events: [
                .head(":method: GET | :path: /?x=1 | :authority: b | :scheme: http", end: true)
            ]
        ),
        Valid(
            name: "Content-Length",
            wire: post + "Content-Length: 5\r\n\r\nhello",
            events: [.head(postHead + " | content-length: 5", end: false), .data("hello"), .end]
        ),
        Valid(
            name: "Content-Length 0",
            wire: post + "Content-Length: 0\r\n\r\n",
            events: [.head(postHead + " | content-length: 0", end: true)]
        ),
        Valid(
            name: "leading zeros are digits, too",
            wire: post + "Content-Length: 002\r\n\r\nhi",
            events: [.head(postHead + " | content-length: 002", end: false), .data("hi"), .end]
        ),
        Valid(
            name: "a GET may have a body",
            wire: get + "Content-Length: 2\r\n\r\nhi",
            events: [.head(getHead + " | content-length: 2", end: false), .data("hi"), .end]
        ),
        Valid(
            name: "chunked",
            wire: chunked + "5\r\nhello\r\n00a\r\n, the rest\r\n0\r\n\r\n",
            events: [.head(postHead, end: false), .data("hello, the rest"), .end]
        ),
        Valid(
            name: "an empty chunked body",
            wire: chunked + "0\r\n\r\n",
            events: [.head(postHead, end: false), .end]
        ),
        Valid(
            name: "chunked in other letters, sizes in upper case",
            wire: post + "Transfer-Encoding: CHUNKED\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n",
            events: [.head(postHead, end: false), .data("0123456789"), .end]
        ),
        Valid(
            name: "chunk extensions are read over",
            wire: chunked + "2;a;b=c;d=\"e \\\" ;\"\r\nhi\r\n0;x=y\r\n\r\n",
            events: [.head(postHead, end: false), .data("hi"), .end]
        ),
        Valid(
            name: "trailers are dropped unless enabled",
            wire: chunked + "2\r\nhi\r\n0\r\nX: y\r\n\r\n",
            events: [.head(postHead, end: false), .data("hi"), .end]
        ),
        Valid(
            name: "trailers are delivered where enabled",
            wire: chunked + "2\r\nhi\r\n0\r\nX: y\r\nZ: \r\n\r\n",
            events: [.head(postHead, end: false), .data("hi"), .trailers("x: y | z: ")],
            settings: settings { $0.enableTrailers = true }
        ),
        Valid(
            name: "trailers that would change framing or routing are dropped (RFC 9110 §6.5.1)",
            wire: chunked + "0\r\nContent-Length: 3\r\nHost: b\r\nTransfer-Encoding: x\r\nX: y\r\n"
                + "Connection: close\r\nAuthorization: z\r\n\r\n",
            events: [.head(postHead, end: false), .trailers("x: y")],
            settings: settings { $0.enableTrailers = true }
        ),
        Valid(
            name: "trailers of which nothing is left are just the end",
            wire: chunked + "0\r\nContent-Length: 3\r\n\r\n",
            events: [.head(postHead, end: false), .end],
            settings: settings { $0.enableTrailers = true }
        ),
        Valid(
            name: "allow_chunked_length drops the length",
            wire: post
                + "Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            events: [.head(postHead, end: false), .data("hi"), .end],
            settings: settings { $0.allowChunkedLength = true }
        ),
        Valid(
            name: "fields of one hop are taken off",
            wire: get + "Connection: foo, keep-alive\r\nFoo: 1\r\nKeep-Alive: 3\r\nTE: gzip\r\n"
                + "Proxy-Connection: x\r\nUpgrade: bar\r\nX: 1\r\n\r\n",
            events: [.head(getHead + " | x: 1", end: true)]
        ),
        Valid(
            name: "TE stays where it says trailers, and says no more",
            wire: get + "TE: gzip;q=1, Trailers\r\nTrailer: x\r\n\r\n",
            events: [.head(getHead + " | te: trailers | trailer: x", end: true)]
        ),
        Valid(
            name: "h2c upgrades are taken off",
            wire: get
                + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n",
            events: [.head(getHead, end: true)]
        ),
        Valid(
            name: "Upgrade without the connection option is taken off",
            wire: get + "Upgrade: websocket\r\n\r\n",
            events: [.head(getHead, end: true)]
        ),
        Valid(
            name: "an upgrade with a body goes on as a plain request",
            wire: get + "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nhi",
            events: [.head(getHead + " | content-length: 2", end: false), .data("hi"), .end]
        ),
        Valid(
            name: "HTTP/1.0 where accepted",
            wire: "GET / HTTP/1.0\r\n\r\n",
            events: [.head(":method: GET | :path: /", end: true)],
            settings: settings { $0.acceptHTTP10 = true }
        ),
        Valid(
            name: "HTTP/1.0 with a default host",
            wire: "GET / HTTP/1.0\r\n\r\n",
            events: [.head(":method: GET | :path: / | :authority: fallback", end: true)],
            settings: settings {
                $0.acceptHTTP10 = true
                $0.defaultHostForHTTP10 = "fallback"
            }
        ),
        Valid(
            name: "bare LF where allowed",
            wire: "POST / HTTP/1.1\nHost: a\nContent-Length: 2\n\nhi",
            events: [.head(postHead + " | content-length: 2", end: false), .data("hi"), .end],
            settings: settings { $0.leniency = .bareLineFeed }
        ),
        Valid(
            name: "folded lines where allowed",
            wire: get + "X: a \r\n \t b\r\n\tc \r\nY: 1\r\n\r\n",
            events: [.head(getHead + " | x: a b c | y: 1", end: true)],
            settings: settings { $0.leniency = .foldedLines }
        ),
        Valid(
            name: "two Hosts where allowed",
            wire: "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nHost: b\r\n\r\n",
            events: [.head(":method: GET | :path: / | :authority: a,b | x: 1", end: true)],
            settings: settings { $0.leniency = .repeatedHost }
        ),
        Valid(
            name: "any number of empty lines first where allowed",
            wire: "\n\r\n\r\n" + get + "\r\n",
            events: [.head(getHead, end: true)],
            settings: settings { $0.leniency = .leadingEmptyLines }
        ),
        Valid(
            name: "white space in a request line where allowed",
            wire: "GET \t /x\t\tHTTP/1.1 \t\r\nHost: a\r\n\r\n",
            events: [.head(":method: GET | :path: /x | :authority: a", end: true)],
            settings: settings { $0.leniency = .requestLineSpace }
        ),
        Valid(
            name: "white space behind a chunk size where allowed",
            wire: chunked + "2 \t\r\nhi\r\n1 ;a=b\r\n!\r\n0 \r\n\r\n",
            events: [.head(postHead, end: false), .data("hi!"), .end],
            settings: settings { $0.leniency = .chunkSizeSpace }
        ),
        Valid(
            name: "a head of exactly the limit",
            wire: headOf(bytes: 1024),
            events: [.head(fieldsOf(bytes: 1024), end: true)],
            settings: settings { $0.maxHeadersKB = 1 }
        ),
        Valid(
            name: "exactly as many fields as the limit",
            wire: headOf(fields: 100),
            events: [.head(fieldsOf(fields: 100), end: true)]
        ),
    ]

    /// A head of so many bytes, its end included.
    static func headOf(bytes: Int) -> String {
        get + "X: " + String(repeating: "v", count: bytes - get.utf8.count - 7) + "\r\n\r\n"
    }
    static func fieldsOf(bytes: Int) -> String {
        getHead + " | x: " + String(repeating: "v", count: bytes - get.utf8.count - 7)
    }
    static func headOf(fields: Int) -> String {
        get + (1..<fields).map { "F\($0): 1\r\n" }.joined() + "\r\n"
    }
    static func fieldsOf(fields: Int) -> String {
        getHead + (1..<fields).map { " | f\($0): 1" }.joined()
    }

    private static func transferCoding(_ name: String, _ coding: String) -> Invalid {
        Invalid(
            name: name,
            wire: post + coding + "\r\n\r\n0\r\n\r\n",
            status: 501,
            details: "http1.invalid_transfer_encoding"
        )
    }
    private static func length(_ name: String, _ field: String) -> Invalid {
        Invalid(name: name, wire: post + field + "\r\n\r\nhello")
    }
    private static func character(_ name: String, _ field: String) -> Invalid {
        Invalid(name: name, wire: get + field + "\r\n\r\n", details: "http1.invalid_characters")
    }
    private static func field(_ name: String, _ field: String) -> Invalid {
        Invalid(name: name, wire: get + field + "\r\n\r\n")
    }
    private static func line(
        _ name: String,
        _ line: String,
        _ details: String = "http1.codec_error"
    )
        -> Invalid
    {
        Invalid(name: name, wire: line + "\r\nHost: a\r\n\r\n", details: details)
    }
    private static func version(_ name: String, _ line: String) -> Invalid {
        Invalid(name: name, wire: line + "\r\nHost: a\r\n\r\n", status: 426, details: "low_version")
    }
    private static func chunk(_ name: String, _ body: String, _ data: String = "") -> Invalid {
        Invalid(
            name: name,
            wire: chunked + body,
            before: [.head(postHead, end: false)] + (data.isEmpty ? [] : [.data(data)])
        )
    }
    private static func host(_ name: String, _ host: String) -> Invalid {
        Invalid(
            name: name,
            wire: "GET / HTTP/1.1\r\nHost: \(host)\r\n\r\n",
            details: "http.invalid_authority"
        )
    }
    private static func nominated(_ field: String) -> Invalid {
        Invalid(
            name: "Connection names \(field)",
            wire: get + "Connection: close, \(field)\r\nX-Forwarded-For: 1\r\n\r\n",
            details: "http1.connection_header_rejected"
        )
    }

    static let invalid: [Invalid] =
        [
            // Two lengths.
            Invalid(
                name: "Content-Length and chunked",
                wire: post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                details: "http1.content_length_and_chunked_not_allowed"
            ),
            Invalid(
                name: "chunked and Content-Length 0",
                wire: post + "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
                details: "http1.content_length_and_chunked_not_allowed"
            ),
            length("the same length twice", "Content-Length: 5\r\nContent-Length: 5"),
            length("two lengths", "Content-Length: 5\r\nContent-Length: 6"),
            length("two lengths, differently written", "Content-Length: 5\r\ncontent-lengTH: 05"),
            length("a list of lengths", "Content-Length: 5, 5"),
            length("a signed length", "Content-Length: +5"),
            length("a negative length", "Content-Length: -5"),
            length("a hexadecimal length", "Content-Length: 0x5"),
            length("a length with a fraction", "Content-Length: 5.0"),
            length("a length with an underscore", "Content-Length: 1_0"),
            length("a length with inner space", "Content-Length: 1 0"),
            length("a length with letters", "Content-Length: five"),
            length("an empty length", "Content-Length: "),
            length("a length beyond 64 bits", "Content-Length: 18446744073709551621"),
            length("a length beyond anything", "Content-Length: 99999999999999999999999999"),
            // Transfer codings.
            transferCoding("chunked twice", "Transfer-Encoding: chunked, chunked"),
            transferCoding(
                "chunked in two fields",
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"
            ),
            transferCoding(
                "chunked, then identity in a field",
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"
            ),
            transferCoding("gzip and chunked", "Transfer-Encoding: gzip, chunked"),
            transferCoding("chunked not last", "Transfer-Encoding: chunked, gzip"),
            transferCoding("gzip", "Transfer-Encoding: gzip"),
            transferCoding("identity", "Transfer-Encoding: identity"),
            transferCoding("an unknown coding", "Transfer-Encoding: xchunked"),
            transferCoding("an empty coding", "Transfer-Encoding: "),
            transferCoding("a quoted coding", "Transfer-Encoding: \"chunked\""),
            transferCoding("a coding with parameters", "Transfer-Encoding: chunked;q=1"),
            transferCoding("a coding with an empty element", "Transfer-Encoding: ,chunked"),
            transferCoding(
                "a coding with a vertical neighbour",
                "Transfer-Encoding: chunked\u{A0}"
            ),
            Invalid(
                name: "HTTP/1.0 with a transfer coding (RFC 9112 §6.1)",
                wire: "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                settings: settings { $0.acceptHTTP10 = true }
            ),
            // Fields.
            field("space before the colon", "X : 1"),
            field("tab before the colon", "X\t: 1"),
            field("space before the colon of a length", "Content-Length : 1"),
            field("space before the colon of a coding", "Transfer-Encoding : chunked"),
            field("a field without a colon", "abc"),
            field("a field without a name", ": 1"),
            field("a parenthesis in a name", "X(: 1"),
            field("a slash in a name", "X/Y: 1"),
            field("a byte beyond ASCII in a name", "X\u{E9}: 1"),
            field("a folded line", "X: a\r\n b"),
            field("a line folded by a tab", "X: a\r\n\tb"),
            field("a folded length", "Content-Length:\r\n 5"),
            Invalid(
                name: "white space before the first field",
                wire: "GET / HTTP/1.1\r\n X: a\r\nHost: a\r\n\r\n"
            ),
            field("a bare CR in a value", "X: a\rb"),
            field("a bare CR before the end of a value", "X: a\r\r"),
            field("a bare CR in a coding", "Transfer-Encoding: chunked\rx"),
            Invalid(name: "a bare LF after a field", wire: get + "X: a\nY: b\r\n\r\n"),
            Invalid(
                name: "a bare LF after the request line",
                wire: "GET / HTTP/1.1\nHost: a\r\n\r\n"
            ),
            Invalid(name: "a bare LF as the end of the head", wire: get + "\n"),
            Invalid(name: "a CR without LF as the end of the head", wire: get + "\rX\n"),
            character("NUL in a value", "X: a\0b"),
            character("NUL as a value", "X: \0"),
            character("NUL in a name", "X\0: a"),
            character("a control character in a value", "X: a\u{1}b"),
            character("a vertical tab in a value", "X: a\u{B}b"),
            character("a form feed after a coding", "Transfer-Encoding: chunked\u{C}"),
            character("DEL in a value", "X: a\u{7F}b"),
            character("a control character in a name", "X\u{1B}Y: a"),
            Invalid(name: "two Hosts", wire: "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
            Invalid(
                name: "the same Host twice",
                wire: "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nhost: a\r\n\r\n"
            ),
            host("a Host with a space", "a b"),
            host("a Host with a path", "a/b"),
            host("a Host with a fragment", "a#b"),
            host("a Host with a query", "a?b"),
            host("a Host with a backslash", "a\\b"),
            host("a Host with angle brackets", "<a>"),
            host("a Host beyond ASCII", "a\u{E9}"),
            // Request lines.
            line("two spaces after the method", "GET  / HTTP/1.1"),
            line("two spaces after the target", "GET /  HTTP/1.1"),
            line("tab after the method", "GET\t/ HTTP/1.1"),
            line("tab after the target", "GET /\tHTTP/1.1", "http1.invalid_characters"),
            line("white space after the version", "GET / HTTP/1.1 "),
            line("white space before the method", " GET / HTTP/1.1"),
            line("a space in the target", "GET /a b HTTP/1.1"),
            line("no target", "GET HTTP/1.1"),
            line("an empty line instead of a request line, twice", "\r\n"),
            line("a lower-case method", "get / HTTP/1.1"),
            line("an unknown method", "FOOO / HTTP/1.1"),
            line("a method that begins like a known one", "GETS / HTTP/1.1"),
            line("a method with a colon", "GET: / HTTP/1.1"),
            line("a method of 40 bytes", String(repeating: "A", count: 40) + " / HTTP/1.1"),
            line("an HTTP/2 preface", "PRI * HTTP/2.0"),
            line("a response", "HTTP/1.1 200 OK"),
            line("a lower-case version", "GET / http/1.1"),
            line("a version with three parts", "GET / HTTP/1.1.1"),
            line("a version without minor", "GET / HTTP/1"),
            line("a version with a comma", "GET / HTTP/1,1"),
            line("another protocol", "GET / ICAP/1.1"),
            line("a path beyond ASCII", "GET /\u{FF} HTTP/1.1"),
            line("NUL in the path", "GET /\0 HTTP/1.1", "http1.invalid_characters"),
            line("DEL in the path", "GET /\u{7F} HTTP/1.1", "http1.invalid_characters"),
            line("a relative path", "GET x HTTP/1.1"),
            line("an asterisk with GET", "GET * HTTP/1.1", "http1.invalid_url"),
            line("more than an asterisk", "OPTIONS *x HTTP/1.1", "http1.invalid_url"),
            line("another scheme", "GET ftp://b/ HTTP/1.1", "http1.invalid_scheme"),
            line("a scheme without authority", "GET http:///x HTTP/1.1", "http1.invalid_url"),
            line(
                "an authority with a bad character",
                "GET http://b^/x HTTP/1.1",
                "http1.invalid_url"
            ),
            line("a scheme without slashes", "GET http:b HTTP/1.1"),
            line("a tunnel without port", "CONNECT b HTTP/1.1", "http1.invalid_url"),
            line("a tunnel to a path", "CONNECT /x HTTP/1.1", "http1.invalid_url"),
            line("a tunnel to a bad port", "CONNECT b:x HTTP/1.1", "http1.invalid_url"),
            line("a tunnel to port only", "CONNECT :1 HTTP/1.1", "http1.invalid_url"),
            line(
                "a tunnel with user information",
                "CONNECT http://b:1 HTTP/1.1",
                "http1.invalid_url"
            ),
            Invalid(
                name: "an absolute target where not allowed",
                wire: "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
                details: "http1.invalid_url",
                settings: settings { $0.allowAbsoluteURL = false }
            ),
            Invalid(
                name: "a tunnel with a body",
                wire: "CONNECT b:1 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
                details: "http1.body_disallowed"
            ),
            Invalid(
                name: "a tunnel with a transfer coding",
                wire: "CONNECT b:1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                status: 501,
                details: "http1.invalid_transfer_encoding"
            ),
            version("HTTP/1.0", "GET / HTTP/1.0"),
            version("HTTP/1.2", "GET / HTTP/1.2"),
            version("HTTP/2.0", "GET / HTTP/2.0"),
            version("HTTP/0.9", "GET /"),
            // Leading junk.
            Invalid(name: "two empty lines", wire: "\r\n\r\n" + get + "\r\n"),
            Invalid(name: "a bare LF first", wire: "\n" + get + "\r\n"),
            Invalid(name: "a bare CR first", wire: "\r" + get + "\r\n"),
            Invalid(
                name: "TLS on a plaintext port",
                wire: "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{FC}\u{3}\u{3}"
            ),
            Invalid(name: "NUL first", wire: "\0" + get + "\r\n"),
            // Limits.
            Invalid(
                name: "a head one byte over the limit",
                wire: headOf(bytes: 1025),
                status: 431,
                details: "http1.headers_too_large",
                settings: settings { $0.maxHeadersKB = 1 }
            ),
            Invalid(
                name: "a long path",
                wire: "GET /" + String(repeating: "p", count: 1100) + " HTTP/1.1\r\n\r\n",
                status: 431,
                details: "http1.headers_too_large",
                settings: settings { $0.maxHeadersKB = 1 }
            ),
            Invalid(
                name: "a long field that never ends",
                wire: get + "X: " + String(repeating: "v", count: 1100),
                status: 431,
                details: "http1.headers_too_large",
                settings: settings { $0.maxHeadersKB = 1 }
            ),
            Invalid(
                name: "one field too many",
                wire: headOf(fields: 101),
                status: 431,
                details: "http1.too_many_headers"
            ),
            Invalid(
                name: "one trailer too many",
                wire: chunked + "0\r\nA: 1\r\nB: 1\r\nC: 1\r\n\r\n",
                status: 431,
                details: "http1.too_many_trailers",
                before: [.head(postHead, end: false)],
                settings: settings { $0.maxHeadersCount = 2 }
            ),
            Invalid(
                name: "trailers over the limit",
                wire: chunked + "0\r\nA: " + String(repeating: "v", count: 1100) + "\r\n\r\n",
                status: 431,
                details: "http1.trailers_too_large",
                before: [.head(postHead, end: false)],
                settings: settings { $0.maxHeadersKB = 1 }
            ),
            // Chunks.
            chunk("a size that is no number", "zz\r\n"),
            chunk("an empty size", "\r\nhi\r\n0\r\n\r\n"),
            chunk("a signed size", "+2\r\nhi\r\n0\r\n\r\n"),
            chunk("a negative size", "-2\r\nhi\r\n0\r\n\r\n"),
            chunk("a size with a prefix", "0x2\r\nhi\r\n0\r\n\r\n"),
            chunk("a size with leading space", " 2\r\nhi\r\n0\r\n\r\n"),
            chunk("a size with trailing space", "2 \r\nhi\r\n0\r\n\r\n"),
            chunk("a size with a trailing tab", "2\t\r\nhi\r\n0\r\n\r\n"),
            chunk("a size with an underscore", "1_0\r\n"),
            chunk("a size beyond 64 bits", "fffffffffffffffff\r\nhi"),
            chunk("a size of 64 bits", "ffffffffffffffff\r\nhi"),
            chunk("a bare LF after the size", "2\nhi\r\n0\r\n\r\n"),
            chunk("a bare CR after the size", "2\rhi\r\n0\r\n\r\n"),
            chunk("data longer than its size", "2\r\nhix\r\n0\r\n\r\n", "hi"),
            chunk("data without line end", "2\r\nhi0\r\n\r\n", "hi"),
            chunk("data with a bare LF", "2\r\nhi\n0\r\n\r\n", "hi"),
            chunk("data with a bare CR", "2\r\nhi\r0\r\n\r\n", "hi"),
            chunk("an extension without name", "2;\r\nhi\r\n0\r\n\r\n"),
            chunk("an extension without value", "2;a=\r\nhi\r\n0\r\n\r\n"),
            chunk("an extension ended by LF", "2;a\nhi\r\n0\r\n\r\n"),
            chunk("an extension with a quoted line end", "2;a=\"\r\n\"\r\nhi\r\n0\r\n\r\n"),
            chunk("an extension with a bare CR", "2;a=b\rc\r\nhi\r\n0\r\n\r\n"),
            chunk("an extension with NUL", "2;a=\"\0\"\r\nhi\r\n0\r\n\r\n"),
            chunk("an extension with space before it", "2 ;a=b\r\nhi\r\n0\r\n\r\n"),
            chunk("an extension that never ends", "2;" + String(repeating: "a", count: 2000)),
            chunk("a trailer without colon", "2\r\nhi\r\n0\r\nX y\r\n\r\n", "hi"),
            chunk("a folded trailer", "0\r\nX: y\r\n z\r\n\r\n"),
            chunk("a trailer with a bare LF", "0\r\nX: y\n\r\n"),
            chunk("a last chunk with a bare LF", "0\r\n\n"),
        ]
        // Fields that say who sent a message, for whom, and how long it is.
        + [
            "Host", "content-length", "Transfer-Encoding", "X-Forwarded-For", "x-forwarded-host",
            "X-Forwarded-Proto", "X-Forwarded-Client-Cert", "x-envoy-internal", "Authorization",
            "Cookie", "X-Request-Id", ":path", "a b", "\"x\"", String(repeating: "n", count: 300),
        ].map(nominated)
        + [
            Invalid(
                name: "Connection names ten fields",
                wire: get + "Connection: a,b,c,d,e\r\nConnection: f,g,h,i,j\r\n\r\n",
                details: "http1.connection_header_rejected"
            )
        ]

    @Test(arguments: valid)
    func `a valid request is delivered`(_ example: Valid) {
        let server = TestServer(example.settings)
        server.receive(example.wire)
        #expect(server.events == example.events)
        #expect(server.output.isEmpty)
        server.respond(200)
        #expect(server.events == example.events + [.sent])
        #expect(server.sink.unconsumed == 0)
        #expect(
            server.stream?.bytesReceived
                == UInt64(example.wire.unicodeScalars.count - leading(example.wire))
        )
    }

    /// Bytes of empty lines before the request, which belong to none.
    private func leading(_ wire: String) -> Int {
        wire.unicodeScalars.prefix { $0 == "\r" || $0 == "\n" }.count
    }

    @Test(arguments: invalid)
    func `an invalid request is answered and the connection closed`(_ example: Invalid) {
        let server = TestServer(example.settings)
        server.receive(example.wire)
        #expect(
            server.events == example.before
                + [.invalid(status: example.status, details: example.details), .sent]
        )
        let version = example.settings.acceptHTTP10 ? "HTTP/1.0" : "HTTP/1.1"
        #expect(server.output.hasPrefix("\(version) \(example.status) "))
        #expect(server.output.contains("\r\nconnection: close\r\n"))
        #expect(server.closes == 1)
        // Whatever follows is nothing to us.
        let before = server.output
        server.receive(Self.get + "\r\n")
        #expect(server.output == before)
        #expect(server.opened == 1)
        #expect(server.sink.unconsumed == 0)
    }

    @Test(arguments: valid)
    func `the same is heard however a valid request is split`(_ example: Valid) {
        let wire = bytes(example.wire)
        for cut in splits(wire.count) {
            let server = TestServer(example.settings)
            server.receive(Array(wire[..<cut]))
            server.receive(Array(wire[cut...]))
            #expect(server.events == example.events, "split at \(cut)")
        }
        let server = TestServer(example.settings)
        for byte in wire { server.receive([byte]) }
        #expect(server.events == example.events, "byte by byte")
        #expect(server.sink.sink.readPauses == 0)
    }

    @Test(arguments: invalid)
    func `the same is heard however an invalid request is split`(_ example: Invalid) {
        let wire = bytes(example.wire)
        let expected =
            example.before + [.invalid(status: example.status, details: example.details), .sent]
        for cut in splits(wire.count) {
            let server = TestServer(example.settings)
            server.receive(Array(wire[..<cut]))
            server.receive(Array(wire[cut...]))
            #expect(server.events == expected, "split at \(cut)")
        }
        let server = TestServer(example.settings)
        for byte in wire { server.receive([byte]) }
        #expect(server.events == expected, "byte by byte")
    }

    /// Every cut of a short message; of a long one those near its ends and some between.
    private func splits(_ count: Int) -> [Int] {
        count <= 400
            ? Array(0...count)
            : Array(0...60) + stride(from: 61, to: count, by: 211) + [
                count - 3, count - 2, count - 1,
            ]
    }

    @Test func `a fault is answered as soon as its line has ended`() {
        let server = TestServer()
        server.receive(Self.get + "X : 1\r\n")
        #expect(server.events.first == .invalid(status: 400, details: "http1.codec_error"))
    }

    @Test func `a head that comes byte by byte is not parsed over and over`() {
        // Quadratic work would take minutes here.
        let server = TestServer()
        let value = String(repeating: "v", count: 50_000)
        let wire = bytes("X: " + value + "\r\n\r\n")
        server.receive(Self.get)
        for count in 1..<wire.count {
            let consumed = wire.withUnsafeBytes {
                server.codec.received(Bytes(rebasing: $0[..<count]))
            }
            #expect(consumed == 0)
            if count == wire.count - 3 { break }
        }
        server.receive(wire)
        #expect(server.events == [.head(Self.getHead + " | x: " + value, end: true)])
    }

    @Test func `original spelling is kept where wanted`() {
        let server = TestServer(settings { $0.headerKeyFormat = .preserveCase })
        var spelling: [String] = []
        server.onHead = { _, head, _ in
            head.forEachField { _, name, original, _ in
                spelling.append(text(original ?? name))
            }
        }
        server.receive("GET / HTTP/1.1\r\nX-FoO: 1\r\nhOST: a\r\nBaR: 2\r\n\r\n")
        #expect(spelling == [":method", ":path", "X-FoO", ":authority", "BaR"])
        #expect(
            server.events == [
                .head(":method: GET | :path: / | x-foo: 1 | :authority: a | bar: 2", end: true)
            ]
        )
    }
}
