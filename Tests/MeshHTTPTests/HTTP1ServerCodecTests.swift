import MeshHTTP
import MeshNet
import Testing

/// Settings changed in place.
func settings(_ change: (inout HTTP1Settings) -> Void) -> HTTP1Settings {
    var result = HTTP1Settings()
    change(&result)
    return result
}

/// Exchanges on one connection: responses, what follows what, and when the connection ends.
@Suite struct HTTP1ServerCodecTests {
    static let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    static let getHead = ":method: GET | :path: / | :authority: a"

    // MARK: Responses

    struct Response: Sendable, CustomTestStringConvertible {
        let name: String
        var request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        var status = 200
        var fields: KeyValuePairs<String, String> = [:]
        /// Nil: the head ends the response.
        var body: [String]?
        var trailers: KeyValuePairs<String, String>?
        let wire: String
        var closes = false
        var settings = HTTP1Settings()
        var testDescription: String { name }
    }

    static let responses: [Response] = [
        Response(name: "no body", wire: "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        Response(
            name: "a length",
            fields: ["content-length": "5", "x": "y"],
            body: ["hel", "lo"],
            wire: "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx: y\r\n\r\nhello"
        ),
        Response(
            name: "no length: chunked",
            fields: ["x": "y"],
            body: ["hello", "", "0123456789abcdef"],
            wire: "HTTP/1.1 200 OK\r\nx: y\r\ntransfer-encoding: chunked\r\n\r\n"
                + "5\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"
        ),
        Response(
            name: "a length that is none: chunked",
            fields: ["content-length": "+5"],
            body: ["hello"],
            wire: "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        ),
        Response(
            name: "two lengths: chunked",
            fields: ["content-length": "5", "content-length": "6"],
            body: ["hello"],
            wire: "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        ),
        Response(
            name: "trailers where enabled",
            body: ["hi"],
            trailers: ["a": "b", "c": "d"],
            wire:
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\na: b\r\nc: d\r\n\r\n",
            settings: settings { $0.enableTrailers = true }
        ),
        Response(
            name: "trailers are dropped unless enabled",
            body: ["hi"],
            trailers: ["a": "b"],
            wire: "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
        ),
        Response(
            name: "trailers behind a length are dropped",
            fields: ["content-length": "2"],
            body: ["hi"],
            trailers: ["a": "b"],
            wire: "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
            settings: settings { $0.enableTrailers = true }
        ),
        Response(
            name: "HEAD keeps the length and has no body",
            request: "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
            fields: ["content-length": "5"],
            body: ["hello"],
            wire: "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"
        ),
        Response(
            name: "HEAD without length says chunked and has no body",
            request: "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
            body: ["hello"],
            wire: "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        ),
        Response(
            name: "204 has neither body nor length",
            status: 204,
            fields: ["content-length": "5"],
            body: ["hello"],
            wire: "HTTP/1.1 204 No Content\r\n\r\n"
        ),
        Response(
            name: "304 keeps the length and has no body",
            status: 304,
            fields: ["content-length": "5"],
            body: ["hello"],
            wire: "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"
        ),
        Response(
            name: "304 without length",
            status: 304,
            wire: "HTTP/1.1 304 Not Modified\r\n\r\n"
        ),
        Response(
            name: "an unknown status",
            status: 599,
            wire: "HTTP/1.1 599 Unknown\r\ncontent-length: 0\r\n\r\n"
        ),
        Response(
            name: "fields of one hop and pseudo-headers stay here",
            fields: [
                "connection": "x", "keep-alive": "1", "proxy-connection": "y",
                "transfer-encoding": "gzip", "upgrade": "z", "te": "trailers", ":path": "/",
                "host": "h",
                "trailer": "t", "proxy-authenticate": "p",
            ],
            wire:
                "HTTP/1.1 200 OK\r\ntrailer: t\r\nproxy-authenticate: p\r\ncontent-length: 0\r\n\r\n"
        ),
        Response(
            name: "the client asks to close",
            request: "GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n",
            wire: "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            closes: true
        ),
        Response(
            name: "proper case",
            fields: ["x-a_b.c1d-ef": "1", "content-length": "2"],
            body: ["hi"],
            wire: "HTTP/1.1 200 OK\r\nX-A_B.C1d-Ef: 1\r\nContent-Length: 2\r\n\r\nhi",
            settings: settings { $0.headerKeyFormat = .properCase }
        ),
        Response(
            name: "proper case of our own fields",
            request: "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            body: ["hi"],
            wire:
                "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            closes: true,
            settings: settings { $0.headerKeyFormat = .properCase }
        ),
        Response(
            name: "HTTP/1.0 closes",
            request: "GET / HTTP/1.0\r\n\r\n",
            fields: ["content-length": "2"],
            body: ["hi"],
            wire: "HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi",
            closes: true,
            settings: settings { $0.acceptHTTP10 = true }
        ),
        Response(
            name: "HTTP/1.0 with keep-alive",
            request: "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            fields: ["content-length": "2"],
            body: ["hi"],
            wire: "HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nhi",
            settings: settings { $0.acceptHTTP10 = true }
        ),
        Response(
            name: "HTTP/1.0 without length ends with the connection",
            request: "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            body: ["hi", "ho"],
            wire: "HTTP/1.0 200 OK\r\nconnection: close\r\n\r\nhiho",
            closes: true,
            settings: settings { $0.acceptHTTP10 = true }
        ),
        Response(
            name: "more than announced is cut off, and the connection ends",
            fields: ["content-length": "3"],
            body: ["hello", "!"],
            wire: "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhel",
            closes: true
        ),
        Response(
            name: "less than announced ends the connection",
            fields: ["content-length": "9"],
            body: ["hello"],
            wire: "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello",
            closes: true
        ),
        Response(
            name: "a length without a body ends the connection",
            fields: ["content-length": "9"],
            wire: "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n",
            closes: true
        ),
    ]

    @Test(arguments: responses)
    func `a response is framed`(_ example: Response) {
        let server = TestServer(example.settings)
        server.receive(example.request)
        let head = headerMap([":status": String(example.status)])
        for (name, value) in example.fields { head.append(HeaderName(name), value) }
        server.stream?.sendHead(head, endStream: example.body == nil)
        if let body = example.body {
            for (at, piece) in body.enumerated() {
                let isLast = at == body.count - 1 && example.trailers == nil
                bytes(piece).withUnsafeBytes { server.stream?.sendData($0, endStream: isLast) }
            }
            if let trailers = example.trailers { server.stream?.sendTrailers(headerMap(trailers)) }
        }
        #expect(server.output == example.wire)
        #expect(server.events.last == .sent)
        #expect(server.closes == (example.closes ? 1 : 0))
        #expect(server.codec.isIdle == !example.closes)
        #expect(server.stream?.bytesSent == UInt64(example.wire.utf8.count))
    }

    @Test func `informational responses come before the final one`() {
        let server = TestServer()
        server.receive(
            "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
        server.stream?.sendInformational(headerMap([":status": "100"]))
        server.stream?.sendInformational(
            headerMap([":status": "103", "link": "x", "content-length": "3"])
        )
        server.receive("hi")
        server.respond(200)
        #expect(
            server.output
                == "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
                + "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
        )
        #expect(server.closes == 0)
    }

    @Test func `HTTP/1.0 clients get no informational responses`() {
        let server = TestServer(settings { $0.acceptHTTP10 = true })
        server.receive("POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\n")
        server.stream?.sendInformational(headerMap([":status": "100"]))
        #expect(server.output.isEmpty)
    }

    @Test(arguments: [0, 99, 101, 150, 1000])
    func `a head that is no final response resets the stream`(_ status: Int) {
        let server = TestServer()
        server.receive(Self.get)
        server.respond(status)
        #expect(!server.output.contains("200"))
        #expect(server.closes == (status == 101 || status == 150 ? 1 : 0))
    }

    // MARK: Pipelining

    @Test func `pipelined requests are served one after the other`() {
        let server = TestServer()
        server.receive(
            "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HT"
        )
        #expect(server.opened == 1)
        #expect(server.sink.sink.readPauses == 1)
        server.respond(200, body: "one")
        #expect(server.sink.sink.readPauses == 0)
        #expect(server.opened == 1)
        server.reoffer()
        #expect(server.opened == 2)
        server.respond(200, body: "two")
        server.reoffer()
        server.receive("TP/1.1\r\nHost: a\r\n\r\n")
        server.respond(200, body: "three")
        #expect(
            server.events == [
                .head(":method: GET | :path: /1 | :authority: a", end: true), .sent,
                .head(":method: GET | :path: /2 | :authority: a", end: true), .sent,
                .head(":method: GET | :path: /3 | :authority: a", end: true), .sent,
            ]
        )
        let answer = { (body: String) in
            "HTTP/1.1 200 OK\r\ncontent-length: \(body.utf8.count)\r\n\r\n\(body)"
        }
        #expect(server.output == answer("one") + answer("two") + answer("three"))
        #expect(server.sink.sink.readPauses == 0)
    }

    @Test func `pipelined requests answered at once are served in one go`() {
        let server = TestServer()
        server.onHead = { server, _, end in if end { server.respond(200) } }
        server.onData = { server, _, end in if end { server.respond(201) } }
        server.receive(
            Self.get + "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi" + "\r\n"
                + Self.get
        )
        #expect(
            server.output == "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
                + "HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n"
                + "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
        )
        #expect(server.sink.unconsumed == 0)
    }

    @Test func `a fault in a pipelined request is answered in its turn`() {
        let server = TestServer()
        server.receive(Self.get + "GET / HTTP/1.1\r\nX : 1\r\n\r\n")
        #expect(server.events == [.head(Self.getHead, end: true)])
        server.respond(200)
        server.reoffer()
        #expect(server.output.contains("200 OK"))
        #expect(server.output.contains("400 Bad Request"))
        #expect(server.closes == 1)
    }

    @Test func `no request is begun while the output is blocked`() {
        let server = TestServer()
        server.onHead = { server, _, _ in
            server.respond(200)
            server.codec.outputBlocked()
        }
        server.receive(Self.get + Self.get)
        #expect(server.opened == 1)
        #expect(server.sink.sink.readPauses == 1)
        server.codec.outputUnblocked()
        #expect(server.sink.sink.readPauses == 0)
        server.reoffer()
        #expect(server.opened == 2)
    }

    // MARK: The connection's end

    @Test func `a response before the end of its request closes the connection`() {
        let server = TestServer()
        server.receive("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe")
        server.respond(413, body: "no")
        #expect(
            server.output
                == "HTTP/1.1 413 Payload Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno"
        )
        #expect(server.closes == 1)
        server.receive("llo" + Self.get)
        #expect(server.opened == 1)
    }

