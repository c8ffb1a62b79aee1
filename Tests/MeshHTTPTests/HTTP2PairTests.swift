import MeshHTTP
import MeshNet
import Testing

/// The two HTTP/2 codecs joined in memory.
struct HTTP2PairTests {
    /// One exchange with everything in it; the result must not depend on where its bytes are cut.
    private func exchange(step: Int) -> (request: [Event], response: [Event], ended: [Bool]) {
        let pair = H2Pair()
        pair.step = step
        pair.server.onHead = { request, _ in
            request.stream.sendInformational(headerMap([":status": "103", "link": "</a>"]))
        }
        pair.server.onEnd = { request in
            request.stream.sendHead(headerMap([":status": "200", "x": "y"]), endStream: false)
            request.send("response ")
            request.send("body")
            request.stream.sendTrailers(headerMap(["grpc-status": "0"]))
        }
        let call = pair.client.call(
            "POST",
            fields: [
                "cookie": "a=1", "te": "trailers", "x-long": String(repeating: "v", count: 300),
            ],
            body: "some ",
            end: false
        )
        pair.run()
        call.send("request body")
        call.stream?.sendTrailers(headerMap(["x-end": "1"]))
        pair.run()
        return (pair.server.request?.events ?? [], call.events, pair.client.ended)
    }

