import MeshHTTP
import MeshNet
import Testing

/// The life of connections: GOAWAY, drain, FIN, keepalive, and what streams hear of it.
struct HTTP2ConnectionTests {
    // MARK: Drain

    @Test func `a drain warns first, serves what was on its way, then names the last stream`() {
        let server = H2Server()
        server.onEnd = { _ in }
        server.greet()
        server.receive(H2.headers(H2.get))
        server.codec.startDrain()
        let warning = server.takeFrames()
        #expect(warning.map(\.kind) == [.goAway, .ping])
        #expect(warning.first?.payload == H2.word(0x7FFF_FFFF) + H2.word(0))
        #expect(!server.codec.isIdle)
        server.receive(H2.headers(H2.get, stream: 3))
        #expect(server.requests.count == 2, "it was sent before the warning arrived")
        server.receive(H2.frame(.ping, flags: 1, warning[1].payload))
        #expect(server.answers.last?.payload == H2.word(3) + H2.word(0))
        server.receive(H2.headers(H2.get, stream: 5))
        #expect(server.requests.count == 2, "the client knows that this one was not processed")
        server.requests[0].respond()
        #expect(!server.isClosing)
        server.requests[1].respond()
        server.takeFrames()
        #expect(server.isClosing && server.codec.isIdle)
        #expect(server.requests.allSatisfy { $0.events.last == .sent })
        #expect(server.counts[.goawayGracefulSent] == 1 && server.counts[.goawaySent] == 1)
    }

    @Test func `an idle connection is not closed before its client could have heard`() {
        let server = H2Server()
        server.greet()
        server.codec.startDrain()
        #expect(!server.isClosing && !server.codec.isIdle)
        let ping = server.takeFrames().last
        server.receive(H2.frame(.ping, flags: 1, ping?.payload ?? []))
        #expect(server.isClosing && server.codec.isIdle)
    }

    @Test func `a second call waits no longer for the round trip`() {
        let server = H2Server()
        server.greet()
        server.codec.startDrain()
        server.takeFrames()
        server.codec.startDrain()
        #expect(server.takeFrames().map(\.kind) == [.goAway])
        #expect(server.isClosing)
    }

    @Test func `a stream that wants the connection closed begins a drain`() {
        let server = H2Server()
        server.onEnd = { request in
            request.stream.closeAfterResponse()
            request.respond()
        }
        server.greet()
        server.receive(H2.headers(H2.get) + H2.headers(H2.get, stream: 3))
        let notices = server.answers.filter { $0.kind == .goAway }
        #expect(notices.map(\.payload) == [H2.word(0x7FFF_FFFF) + H2.word(0)])
        #expect(server.requests.allSatisfy { $0.events.last == .sent } && !server.isClosing)
    }

    // MARK: The client and GOAWAY

    @Test func `streams beyond a GOAWAY are refused and safe to retry, others go on`() {
        let client = H2Client()
        let calls = (0..<3).map { _ in client.call() }
        client.receive(H2.settings())
        client.receive(H2.goAway(last: 3))
        #expect(client.spoilages.count == 1 && client.codec.streamsAvailable == 0)
        #expect(calls[0].events.isEmpty && calls[1].events.isEmpty)
        #expect(calls[2].events == [.reset(.remoteRefused)])
        #expect(client.ended == [false])
        #expect(!client.isClosing)
        client.receive(H2.frame(.headers, flags: 5, stream: 1, [0x88]))
        client.receive(H2.frame(.headers, flags: 5, stream: 3, [0x88]))
        #expect(calls[0].events == [.head(":status: 200", end: true)])
        #expect(client.ended == [false, false, false])
        #expect(client.closes == 1, "nothing is left to wait for")
    }

    @Test func `a graceful GOAWAY loses nothing`() {
        let client = H2Client()
        let call = client.call()
        client.receive(H2.settings() + H2.goAway(last: 0x7FFF_FFFF))
        #expect(call.events.isEmpty && client.codec.streamsAvailable == 0 && !client.isClosing)
        client.receive(H2.goAway(last: 1))
        #expect(client.spoilages.count == 1, "told once")
        client.receive(H2.frame(.headers, flags: 5, stream: 1, [0x88]))
        #expect(call.events == [.head(":status: 200", end: true)])
        #expect(client.closes == 1)
    }