    @Test func `a client may close its sending side and still gets its response`() {
        let server = TestServer()
        server.receive(Self.get)
        server.codec.receivedEnd()
        #expect(server.closes == 0)
        server.respond(200)
        #expect(
            server.output == "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        )
        #expect(server.closes == 1)
    }

    @Test func `a client may pipeline and close its sending side`() {
        let server = TestServer()
        server.receive(Self.get + Self.get)
        server.codec.receivedEnd()
        server.respond(200)
        server.reoffer()
        #expect(server.opened == 2)
        server.respond(200)
        #expect(
            server.output == "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
                + "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        )
        #expect(server.closes == 1)
    }

    @Test(arguments: [
        "G", "GET / HTTP/1.1\r\nHost: a\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhell",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX",
    ])
    func `the end of input within a request resets it`(_ wire: String) {
        let server = TestServer()
        server.receive(wire)
        server.codec.receivedEnd()
        #expect(server.events.last == .reset(.connectionTermination))
        #expect(server.closes == 1)
        #expect(server.output.isEmpty)
    }

    @Test func `the end of input between requests closes`() {
        let server = TestServer()
        server.onHead = { server, _, _ in server.respond(200) }
        server.receive(Self.get)
        server.codec.receivedEnd()
        #expect(server.closes == 1)
        #expect(server.events == [.head(Self.getHead, end: true), .sent])
    }

