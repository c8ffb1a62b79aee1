import MeshHTTP
import MeshNet
import Testing

/// What a hostile client gets: the right GOAWAY, a counter of its own, and no more memory than its limit.
struct HTTP2AbuseTests {
    private func server(
        answering: Bool = false,
        _ change: (inout HTTP2Settings) -> Void = { _ in }
    ) -> H2Server {
        var settings = HTTP2Settings()
        change(&settings)
        let server = H2Server(settings)
        if !answering { server.onEnd = { _ in } }
        server.greet()
        return server
    }

    private func expectCalmed(
        _ server: H2Server,
        _ counter: HTTP2Counter,
        details: String,
        location: SourceLocation = #_sourceLocation
    ) {
        let last = server.answers.last
        #expect(
            last?.kind == .goAway && last?.code == HTTP2Code.enhanceYourCalm.rawValue,
            "\(server.answers.suffix(3))",
            sourceLocation: location
        )
        #expect(server.closes == 1, sourceLocation: location)
        #expect(server.counts[counter] == 1, sourceLocation: location)
        #expect(server.refusal?.details.description == details, sourceLocation: location)
        #expect(server.counts[.streamsActive] == 0, sourceLocation: location)
        let events = server.requests.map { $0.events.filter(\.isEnd).count }
        #expect(events.allSatisfy { $0 == 1 }, sourceLocation: location)
        server.receive(H2.ping())
        #expect(server.answers.last == last, "nothing more is said", sourceLocation: location)
    }

    private let post = H2.headers(H2.post, flags: H2.endHeaders)

    @Test func `a rapid reset ends the connection when the first 500 requests cannot be saved`() {
        let server = server()
        for number in 0..<249 {
            let id = UInt32(1 + 2 * number)
            server.receive(H2.headers(H2.get, stream: id) + H2.reset(id))
        }
        #expect(!server.isClosing && server.counts[.rxReset] == 249)
        server.receive(H2.headers(H2.get, stream: 499) + H2.reset(499))
        expectCalmed(server, .prematureResetsFlood, details: "too_many_premature_resets")
        #expect(server.requests.count == 250)
        #expect(server.requests.dropLast().allSatisfy { $0.events.last == .reset(.remoteReset) })
    }

    @Test func `resets of requests that lived long, or were answered, are no rapid reset`() {
        let server = server()
        for number in 0..<600 {
            let id = UInt32(1 + 2 * number)
            server.receive(H2.headers(H2.get, stream: id))
            server.sink.time = server.sink.time + .seconds(2)
            server.receive(H2.reset(id))
        }
        #expect(!server.isClosing)
        let other = self.server()
        other.onEnd = { $0.respond(200, "part of it", end: false) }
        for number in 0..<600 {
            let id = UInt32(1 + 2 * number)
            other.receive(H2.headers(H2.get, stream: id) + H2.windowUpdate(0, 1000))
            other.receive(H2.reset(id))
        }
        #expect(!other.isClosing && other.requests.count == 600)
    }

    @Test func `RST_STREAM frames for more streams than there were end the connection`() {
        let server = server(answering: true)
        server.receive(H2.headers(H2.get))
        server.receive(Array((0..<20).map { _ in H2.reset(1) }.joined()))
        expectCalmed(
            server,
            .inboundResetFramesFlood,
            details: "http2.inbound_reset_frames_flood"
        )
    }

    @Test func `a CONTINUATION flood ends the connection`() {
        let server = server()
        server.receive(H2.headers(H2.get, flags: H2.end))
        for _ in 0..<40 { server.receive(H2.frame(.continuation, stream: 1, H2.literal("x", "y"))) }
        expectCalmed(
            server,
            .inboundContinuationFramesFlood,
            details: "http2.inbound_continuation_frames_flood"
        )
    }

    @Test func `a header section of the largest size may come in small pieces`() {
        let server = server(answering: true)
        let block = H2.block(
            H2.get + (0..<60).map { ("x\($0)", String(repeating: "v", count: 1000)) }
        )
        let cut = 5000
        server.receive(H2.frame(.headers, flags: H2.end, stream: 1, Array(block[..<cut])))
        for at in stride(from: cut, to: block.count, by: cut) {
            let end = min(at + cut, block.count)
            let flags = end == block.count ? H2.endHeaders : 0
            server.receive(
                H2.frame(.continuation, flags: flags, stream: 1, Array(block[at..<end]))
            )
        }
        #expect(server.request?.events.last == .sent && !server.isClosing)
    }

    @Test func `empty frames in a row end the connection`() {
        for frame in [
            H2.data(""), H2.frame(.data, flags: H2.padded, stream: 1, [1, 0]),
        ] {
            let server = server()
            server.receive(post + H2.data("x") + frame)
            #expect(!server.isClosing, "one is borne")
            server.receive(frame)
            expectCalmed(
                server,
                .inboundEmptyFramesFlood,
                details: "http2.inbound_empty_frames_flood"
            )
        }
        let server = server()
        server.receive(
            H2.headers(H2.get, flags: H2.end) + H2.frame(.continuation, stream: 1)
                + H2.frame(.continuation, stream: 1)
        )
        expectCalmed(
            server,
            .inboundEmptyFramesFlood,
            details: "http2.inbound_empty_frames_flood"
        )
    }

    @Test func `a PRIORITY flood ends the connection`() {
        let server = server()
        let frame = H2.frame(.priority, stream: 1, [0, 0, 0, 0, 1])
        server.receive(post + Array((0..<200).map { _ in frame }.joined()))
        #expect(!server.isClosing)
        server.receive(frame)
        expectCalmed(
            server,
            .inboundPriorityFramesFlood,
            details: "http2.inbound_priority_frames_flood"
        )
    }

    @Test func `a WINDOW_UPDATE flood ends the connection`() {
        let server = server()
        server.receive(post + H2.windowUpdate(1, 1) + H2.windowUpdate(0, 1) + H2.windowUpdate(0, 1))
        #expect(!server.isClosing)
        server.receive(H2.windowUpdate(1, 1))
        expectCalmed(
            server,
            .inboundWindowUpdateFramesFlood,
            details: "http2.inbound_window_update_frames_flood"
        )
    }

    @Test func `who asks for answers without reading them is closed at once`() {
        for frame in [H2.ping(), H2.settings()] {
            let server = server()
            var received = 0
            while !server.isClosing, received < 2000 {
                // Not taken off the sink: the peer does not read.
                frame.withUnsafeBytes { _ = server.codec.received($0) }
                received += 1
            }
            #expect(received == 1001)
            #expect(server.hardCloses == 1 && server.closes == 0)
            #expect(server.counts[.outboundControlFlood] == 1)
        }
    }

    @Test func `answers that are read are no flood, however many`() {
        let server = server()
        for _ in 0..<3000 { server.receive(H2.ping()) }
        #expect(!server.isClosing && server.answers.count == 3000)
    }

    @Test func `frames that nobody reads have a limit`() {
        let server = server { $0.maxOutboundFrames = 50 }
        server.onEnd = { $0.respond(200, "body") }
        var number = 0
        while !server.isClosing, number < 100 {
            H2.headers(H2.get, stream: UInt32(1 + 2 * number)).withUnsafeBytes {
                _ = server.codec.received($0)
            }
            number += 1
        }
        #expect(number == 26)
        #expect(server.hardCloses == 1 && server.counts[.outboundFlood] == 1)
    }

    @Test func `an HPACK bomb is refused at the limit and costs its sender the stream`() {
        let server = server(answering: true)
        // One entry of nearly the whole table, then an index of one byte for each copy of it.
        let bomb =
            H2.block(H2.get) + [0x40] + H2.integer(1, prefix: 7) + bytes("x")
            + H2.integer(4000, prefix: 7) + Array(repeating: 0x61, count: 4000)
            + Array(repeating: 0xBE, count: 12_000)
        server.receive(H2.frame(.headers, flags: 5, stream: 1, bomb))
        #expect(server.answers.map(\.kind) == [.reset])
        #expect(server.answers.first?.code == HTTP2Code.internalError.rawValue)
        #expect(server.counts[.headerListSizeTooLarge] == 1)
        #expect(
            server.request?.events
                == [.invalid(status: 0, details: "http2.header_list_size_too_large")]
        )
        #expect(server.request?.refusal?.isProtocolError == false)
        server.receive(H2.headers(H2.get, stream: 3))
        #expect(server.request?.events.last == .sent, "the connection goes on")
    }

    @Test func `too many fields cost the stream; crumbs of a cookie count as one`() {
        let server = server(answering: true)
        let fields = (0..<97).map { ("x\($0)", "y") }
        server.receive(H2.headers(H2.get + fields))
        #expect(server.answers.first?.kind == .reset)
        #expect(server.answers.first?.code == HTTP2Code.internalError.rawValue)
        #expect(server.counts[.headerOverflow] == 1)
        #expect(server.request?.refusal?.details.description == "http2.too_many_headers")
        let crumbs = (0..<200).map { ("cookie", "c\($0)=1") }
        server.receive(H2.headers(H2.get + fields[..<95] + crumbs, stream: 3))
        #expect(server.request?.events.last == .sent)
        guard case .head(let head, _)? = server.request?.events.first else {
            Issue.record("no head")
            return
        }
        let whole = (0..<200).map { "c\($0)=1" }.joined(separator: "; ")
        #expect(head.contains("cookie: \(whole)"))
        #expect(!server.isClosing)
    }

    @Test func `a client that closes its windows holds a bounded piece of a response`() {
        let server = server()
        server.greet()
        server.receive(H2.settings([(4, 0)]) + H2.headers(H2.get))
        guard let request = server.request else { return }
        request.respond(200, end: false)
        let piece = Array(repeating: UInt8(0x61), count: 16_384)
        var sent = 0
        while request.blocks.last != true, sent < 1000 {
            request.send(piece)
            sent += 1
        }
        #expect(sent == 5, "the source is told to pause beyond 64 KiB")
        #expect(server.counts[.pendingSendBytes] == 5 * 16_384)
        server.takeFrames()
        #expect(server.answers.allSatisfy { $0.kind != .data })
        server.receive(H2.windowUpdate(1, 60_000))
        #expect(request.blocks == [true, false])
        #expect(server.counts[.pendingSendBytes] == 5 * 16_384 - 60_000)
        server.receive(H2.reset(1))
        #expect(server.counts[.pendingSendBytes] == 0)
        #expect(request.events.last == .reset(.remoteReset))
    }

    @Test func `a server that floods a client is given up the same way`() {
        let client = H2Client()
        let call = client.call()
        client.receive(H2.settings() + H2.settingsAck)
        client.takeFrames()
        client.receive(
            H2.frame(.headers, flags: 4, stream: 1, [0x88]) + H2.data("") + H2.data("")
                + H2.data("")
        )
        #expect(call.events.last == .reset(.protocolError))
        #expect(call.detail == "http2.inbound_empty_frames_flood")
        #expect(client.ended == [false] && client.closes == 1)
        #expect(client.takeFrames().last?.code == HTTP2Code.enhanceYourCalm.rawValue)
        #expect(client.codec.streamsAvailable == 0)
    }
}