    @Test func `a refused stream may be tried again on the same connection`() {
        let client = H2Client()
        let call = client.call()
        client.receive(H2.settings() + H2.reset(1, 7))
        #expect(call.events == [.reset(.remoteRefused)] && call.detail == "http2.remote_refuse")
        #expect(client.ended == [true] && client.codec.streamsAvailable == 1024)
    }

    @Test func `as many streams are available as both sides allow`() {
        var settings = HTTP2Settings()
        settings.maxConcurrentStreams = 50
        let client = H2Client(settings)
        #expect(client.codec.streamsAvailable == 50)
        client.call()
        #expect(client.codec.streamsAvailable == 49)
        client.receive(H2.settings([(3, 10)]))
        #expect(client.codec.streamsAvailable == 9 && client.changes == 1)
        client.receive(H2.settings([(3, 1000)]))
        #expect(client.codec.streamsAvailable == 49 && client.changes == 2)
        client.receive(H2.settings([(3, 0)]))
        #expect(client.codec.streamsAvailable == 0)
        client.receive(H2.frame(.headers, flags: 5, stream: 1, [0x88]))
        #expect(client.ended == [true], "there may be room again later")
    }

    @Test func `a stream opened before the peer lowered its limit waits and is sent`() {
        let client = H2Client()
        client.receive(H2.settings())
        client.takeFrames()
        let first = client.call()
        let second = H2Call()
        second.stream = client.codec.openStream(second)
        client.takeFrames()
        client.receive(H2.settings([(3, 1)]))
        client.takeFrames()
        let head = headerMap([
            ":method": "POST", ":path": "/", ":scheme": "http", ":authority": "a", "x": "y",
        ])
        second.stream?.sendHead(head, endStream: false)
        head.removeAll()
        second.send("body", end: true)
        #expect(client.takeFrames().isEmpty)
        client.receive(H2.frame(.headers, flags: 5, stream: 1, [0x88]))
        #expect(first.events == [.head(":status: 200", end: true)])
        #expect(client.takeFrames().map(\.kind) == [.headers, .data])
    }

    // MARK: FIN and broken connections

    @Test func `a client that closes its sending side still gets its responses`() {
        let server = H2Server()
        server.onEnd = { _ in }
        server.greet()
        server.receive(H2.headers(H2.get) + H2.headers(H2.post, stream: 3, flags: H2.endHeaders))
        server.codec.receivedEnd()
        #expect(server.requests[1].events.last == .reset(.connectionTermination))
        #expect(!server.isClosing)
        server.requests[0].respond()
        #expect(server.takeFrames().contains { $0.kind == .headers && $0.stream == 1 })
        #expect(server.closes == 1)
    }

    @Test func `an idle connection closes with its client's FIN`() {
        let server = H2Server()
        server.greet()
        server.codec.receivedEnd()
        #expect(server.closes == 1)
    }

    @Test func `a server's FIN resets the calls under way`() {
        let client = H2Client()
        let calls = [client.call(), client.call()]
        client.receive(H2.settings())
        client.codec.receivedEnd()
        #expect(calls.allSatisfy { $0.events == [.reset(.connectionTermination)] })
        #expect(client.ended == [false, false] && client.closes == 1)
        client.codec.connectionClosed(.connectionTermination)
        #expect(calls.allSatisfy { $0.events.count == 1 })
    }

    @Test func `a connection that closes resets every stream once, with its reason`() {
        let pair = H2Pair()
        pair.server.onEnd = { _ in }
        let call = pair.client.call()
        pair.run()
        pair.client.codec.connectionClosed(.localConnectionFailure)
        pair.server.codec.connectionClosed(.connectionTermination)
        #expect(call.events == [.reset(.localConnectionFailure)])
        #expect(pair.server.request?.events.last == .reset(.connectionTermination))
        #expect(pair.client.counts[.streamsActive] == 0 && pair.server.counts[.streamsActive] == 0)
        // Whoever holds on to the streams holds husks.
        pair.server.request?.respond()
        call.send("x", end: true)
        call.stream?.reset(.localReset)
        #expect(pair.client.codec.streamsAvailable == 0)
    }