    @Test func `a lost connection resets the stream`() {
        let server = TestServer()
        server.receive(Self.get)
        server.codec.connectionClosed(.connectionTermination)
        #expect(server.events.last == .reset(.connectionTermination))
        server.respond(200)
        #expect(server.output.isEmpty)
    }

    @Test func `a reset closes after what was written before`() {
        let server = TestServer()
        server.receive(Self.get)
        server.stream?.sendHead(headerMap([":status": "200"]), endStream: false)
        server.stream?.reset(.localReset)
        #expect(server.closes == 1)
        #expect(server.events == [.head(Self.getHead, end: true)])
        server.receive(Self.get)
        #expect(server.opened == 1)
    }

    @Test func `closing after the response can be asked for until its end`() {
        let server = TestServer()
        server.receive(Self.get)
        server.stream?.sendHead(
            headerMap([":status": "200", "content-length": "2"]),
            endStream: false
        )
        server.stream?.closeAfterResponse()
        bytes("hi").withUnsafeBytes { server.stream?.sendData($0, endStream: true) }
        #expect(server.closes == 1)
        let early = TestServer()
        early.receive(Self.get)
        early.stream?.closeAfterResponse()
        early.respond(200)
        #expect(early.output.contains("connection: close\r\n"))
        #expect(early.closes == 1)
    }

