import MeshHTTP
import MeshNet
import Testing

/// Windows: a slow stream holds a bounded amount and stops nobody else.
struct HTTP2FlowControlTests {
    private func small(stream: UInt32 = 1000, connection: UInt32 = 70_000) -> HTTP2Settings {
        var settings = HTTP2Settings()
        settings.initialStreamWindowBytes = stream
        settings.initialConnectionWindowBytes = connection
        return settings
    }

    @Test func `a paused stream gets what its window allows and not a byte more`() {
        let pair = H2Pair(small())
        pair.run()
        pair.server.onHead = { request, _ in request.stream.pauseReading() }
        let call = pair.client.call("POST", body: String(repeating: "a", count: 10_000))
        pair.run()
        let request = pair.server.request
        #expect(request?.events.count == 1, "nothing is delivered while paused")
        #expect(pair.client.counts[.pendingSendBytes] == 9000)
        request?.stream.resumeReading()
        #expect(request?.events.count == 1, "nor from inside the call that resumes")
        pair.run()
        #expect(
            request?.events.suffix(3) == [
                .data(String(repeating: "a", count: 10_000)), .end, .sent,
            ]
        )
        #expect(call.events == [.head(":status: 200", end: true)])
    }

    @Test func `paused streams return the connection's window: others go on`() {
        // Two streams' worth of window for the connection, ten streams that stop.
        let pair = H2Pair(small(stream: 40_000))
        pair.run()
        pair.server.onHead = { request, head in
            if head.string(HeaderName("x-slow")) != nil { request.stream.pauseReading() }
        }
        let body = String(repeating: "b", count: 39_000)
        for _ in 0..<10 { pair.client.call("POST", fields: ["x-slow": "1"], body: body) }
        pair.run()
        let quick = pair.client.call("POST", body: body)
        pair.run()
        #expect(quick.events == [.head(":status: 200", end: true)])
        for request in pair.server.requests.dropLast() { request.stream.resumeReading() }
        pair.run()
        #expect(pair.client.ended.count == 11)
    }

    @Test func `many readers that have stopped hold no more than the connection may`() {
        var settings = small(stream: 40_000)
        settings.heldBytesMax = 100_000
        let pair = H2Pair(settings)
        pair.run()
        pair.server.onHead = { request, _ in request.stream.pauseReading() }
        let body = String(repeating: "b", count: 39_000)
        for _ in 0..<10 { pair.client.call("POST", body: body) }
        pair.run()
        // What is held, and one window of the connection that was under way.
        let sent = 390_000 - pair.client.counts[.pendingSendBytes]
        #expect(sent > 100_000)
        #expect(sent <= 170_000)
        for request in pair.server.requests { request.stream.resumeReading() }
        pair.run()
        #expect(pair.client.ended.count == 10)
    }

    @Test func `a held stream that is given up makes room for the others`() {
        var settings = small(stream: 40_000)
        settings.heldBytesMax = 60_000
        let pair = H2Pair(settings)
        pair.run()
        pair.server.onHead = { request, head in
            if head.string(HeaderName("x-slow")) != nil { request.stream.pauseReading() }
        }
        let body = String(repeating: "b", count: 39_000)
        let stuck = (0..<4).map { _ in
            pair.client.call("POST", fields: ["x-slow": "1"], body: body)
        }
        pair.run()
        let quick = pair.client.call("POST", body: body)
        pair.run()
        #expect(quick.events == [])
        for call in stuck { call.stream?.reset(.localReset) }
        pair.run()
        #expect(quick.events == [.head(":status: 200", end: true)])
    }

    @Test func `a paused response is held and then delivered whole, trailers and all`() {
        let pair = H2Pair()
        pair.run()
        pair.server.onEnd = { request in
            request.respond(200, String(repeating: "r", count: 200_000), end: false)
            request.stream.sendTrailers(headerMap(["x-end": "1"]))
        }
        let call = pair.client.call()
        call.stream?.pauseReading()
        call.stream?.pauseReading()
        pair.run()
        #expect(call.events == [.head(":status: 200", end: false)])
        #expect(pair.client.ended.isEmpty, "the stream is not over before its delegate knows")
        call.stream?.resumeReading()
        pair.run()
        #expect(call.events.count == 1, "pauses are counted")
        call.stream?.resumeReading()
        pair.run()
        #expect(
            call.events.dropFirst() == [
                .data(String(repeating: "r", count: 200_000)), .trailers("x-end: 1"),
            ]
        )
        #expect(pair.client.ended == [true])
    }

    @Test func `a delegate may pause again between the pieces of what was held`() {
        let pair = H2Pair()
        pair.run()
        pair.server.onHead = { request, _ in request.stream.pauseReading() }
        pair.server.onData = { request in
            guard case .data(let soFar)? = request.events.last, soFar.count < 100_000 else {
                return
            }
            request.stream.pauseReading()
        }
        pair.client.call("POST", body: String(repeating: "c", count: 150_000))
        pair.run()
        let request = pair.server.request
        request?.stream.resumeReading()
        pair.run()
        #expect(request?.events.last == .data(String(repeating: "c", count: 65_536)))
        request?.stream.resumeReading()
        pair.run()
        #expect(request?.events.last == .sent)
    }

    @Test func `a stream that is reset while paused is told at once and forgets what it held`() {
        let pair = H2Pair()
        pair.run()
        pair.server.onHead = { request, _ in request.stream.pauseReading() }
        let call = pair.client.call("POST", body: "held", end: false)
        pair.run()
        call.stream?.reset(.localReset)
        pair.run()
        #expect(pair.server.request?.events.dropFirst() == [.reset(.remoteReset)])
        pair.server.request?.stream.resumeReading()
        pair.run()
        #expect(pair.server.request?.events.count == 2)
    }

    @Test func `the window of a stream nobody reads any more goes back to the connection`() {
        let pair = H2Pair(small(stream: 60_000))
        pair.run()
        pair.server.onHead = { request, _ in request.respond(413) }
        for _ in 0..<20 {
            pair.client.call("POST", body: String(repeating: "d", count: 50_000), end: false)
            pair.run()
        }
        #expect(pair.client.ended.count == 20)
        pair.server.onHead = { _, _ in }
        let call = pair.client.call("POST", body: String(repeating: "e", count: 50_000))
        pair.run()
        #expect(call.events == [.head(":status: 200", end: true)])
    }

    @Test func `a full connection pauses every source, and resumes them when it empties`() {
        let server = H2Server()
        server.onEnd = { $0.respond(200, "begun", end: false) }
        server.greet()
        server.receive(H2.headers(H2.get) + H2.headers(H2.get, stream: 3))
        server.codec.outputBlocked()
        #expect(server.requests.allSatisfy { $0.blocks == [true] })
        server.requests[0].send("waits")
        #expect(server.takeFrames().isEmpty, "what is sent meanwhile waits with its stream")
        server.receive(H2.headers(H2.get, stream: 5))
        #expect(server.request?.blocks == [true], "a stream that opens meanwhile is told too")
        server.codec.outputUnblocked()
        let frames = server.takeFrames()
        #expect(frames.contains { $0.kind == .data && $0.payload == bytes("waits") })
        #expect(server.requests.allSatisfy { $0.blocks == [true, false] })
    }

    @Test func `streams that share a full connection window take turns`() {
        let server = H2Server()
        server.greet([(4, 1_000_000)])
        server.onEnd = { request in
            request.respond(200, end: false)
            request.send(Array(repeating: 0x61, count: 400_000), end: true)
        }
        server.receive(H2.headers(H2.get) + H2.headers(H2.get, stream: 3))
        for _ in 0..<20 { server.receive(H2.windowUpdate(0, 16_384)) }
        let sent = { (stream: UInt32) in
            server.answers.filter { $0.kind == .data && $0.stream == stream }
                .reduce(0) { $0 + $1.payload.count }
        }
        #expect(sent(1) > 100_000 && sent(3) > 100_000, "\(sent(1)) and \(sent(3))")
    }

    @Test func `a window that SETTINGS make smaller than what is under way goes below zero`() {
        let server = H2Server()
        server.greet([(4, 100)])
        server.onEnd = { $0.respond(200, String(repeating: "f", count: 200)) }
        server.receive(H2.headers(H2.get))
        server.receive(H2.settings([(4, 10)]))
        server.receive(H2.windowUpdate(1, 90))
        let data = { server.answers.filter { $0.kind == .data }.map(\.payload.count) }
        #expect(data() == [100])
        server.receive(H2.windowUpdate(1, 100))
        #expect(data() == [100, 100])
        #expect(server.request?.events.last == .sent)
    }

    @Test func `a response is taken at once, and given up when its client's window stays closed`() {
        var settings = HTTP2Settings()
        settings.flushTimeout = .seconds(20)
        let server = H2Server(settings)
        server.greet([(4, 10)])
        server.onEnd = { $0.respond(200, "more than ten bytes") }
        server.receive(H2.headers(H2.get))
        #expect(server.request?.events.last == .sent)
        #expect(server.counts[.streamsActive] == 1 && !server.codec.isIdle)
        server.sink.advance(.seconds(19))
        #expect(server.takeFrames().isEmpty)
        server.sink.advance(.seconds(1))
        #expect(server.takeFrames().map(\.kind) == [.reset])
        #expect(server.counts[.txFlushTimeout] == 1 && server.codec.isIdle)
        server.receive(H2.headers(H2.get, stream: 3))
        server.receive(H2.windowUpdate(3, 100))
        server.sink.advance(.seconds(60))
        #expect(server.counts[.txFlushTimeout] == 1, "what was sent in time is left alone")
        #expect(server.request?.events.last == .sent)
    }

    @Test
    func `a local reply is on the sink when its call returns, though it was made inside another`() {
        let server = H2Server()
        server.greet()
        var written = 0
        server.onEnd = { request in
            request.respond(404, "not here")
            written = server.sink.output.count
            #expect(request.stream.bytesSent > 18)
        }
        server.receive(H2.headers(H2.get))
        #expect(written > 26)
    }
}