    @Test func `a delegate may close the connection from inside any event`() {
        for event in 0..<3 {
            let server = H2Server()
            let close = { server.codec.connectionClosed(.connectionTermination) }
            if event == 0 { server.onHead = { _, _ in close() } }
            if event == 1 { server.onData = { _ in close() } }
            if event == 2 { server.onEnd = { _ in close() } }
            server.greet()
            server.receive(
                H2.headers(H2.post, flags: H2.endHeaders) + H2.data("x", flags: H2.end)
                    + H2.headers(H2.get, stream: 3)
            )
            #expect(server.requests.count == 1)
            #expect(server.request?.events.last == .reset(.connectionTermination))
        }
    }

    // MARK: Responses

    struct Response: CustomTestStringConvertible, Sendable {
        let name: String
        let fields: [(String, String)]
        var testDescription: String { name }

        init(_ name: String, _ fields: [(String, String)]) {
            self.name = name
            self.fields = fields
        }
    }

    static let malformed: [Response] = [
        Response("no status", [("x", "y")]),
        Response("a status that is none", [(":status", "2x0")]),
        Response("101", [(":status", "101")]),
        Response("two statuses", [(":status", "200"), (":status", "200")]),
        Response("a pseudo-header of requests", [(":status", "200"), (":path", "/")]),
        Response("an upper-case name", [(":status", "200"), ("X", "y")]),
        Response("Connection", [(":status", "200"), ("connection", "close")]),
        Response("a length without body", [(":status", "200"), ("content-length", "3")]),
        Response("an informational head that ends the stream", [(":status", "103")]),
    ]

    @Test(arguments: malformed)
    func `a malformed response ends its stream or the connection`(_ example: Response) {
        let block = H2.block(example.fields)
        for endsOnlyStream in [true, false] {
            var settings = HTTP2Settings()
            settings.endsOnlyStreamOnInvalidMessage = endsOnlyStream
            let client = H2Client(settings)
            let call = client.call()
            client.receive(H2.settings() + H2.settingsAck)
            client.takeFrames()
            client.receive(H2.frame(.headers, flags: 5, stream: 1, block))
            #expect(call.events == [.reset(.protocolError)])
            #expect(client.counts[.rxMessagingError] == 1)
            #expect(client.isClosing == !endsOnlyStream)
            let last = client.takeFrames().last
            // A stream that has ended on both sides needs no reset.
            #expect(last?.code == (endsOnlyStream ? nil : HTTP2Code.protocolError.rawValue))
            #expect(client.codec.streamsAvailable == (endsOnlyStream ? 1024 : 0))
        }
    }

    @Test func `a response to HEAD has a length and no body`() {
        let client = H2Client()
        let block = H2.literal(":status", "200") + H2.literal("content-length", "3")
        let call = client.call("HEAD")
        client.receive(H2.settings() + H2.frame(.headers, flags: 5, stream: 1, block))
        #expect(call.events == [.head(":status: 200 | content-length: 3", end: true)])
        let other = client.call("HEAD")
        client.receive(
            H2.frame(.headers, flags: 4, stream: 3, block) + H2.data("abc", stream: 3, flags: 1)
        )
        #expect(other.events.last == .reset(.protocolError))
    }

    @Test func `a malformed response that goes on is reset`() {
        var settings = HTTP2Settings()
        settings.endsOnlyStreamOnInvalidMessage = true
        let client = H2Client(settings)
        let call = client.call()
        client.receive(H2.settings() + H2.settingsAck)
        client.takeFrames()
        client.receive(H2.frame(.headers, flags: 4, stream: 1, H2.literal(":status", "x")))
        #expect(call.events == [.reset(.protocolError)])
        let last = client.takeFrames().last
        #expect(last?.kind == .reset && last?.code == HTTP2Code.protocolError.rawValue)
        #expect(client.ended == [true])
    }

    @Test func `a push is refused`() {
        let client = H2Client()
        client.call()
        client.receive(H2.settings())
        client.receive(
            H2.frame(.pushPromise, flags: 4, stream: 1, [0, 0, 0, 2] + H2.block(H2.get))
        )
        #expect(client.isClosing)
    }