    @Test func `an exchange passes whole however its bytes are cut`() {
        let whole = exchange(step: .max)
        #expect(
            whole.response == [
                .informational(":status: 103 | link: </a>"),
                .head(":status: 200 | x: y", end: false),
                .data("response body"),
                .trailers("grpc-status: 0"),
            ]
        )
        let value = String(repeating: "v", count: 300)
        #expect(
            whole.request == [
                .head(
                    ":method: POST | :scheme: http | :path: / | :authority: a | cookie: a=1"
                        + " | te: trailers | x-long: \(value)",
                    end: false
                ),
                .data("some request body"),
                .trailers("x-end: 1"),
                .sent,
            ]
        )
        #expect(whole.ended == [true])
        for step in 1...64 {
            let cut = exchange(step: step)
            #expect(cut.request == whole.request, "cut every \(step) bytes")
            #expect(cut.response == whole.response, "cut every \(step) bytes")
            #expect(cut.ended == [true], "cut every \(step) bytes")
        }
    }

    @Test func `an end without a body travels with the head`() {
        let pair = H2Pair()
        let call = pair.client.call()
        pair.run()
        #expect(
            pair.server.request?.events.first
                == .head(":method: GET | :scheme: http | :path: / | :authority: a", end: true)
        )
        #expect(call.events == [.head(":status: 200", end: true)])
        #expect(pair.server.counts[.streamsActive] == 0 && pair.client.counts[.streamsActive] == 0)
    }

    @Test func `the end of a body travels with its last bytes`() {
        let pair = H2Pair()
        pair.run()
        pair.server.onEnd = { $0.respond(200, "body") }
        pair.client.call("POST", body: "request")
        let frames = H2.parse(Array(pair.client.sink.output.bytes))
        #expect(frames.map(\.kind) == [.headers, .data])
        #expect(frames.last?.flags == H2.end)
        pair.run()
        #expect(pair.server.request?.events.suffix(3) == [.data("request"), .end, .sent])
    }

    @Test func `an upgrade is extended CONNECT in between and an upgrade at both ends`() {
        var settings = HTTP2Settings()
        settings.allowConnect = true
        let pair = H2Pair(settings)
        pair.run()
        pair.server.onHead = { request, head in
            #expect(head.string(.method) == "GET")
            #expect(head.string(.upgrade) == "websocket")
            #expect(head.string(.connection) == "upgrade")
            #expect(!head.contains(.protocol))
            request.stream.sendHead(
                headerMap([":status": "101", "upgrade": "websocket", "connection": "upgrade"]),
                endStream: false
            )
            request.send("server speaks")
        }
        pair.server.onEnd = { $0.send("", end: true) }
        let call = pair.client.call(
            fields: ["upgrade": "websocket", "connection": "upgrade"],
            end: false
        )
        pair.run()
        #expect(
            call.events == [
                .head(":status: 101 | upgrade: websocket | connection: upgrade", end: false),
                .data("server speaks"),
            ]
        )
        call.send("client speaks", end: true)
        pair.run()
        #expect(pair.server.request?.events.suffix(3) == [.data("client speaks"), .end, .sent])
        #expect(call.events.last == .end)
    }

    @Test func `an upgrade that the server does not take fails before it is sent`() {
        let pair = H2Pair()
        pair.run()
        let call = pair.client.call(
            fields: ["upgrade": "websocket", "connection": "upgrade"],
            end: false
        )
        #expect(call.events == [.reset(.localReset)])
        #expect(call.detail == "http2.extended_connect_not_enabled")
        #expect(pair.client.codec.streamsAvailable == 1024)
    }

    @Test func `a plain success does not pass for a granted upgrade`() {
        var settings = HTTP2Settings()
        settings.allowConnect = true
        let pair = H2Pair(settings)
        pair.run()
        pair.server.onHead = { request, _ in request.respond(200, "not websocket") }
        let call = pair.client.call(
            fields: ["upgrade": "websocket", "connection": "upgrade"],
            end: false
        )
        pair.run()
        #expect(call.events == [.reset(.connectError)])
    }

    @Test func `CONNECT is a tunnel in both directions`() {
        let pair = H2Pair()
        pair.run()
        pair.server.onHead = { request, head in
            #expect(head.string(.authority) == "a:443" && !head.contains(.path))
            request.respond(200, end: false)
        }
        let call = H2Call()
        call.stream = pair.client.codec.openStream(call)
        call.stream?.sendHead(
            headerMap([":method": "CONNECT", ":authority": "a:443"]),
            endStream: false
        )
        call.send("there")
        pair.run()
        pair.server.request?.send("back")
        pair.run()
        #expect(pair.server.request?.events.suffix(1) == [.data("there")])
        #expect(call.events == [.head(":status: 200", end: false), .data("back")])
    }

    @Test(arguments: [true, false])
    func `a tunnel that keeps no head leaves its storage to the next`(keepsHeads: Bool) {
        var settings = HTTP2Settings()
        settings.keepsHeads = keepsHeads
        let server = H2Server(settings)
        server.greet()
        var maps: [ObjectIdentifier] = []
        server.onHead = { request, head in
            #expect(head.string(.authority) == "a:443")
            maps.append(ObjectIdentifier(head))
            request.respond(200, end: false)
        }
        for stream: UInt32 in [1, 3] {
            let fields = [(":method", "CONNECT"), (":authority", "a:443")]
            server.receive(H2.headers(fields, stream: stream, flags: H2.endHeaders))
        }
        server.receive(H2.data("still open", stream: 1))
        #expect(server.requests.first?.events.last == .data("still open"))
        #expect(maps.count == 2 && Set(maps).count == (keepsHeads ? 2 : 1))
    }

    /// A granted CONNECT.
    private func tunnel() -> (H2Pair, H2Call, H2Request?) {
        let pair = H2Pair()
        pair.run()
        pair.server.onHead = { request, _ in request.respond(200, end: false) }
        pair.server.onEnd = { _ in }
        let call = H2Call()
        call.stream = pair.client.codec.openStream(call)
        call.stream?.sendHead(
            headerMap([":method": "CONNECT", ":authority": "a:443"]),
            endStream: false
        )
        pair.run()
        return (pair, call, pair.server.request)
    }

    @Test func `each direction of a tunnel ends by itself`() {
        for isServerFirst in [true, false] {
            let (pair, call, request) = tunnel()
            if isServerFirst {
                request?.send("bye", end: true)
                pair.run()
                #expect(call.events.suffix(2) == [.data("bye"), .end])
                call.send("more", end: true)
            } else {
                call.send("more", end: true)
                pair.run()
                #expect(request?.events.suffix(2) == [.data("more"), .end])
                #expect(pair.client.ended.isEmpty)
                request?.send("bye", end: true)
            }
            pair.run()
            #expect(request?.events.suffix(3) == [.data("more"), .end, .sent])
            #expect(call.events.suffix(2) == [.data("bye"), .end])
            #expect(pair.client.ended == [true], "the connection goes on")
            #expect(pair.server.counts[.streamsActive] == 0)
        }
    }

    @Test func `a tunnel may be given up after one direction has ended`() {
        let (pair, call, request) = tunnel()
        request?.send("bye", end: true)
        request?.stream.reset(.localReset)
        pair.run()
        #expect(call.events.suffix(3) == [.data("bye"), .end, .reset(.remoteReset)])
        #expect(pair.client.ended == [true])

        let (other, otherCall, otherRequest) = tunnel()
        otherRequest?.send("bye", end: true)
        other.run()
        otherCall.stream?.reset(.localReset)
        other.run()
        #expect(otherRequest?.events.last == .reset(.remoteReset))
        #expect(other.client.ended == [true])
    }

    @Test func `a broken connection behind a tunnel is a CONNECT error`() {
        let (pair, call, request) = tunnel()
        request?.stream.reset(.connectionTermination)
        pair.run()
        #expect(call.events.last == .reset(.connectError))
    }

    @Test func `a response that ends before its request resets the rest of it`() {
        let pair = H2Pair()
        pair.run()
        pair.server.onHead = { request, _ in request.respond(413, "too much") }
        let call = pair.client.call("POST", body: "some", end: false)
        pair.run()
        #expect(
            call.events == [.head(":status: 413", end: false), .data("too much"), .end]
        )
        #expect(pair.server.request?.events.last == .sent)
        #expect(pair.client.ended == [true], "the connection goes on")
        #expect(pair.client.counts[.streamsActive] == 0 && pair.server.counts[.streamsActive] == 0)
    }

    @Test func `fields of HTTP/1 hops do not cross`() {
        let pair = H2Pair()
        pair.server.onEnd = { request in
            request.stream.sendHead(
                headerMap([
                    "x": "1", "connection": "close", "transfer-encoding": "chunked",
                    "keep-alive": "5", ":status": "200",
                ]),
                endStream: true
            )
        }
        let call = pair.client.call(
            fields: [
                "connection": "close", "proxy-connection": "close", "transfer-encoding": "chunked",
                "http2-settings": "x", "y": "2",
            ]
        )
        pair.run()
        #expect(
            pair.server.request?.events.first
                == .head(
                    ":method: GET | :scheme: http | :path: / | :authority: a | y: 2",
                    end: true
                )
        )
        #expect(call.events == [.head(":status: 200 | x: 1", end: true)])
    }

    @Test func `each reset reaches the other side with its meaning`() {
        let meanings:
            [(StreamResetReason, atServer: StreamResetReason, atClient: StreamResetReason)] =
                [
                    (.localReset, .remoteReset, .remoteReset),
                    (.localRefused, .remoteRefused, .remoteRefused),
                    (.connectError, .connectError, .connectError),
                    (.protocolError, .remoteReset, .remoteReset),
                ]
        for (reason, atServer, atClient) in meanings {
            let up = H2Pair()
            up.server.onEnd = { _ in }
            let call = up.client.call("POST", body: "x", end: false)
            up.run()
            call.stream?.reset(reason)
            up.run()
            #expect(up.server.request?.events.last == .reset(atServer), "\(reason)")
            #expect(call.events.isEmpty, "whoever resets hears no more")
            #expect(up.client.ended == [true])

            let down = H2Pair()
            down.server.onEnd = { $0.stream.reset(reason) }
            let other = down.client.call()
            down.run()
            #expect(other.events == [.reset(atClient)], "\(reason)")
            #expect(down.server.counts[.txReset] == 1 && down.client.counts[.rxReset] == 1)
        }
    }

    @Test func `a large body passes in both directions`() {
        let pair = H2Pair()
        pair.server.onEnd = { request in
            guard case .data(let body)? = request.events.dropFirst().first else { return }
            request.respond(200, body)
        }
        let body = String(repeating: "0123456789abcdef", count: 200_000)
        let call = pair.client.call("POST", body: body)
        pair.run()
        #expect(call.events == [.head(":status: 200", end: false), .data(body), .end])
        #expect(pair.server.counts[.pendingSendBytes] == 0)
        #expect(pair.client.counts[.pendingSendBytes] == 0)
    }

    @Test func `a delegate may start the next stream from inside the end of the last`() {
        let pair = H2Pair()
        pair.run()
        var second: H2Call?
        let first = pair.client.call()
        first.onEvent = { [unowned client = pair.client] _ in
            second = client.call("POST", body: "inside")
        }
        pair.run()
        #expect(first.events == [.head(":status: 200", end: true)])
        #expect(second?.events == [.head(":status: 200", end: true)])
        #expect(pair.server.requests.last?.events.contains(.data("inside")) == true)
    }
}
