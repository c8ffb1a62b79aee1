import MeshHTTP
import MeshNet
import Testing

/// Requests as we write them, and when a connection may carry another.
@Suite struct HTTP1ClientCodecTests {
    static let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

    // MARK: Requests

    @Test func `a GET has no length`() {
        #expect(
            TestClient().request("GET", "/x?y", authority: "a:80", fields: ["accept": "*/*"])
                == "GET /x?y HTTP/1.1\r\nhost: a:80\r\naccept: */*\r\n\r\n"
        )
    }

    @Test(arguments: ["GET", "HEAD", "DELETE", "TRACE"])
    func `methods that usually have no body say nothing about it`(_ method: String) {
        #expect(TestClient().request(method) == "\(method) / HTTP/1.1\r\nhost: a\r\n\r\n")
    }

    @Test(arguments: ["POST", "PUT", "PATCH", "OPTIONS", "PURGE", "FOO"])
    func `other methods without a body say so`(_ method: String) {
        #expect(
            TestClient().request(method)
                == "\(method) / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"
        )
    }

    @Test func `a length is kept`() {
        #expect(
            TestClient().request("POST", fields: ["content-length": "2"], body: "hi")
                == "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi"
        )
    }

    @Test func `a body without length is chunked`() {
        #expect(
            TestClient().request("POST", body: "hello")
                == "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        )
    }

    @Test func `an empty body that was not announced to be empty is chunked`() {
        #expect(
            TestClient().request("POST", body: "")
                == "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
        )
    }

    @Test func `a length that is none is replaced by chunks`() {
        #expect(
            TestClient().request("POST", fields: ["content-length": "2,2"], body: "hi")
                == "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
        )
    }

    @Test func `fields of another hop and pseudo-headers stay here`() {
        #expect(
            TestClient().request(
                "GET",
                fields: [
                    "connection": "x", "keep-alive": "1", "proxy-connection": "y",
                    "transfer-encoding": "chunked", "te": "trailers", ":scheme": "http",
                    "http2-settings": "s", "x": "y",
                ]
            ) == "GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\nx: y\r\n\r\n"
        )
    }

    @Test func `trailers follow a chunked body where enabled`() {
        for enabled in [true, false] {
            let client = TestClient(settings { $0.enableTrailers = enabled })
            client.request("POST", body: "hi", endStream: false)
            client.stream?.sendTrailers(headerMap(["a": "b"]))
            #expect(client.sink.takeOutput() == (enabled ? "0\r\na: b\r\n\r\n" : "0\r\n\r\n"))
            client.receive(Self.ok)
            #expect(client.ended == [true])
        }
    }

    @Test func `names in proper case`() {
        let client = TestClient(settings { $0.headerKeyFormat = .properCase })
        #expect(
            client.request("POST", fields: ["x-request-id": "1"], body: "")
                == "POST / HTTP/1.1\r\nHost: a\r\nX-Request-Id: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        )
    }

    @Test func `names in the case in which they came`() {
        let kept = settings { $0.headerKeyFormat = .preserveCase }
        let server = TestServer(kept)
        let client = TestClient(kept)
        server.onHead = { _, head, _ in
            head.append(HeaderName("x-own"), "3")
            client.open()
            client.stream?.sendHead(head, endStream: true)
        }
        server.receive("GET / HTTP/1.1\r\nx-LOW: 1\r\nHost: a\r\nACCEPT: 2\r\n\r\n")
        #expect(
            client.sink.written
                == "GET / HTTP/1.1\r\nHost: a\r\nx-LOW: 1\r\nACCEPT: 2\r\nx-own: 3\r\n\r\n"
        )
    }

    @Test func `a fully qualified target`() {
        let client = TestClient(settings { $0.sendFullyQualifiedURL = true })
        #expect(
            client.request("GET", "/x", authority: "b", fields: [":scheme": "https"])
                == "GET https://b/x HTTP/1.1\r\nhost: b\r\n\r\n"
        )
    }

    @Test func `fields that were changed on the way are written as they are now`() {
        let client = TestClient()
        let server = TestServer()
        server.onHead = { _, head, _ in
            head.set(.userAgent, "a much longer value than there was before")
            head.set(.accept, "x")
            head.remove(HeaderName("gone"))
            head.append(HeaderName("added"), "1")
            client.open()
            client.stream?.sendHead(head, endStream: true)
        }
        server.receive(
            "GET / HTTP/1.1\r\nA: 1\r\nUser-Agent: b\r\nGone: 1\r\nHost: h\r\nAccept: */*\r\nZ: 2\r\n\r\n"
        )
        #expect(
            client.sink.written
                == "GET / HTTP/1.1\r\nhost: h\r\na: 1\r\nuser-agent: a much longer value than there was before\r\n"
                + "accept: x\r\nz: 2\r\nadded: 1\r\n\r\n"
        )
    }

    @Test(arguments: [("3", "hello"), ("9", "hello"), ("0", "x")])
    func `a body of another length than announced gives the stream up`(
        _ length: String,
        _ body: String
    ) {
        let client = TestClient()
        client.request("POST", fields: ["content-length": length], body: body)
        #expect(client.events == [.reset(.localReset)])
        #expect(client.ended == [false])
        #expect(client.closes == 1)
    }

    @Test func `a length without a body gives the stream up unsent`() {
        let client = TestClient()
        #expect(client.request("GET", fields: ["content-length": "5"]) == "")
        #expect(client.events == [.reset(.localReset)])
    }

    // MARK: The connection's further use

    @Test func `one connection carries request after request`() {
        let client = TestClient()
        for round in 1...3 {
            #expect(client.codec.streamsAvailable == 1)
            client.request()
            #expect(client.codec.streamsAvailable == 0)
            client.receive("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Round: \(round)\r\n\r\nhi")
            #expect(client.ended.count == round)
        }
        #expect(client.ended == [true, true, true])
        #expect(client.closes == 0)
    }

    @Test func `surplus bytes behind a response end the connection`() {
        for surplus in ["x", Self.ok] {
            let client = TestClient()
            client.request()
            client.receive(Self.ok + surplus)
            #expect(client.events == [.head(":status: 200 | content-length: 0", end: true)])
            #expect(client.ended == [false])
            #expect(client.closes == 1)
        }
    }

    @Test func `bytes on an idle connection end it`() {
        let client = TestClient()
        client.request()
        client.receive(Self.ok)
        client.receive(
            "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
        #expect(client.closes == 1)
        #expect(client.codec.streamsAvailable == 0)
        #expect(client.ended == [true])
    }

    @Test func `the end of input on an idle connection ends it`() {
        let client = TestClient()
        client.request()
        client.receive(Self.ok)
        client.codec.receivedEnd()
        #expect(client.closes == 1)
        #expect(client.codec.streamsAvailable == 0)
    }

    @Test func `a response before the end of its request ends the connection`() {
        let client = TestClient()
        client.request("POST", fields: ["content-length": "9"], body: "hi", endStream: false)
        client.receive("HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno")
        #expect(client.events.suffix(2) == [.data("no"), .end])
        #expect(client.ended == [false])
        #expect(client.closes == 1)
        client.send("more", endStream: true)
        #expect(client.sink.takeOutput() == "")
    }

    @Test func `a reset ends the connection unless nothing was sent`() {
        let sent = TestClient()
        sent.request()
        sent.stream?.reset(.localReset)
        #expect(sent.ended == [false])
        #expect(sent.closes == 1)
        #expect(sent.events.isEmpty)
        let unsent = TestClient()
        unsent.open()
        unsent.stream?.reset(.localReset)
        #expect(unsent.ended == [true])
        #expect(unsent.isReusable)
    }

    @Test func `a lost connection resets the stream`() {
        let client = TestClient()
        client.request()
        client.codec.connectionClosed(.connectionTermination)
        #expect(client.events == [.reset(.connectionTermination)])
        #expect(!client.isReusable)
    }

    @Test func `a stream may be reset from inside its head`() {
        let client = TestClient()
        client.request()
        client.onHead = { client, _, _ in client.stream?.reset(.localReset) }
        client.receive("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        #expect(client.events == [.head(":status: 200 | content-length: 5", end: false)])
        #expect(client.ended == [false])
        #expect(client.sink.unconsumed == 0)
    }

    @Test func `the next stream may be opened when the last has ended`() {
        // What the pool does from inside streamEnded.
        let client = TestClient()
        client.request()
        client.onHead = { _, _, end in #expect(end) }
        client.receive(Self.ok)
        client.request("GET", "/2")
        client.receive(Self.ok)
        #expect(client.ended == [true, true])
    }

    // MARK: Flow control

    @Test func `a paused response stays with the connection`() {
        let client = TestClient()
        client.request()
        client.onHead = { client, _, _ in client.stream?.pauseReading() }
        client.receive("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        #expect(client.events.count == 1)
        #expect(client.sink.unconsumed == 5)
        client.stream?.resumeReading()
        client.reoffer()
        #expect(client.events.suffix(2) == [.data("hello"), .end])
        #expect(client.sink.sink.readPauses == 0)
    }

    @Test func `pauses end with their stream`() {
        let client = TestClient()
        client.request()
        client.stream?.pauseReading()
        client.stream?.reset(.localReset)
        #expect(client.sink.sink.readPauses == 0)
    }

    @Test func `blocked output is the stream's to know until its request is complete`() {
        let client = TestClient()
        client.request("POST", body: "hi", endStream: false)
        client.codec.outputBlocked()
        client.codec.outputUnblocked()
        client.send("", endStream: true)
        client.codec.outputBlocked()
        #expect(client.blocks == [true, false])
    }
}

/// Upgrades and tunnels, both sides.
@Suite struct HTTP1TunnelTests {
    static let upgrade =
        "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"

    @Test func `an upgrade's head is whole, and its bytes wait for the answer`() {
        let server = TestServer()
        server.receive(Self.upgrade + "early")
        #expect(
            server.events == [
                .head(
                    ":method: GET | :path: /chat | :authority: a | connection: keep-alive, Upgrade"
                        + " | upgrade: websocket",
                    end: false
                )
            ]
        )
        #expect(server.sink.unconsumed == 5)
        server.stream?.sendHead(
            headerMap([":status": "101", "connection": "upgrade", "upgrade": "websocket", "x": "y"]
            ),
            endStream: false
        )
        #expect(
            server.output
                == "HTTP/1.1 101 Switching Protocols\r\nx: y\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
        )
        server.reoffer()
        server.receive("\0\u{FF}GET / HTTP/1.1\r\n")
        #expect(server.events.last == .data("early\0\u{FF}GET / HTTP/1.1\r\n"))
        bytes("down").withUnsafeBytes { server.stream?.sendData($0, endStream: false) }
        #expect(server.output.hasSuffix("\r\n\r\ndown"))
        #expect(server.sink.sink.readPauses == 0)
        bytes("!").withUnsafeBytes { server.stream?.sendData($0, endStream: true) }
        #expect(server.closes == 0)
        server.receive("up still")
        server.codec.receivedEnd()
        #expect(server.events.suffix(2) == [.end, .sent])
        #expect(server.events.contains(.data("early\0\u{FF}GET / HTTP/1.1\r\nup still")))
        #expect(server.closes == 1)
    }

    @Test func `bytes behind a refused upgrade never become anything`() {
        // A proxy that let them through would carry a request past its own eyes.
        let server = TestServer()
        server.receive(Self.upgrade + "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n")
        server.respond(200, body: "no")
        server.reoffer()
        #expect(server.opened == 1)
        #expect(server.closes == 1)
        #expect(
            server.output == "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno"
        )
        #expect(server.events.count == 2)
    }

    @Test func `a switch to a request that did not ask resets the stream`() {
        let server = TestServer()
        server.receive("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        server.stream?.sendHead(headerMap([":status": "101", "upgrade": "x"]), endStream: false)
        #expect(server.output.isEmpty)
        #expect(server.closes == 1)
    }

    @Test func `the client's end within a tunnel is an end of data`() {
        let server = TestServer()
        server.receive(Self.upgrade)
        server.stream?.sendHead(
            headerMap([":status": "101", "upgrade": "websocket"]),
            endStream: false
        )
        server.receive("hi")
        server.codec.receivedEnd()
        #expect(server.events.suffix(2) == [.data("hi"), .end])
        #expect(server.closes == 0)
        bytes("bye").withUnsafeBytes { server.stream?.sendData($0, endStream: true) }
        #expect(server.output.hasSuffix("bye"))
        #expect(server.closes == 1)
    }

    @Test func `the client's end before the answer is delivered with the tunnel`() {
        for early in ["", "hi"] {
            let server = TestServer()
            server.receive(Self.upgrade + early)
            server.codec.receivedEnd()
            server.stream?.sendHead(
                headerMap([":status": "101", "upgrade": "websocket"]),
                endStream: false
            )
            server.reoffer()
            #expect(server.events.last == .end)
            #expect(server.events.contains(.data(early)) == !early.isEmpty)
        }
    }

    @Test func `CONNECT is a tunnel once granted`() {
        let server = TestServer()
        server.receive("CONNECT b:443 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\nearly")
        #expect(server.events == [.head(":method: CONNECT | :authority: b:443", end: false)])
        server.stream?.sendHead(
            headerMap([":status": "200", "content-length": "5"]),
            endStream: false
        )
        #expect(server.output == "HTTP/1.1 200 OK\r\n\r\n")
        server.reoffer()
        #expect(server.events.last == .data("early"))
    }

    @Test func `a refused CONNECT closes`() {
        let server = TestServer()
        server.receive("CONNECT b:443 HTTP/1.1\r\n\r\nearly")
        server.respond(403)
        #expect(
            server.output
                == "HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        )
        #expect(server.closes == 1)
    }

    @Test func `an upgrade goes out as one, and bytes flow once granted`() {
        let client = TestClient()
        #expect(
            client.request(
                "GET",
                "/chat",
                fields: ["connection": "x", "upgrade": "websocket", "y": "z"],
                endStream: false
            )
                == "GET /chat HTTP/1.1\r\nhost: a\r\ny: z\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
        )
        client.receive(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly"
        )
        #expect(
            client.events == [
                .head(":status: 101 | connection: Upgrade | upgrade: websocket", end: false),
                .data("early"),
            ]
        )
        client.send("up", endStream: false)
        #expect(client.sink.takeOutput() == "up")
        client.receive("\0more")
        client.codec.receivedEnd()
        #expect(client.events.suffix(2) == [.data("early\0more"), .end])
        #expect(client.ended.isEmpty)
        client.send("up still", endStream: true)
        #expect(client.sink.takeOutput() == "up still")
        #expect(client.ended == [false])
        #expect(client.closes == 1)
    }

    @Test func `a tunnel that is given up is reset, for its end would look like all of it`() {
        let server = TestServer()
        server.receive("CONNECT b:443 HTTP/1.1\r\n\r\n")
        server.stream?.sendHead(headerMap([":status": "200"]), endStream: false)
        server.stream?.reset(.localReset)
        #expect(server.aborts == 1 && server.closes == 0)

        let client = TestClient()
        client.request("CONNECT", authority: "b:443", endStream: false)
        client.receive("HTTP/1.1 200 OK\r\n\r\nraw")
        client.stream?.reset(.localReset)
        #expect(client.aborts == 1)
    }

    @Test func `a tunnel whose server has ended is cut where its connection breaks`() {
        let client = TestClient()
        client.request("CONNECT", authority: "b:443", endStream: false)
        client.receive("HTTP/1.1 200 OK\r\n\r\nraw")
        client.codec.receivedEnd()
        client.codec.connectionClosed(.connectionTermination)
        #expect(client.events.suffix(2) == [.end, .reset(.connectionTermination)])
    }

    @Test func `bytes sent before the switch give the stream up`() {
        let client = TestClient()
        client.request("GET", fields: ["upgrade": "websocket"], endStream: false)
        client.send("GET /admin HTTP/1.1\r\n\r\n", endStream: false)
        #expect(client.sink.takeOutput() == "")
        #expect(client.events == [.reset(.localReset)])
    }

    @Test func `CONNECT goes out in authority-form`() {
        let client = TestClient()
        #expect(
            client.request("CONNECT", authority: "b:443", endStream: false)
                == "CONNECT b:443 HTTP/1.1\r\nhost: b:443\r\n\r\n"
        )
        client.receive("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nraw")
        #expect(client.events == [.head(":status: 200", end: false), .data("raw")])
    }

    @Test func `a refused CONNECT is a plain response`() {
        let client = TestClient()
        client.request("CONNECT", authority: "b:443", endStream: false)
        client.receive("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
        #expect(client.events.suffix(2) == [.data("no"), .end])
        #expect(client.ended == [false])
    }
}