    @Test func `an early response to a request that is at hand whole needs no reset`() {
        let server = H2Server()
        server.onHead = { request, _ in request.respond(413) }
        server.greet()
        server.receive(
            H2.headers(H2.post, flags: H2.endHeaders) + H2.data("rest") + H2.headers([("x", "y")])
        )
        #expect(server.answers.map(\.kind) == [.headers])
        #expect(server.counts[.streamsActive] == 0)
        server.receive(H2.headers(H2.post, stream: 3, flags: H2.endHeaders))
        #expect(server.answers.map(\.kind) == [.headers, .headers, .reset])
        #expect(server.answers.last?.code == HTTP2Code.noError.rawValue)
    }

    @Test func `a client that has said GOAWAY is told which of its requests were served`() {
        let server = H2Server()
        server.greet()
        server.onEnd = { _ in }
        server.receive(H2.headers(H2.get))
        server.receive(H2.goAway(last: 0))
        #expect(!server.isClosing)
        server.request?.respond()
        server.takeFrames()
        #expect(server.answers.map(\.kind) == [.headers, .goAway] && server.closes == 1)
        #expect(server.answers.last?.payload == H2.word(1) + H2.word(0))
        let other = H2Server()
        other.greet()
        other.receive(H2.goAway(last: 0) + H2.headers(H2.get))
        #expect(other.requests.isEmpty && other.closes == 1)
        #expect(other.answers.last?.payload == H2.word(0) + H2.word(0))
    }

    // MARK: Keepalive

    private func keptAlive(interval: Int64 = 10, timeout: Int64 = 5) -> HTTP2Settings {
        var settings = HTTP2Settings()
        var keepalive = HTTP2Settings.Keepalive(
            interval: .seconds(interval),
            timeout: .seconds(timeout)
        )
        keepalive.intervalJitterPercent = 0
        settings.keepalive = keepalive
        return settings
    }

    @Test func `a PING goes out once per interval as long as it is answered`() {
        let server = H2Server(keptAlive())
        server.greet()
        var pings = 0
        for _ in 0..<100 {
            server.sink.advance(.seconds(1))
            for frame in server.takeFrames() where frame.kind == .ping {
                pings += 1
                server.receive(H2.frame(.ping, flags: 1, frame.payload))
            }
        }
        #expect(pings == 10 && !server.isClosing)
    }

    @Test func `a peer that says nothing more is given up after the timeout, without a word`() {
        let client = H2Client(keptAlive())
        let call = client.call()
        client.receive(H2.settings())
        client.takeFrames()
        client.sink.advance(.seconds(10))
        #expect(client.takeFrames().map(\.kind) == [.ping])
        client.sink.advance(.seconds(4))
        #expect(!client.isClosing)
        client.sink.advance(.seconds(1))
        #expect(client.hardCloses == 1 && client.counts[.keepaliveTimeout] == 1)
        #expect(call.events == [.reset(.connectionTermination)])
        #expect(call.detail == "http2.keepalive_timeout")
        #expect(client.takeFrames().isEmpty)
    }

    @Test func `anything that arrives extends the timeout`() {
        let server = H2Server(keptAlive())
        server.greet()
        server.sink.advance(.seconds(10))
        for _ in 0..<5 {
            server.sink.advance(.seconds(4))
            server.receive(H2.windowUpdate(0, 1))
            if server.isClosing { break }
        }
        #expect(server.counts[.keepaliveTimeout] == 0)
    }

    @Test func `a connection that was idle for long is asked before it gets a stream`() {
        var settings = keptAlive(interval: 0)
        settings.keepalive?.connectionIdleInterval = .seconds(30)
        let client = H2Client(settings)
        client.receive(H2.settings())
        client.takeFrames()
        client.call()
        #expect(client.takeFrames().map(\.kind) == [.headers])
        client.sink.advance(.seconds(31))
        client.call()
        #expect(client.takeFrames().map(\.kind) == [.ping, .headers])
        client.sink.advance(.seconds(5))
        #expect(client.hardCloses == 1)
    }
}