    @Test func `draining says so in the next response`() {
        let server = TestServer()
        server.onHead = { server, _, _ in server.respond(200) }
        server.receive(Self.get)
        server.codec.startDrain()
        #expect(server.codec.isIdle)
        server.receive(Self.get)
        #expect(server.output.hasSuffix("connection: close\r\ncontent-length: 0\r\n\r\n"))
        #expect(server.closes == 1)
    }

    // MARK: Flow control

    @Test func `a paused body stays with the connection`() {
        let server = TestServer()
        server.onData = { server, _, end in if !end { server.stream?.pauseReading() } }
        server.receive(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n"
        )
        #expect(server.events.last == .data("a"))
        #expect(server.sink.sink.readPauses == 1)
        server.stream?.resumeReading()
        server.reoffer()
        #expect(server.events.suffix(2) == [.data("ab"), .end])
        #expect(server.sink.sink.readPauses == 0)
    }

    @Test func `pauses end with their stream`() {
        let server = TestServer()
        server.receive("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n")
        server.stream?.pauseReading()
        server.stream?.pauseReading()
        server.respond(200)
        #expect(server.sink.sink.readPauses == 0)
    }

    @Test func `blocked output is the stream's to know while it responds`() {
        let server = TestServer()
        server.codec.outputBlocked()
        server.codec.outputUnblocked()
        server.receive(Self.get)
        server.codec.outputBlocked()
        server.codec.outputUnblocked()
        #expect(server.blocks == [true, false])
    }

    // MARK: Re-entrancy

    @Test func `a stream may be reset from inside its head`() {
        let server = TestServer()
        server.onHead = { server, _, _ in server.stream?.reset(.localReset) }
        server.receive("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi" + Self.get)
        #expect(server.events.count == 1)
        #expect(server.closes == 1)
        #expect(server.sink.unconsumed == 0)
    }

    @Test func `a stream may be answered from inside its first data`() {
        let server = TestServer()
        server.onData = { server, _, _ in server.respond(403) }
        server.receive("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nhi")
        server.receive("ho")
        #expect(server.events.suffix(2) == [.data("hi"), .sent])
        #expect(server.closes == 1)
    }

    @Test func `the head is readable after the response was sent from inside it`() {
        let server = TestServer()
        var path: String?
        server.onHead = { server, head, _ in
            server.respond(200)
            path = head.string(.path)
        }
        server.receive(Self.get + "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(path == "/2")
    }

    @Test func `an invalid request may be reset instead of answered`() {
        let server = TestServer()
        server.onInvalid = { server, _ in server.stream?.reset(.protocolError) }
        server.receive("GET / HTTP/1.1\r\nX : 1\r\n\r\n")
        #expect(server.output.isEmpty)
        #expect(server.closes == 1)
    }

    @Test func `a fault in a body under a begun response is reported once`() {
        let server = TestServer()
        server.onInvalid = { server, _ in server.stream?.reset(.protocolError) }
        server.receive("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        server.stream?.sendHead(headerMap([":status": "200"]), endStream: false)
        server.receive("zz\r\nzz\r\n")
        #expect(server.events.last == .invalid(status: 400, details: "http1.codec_error"))
        #expect(server.events.count == 2)
        #expect(server.closes == 1)
    }
}
