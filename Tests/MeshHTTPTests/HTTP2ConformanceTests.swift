import MeshHTTP
import Testing

/// What a conforming server does with well-formed and malformed frames, by the sections of RFC 9113 and
/// RFC 7541: the ground that h2spec covers, with our own frames.
struct HTTP2ConformanceTests {
    enum Outcome: Equatable, CustomStringConvertible {
        /// Stream 1 gets its 200.
        case answered
        /// This stream gets RST_STREAM with this code; the connection goes on.
        case stream(UInt32, HTTP2Code)
        /// GOAWAY with this code, and the connection is closed.
        case connection(HTTP2Code)
        /// Closed without a word.
        case closed
        /// A PING that follows is answered.
        case ignored

        var description: String {
            switch self {
            case .answered: "answered"
            case .stream(let id, let code): "stream \(id) reset: \(code)"
            case .connection(let code): "GOAWAY: \(code)"
            case .closed: "closed"
            case .ignored: "ignored"
            }
        }
    }

    struct Case: CustomTestStringConvertible, Sendable {
        let section: String
        let name: String
        let bytes: [UInt8]
        let outcome: Outcome
        var testDescription: String { "\(section) \(name) → \(outcome)" }

        init(_ section: String, _ name: String, _ bytes: [UInt8], _ outcome: Outcome) {
            self.section = section
            self.name = name
            self.bytes = bytes
            self.outcome = outcome
        }
    }

    /// Sends the bytes behind a greeting, whole and byte by byte, and says what came of it.
    private func run(_ bytes: [UInt8], by step: Int, _ settings: HTTP2Settings) -> H2Server {
        let server = H2Server(settings)
        server.greet()
        server.receive(bytes, by: step)
        server.receive(H2.ping("the end."), by: step)
        return server
    }

    private func check(_ example: Case, _ settings: HTTP2Settings = HTTP2Settings()) {
        for step in [Int.max, 1, 7] {
            let server = run(example.bytes, by: step, settings)
            let frames = server.answers
            let isAlive = frames.contains {
                $0.kind == .ping && $0.flags == 1 && $0.payload == bytes("the end.")
            }
            switch example.outcome {
            case .answered:
                #expect(
                    frames.contains { $0.kind == .headers && $0.stream == 1 } && isAlive,
                    "\(frames)"
                )
            case .stream(let id, let code):
                #expect(
                    frames.contains {
                        $0.kind == .reset && $0.stream == id && $0.code == code.rawValue
                    },
                    "\(frames)"
                )
                #expect(isAlive && !server.isClosing, "\(frames)")
            case .connection(let code):
                #expect(
                    frames.contains { $0.kind == .goAway && $0.code == code.rawValue },
                    "\(frames)"
                )
                #expect(server.isClosing && !isAlive, "\(frames)")
            case .closed:
                #expect(server.isClosing && !isAlive, "\(frames)")
            case .ignored:
                #expect(isAlive && !server.isClosing, "\(frames)")
            }
            #expect(
                server.requests.allSatisfy { request in
                    request.events.filter(\.isEnd).count <= 1
                },
                "a stream hears its end once"
            )
        }
    }

    @Test(arguments: framing + streams) func `framing and stream states`(_ example: Case) {
        check(example)
    }

    @Test(arguments: payloads) func `each type of frame`(_ example: Case) { check(example) }

    @Test(arguments: compression) func `header compression`(_ example: Case) { check(example) }

    @Test(arguments: messages)
    func `a malformed request ends its stream where the settings say so`(_ example: Case) {
        var settings = HTTP2Settings()
        settings.endsOnlyStreamOnInvalidMessage = true
        check(example, settings)
    }

    @Test(arguments: messages)
    func `a malformed request ends the connection by default`(_ example: Case) {
        guard case .stream(1, let code) = example.outcome else { return check(example) }
        check(Case(example.section, example.name, example.bytes, .connection(code)))
    }

    @Test func `a preface that is none ends the connection`() {
        let server = H2Server()
        server.receive(bytes("GET / HTTP/1.1\r\nhost: a\r\n\r\n"))
        #expect(server.isClosing)
        let other = H2Server()
        other.receive(H2.preface + H2.ping())
        #expect(other.isClosing, "SETTINGS must come first")
    }

    @Test func `the server's preface is SETTINGS with Envoy's defaults, and a larger window`() {
        let server = H2Server()
        server.receive(H2.preface + H2.settings())
        let settings = server.frames.first
        #expect(settings?.kind == .settings && settings?.flags == 0)
        var entries: [UInt16: UInt32] = [:]
        for at in stride(from: 0, to: settings?.payload.count ?? 0, by: 6) {
            guard let payload = settings?.payload else { break }
            let id = UInt16(H2.number(payload[at..<at + 2]))
            entries[id] = H2.number(payload[at + 2..<at + 6])
        }
        #expect(entries == [1: 4096, 8: 0, 3: 1024, 4: 16_777_216])
        let window = server.frames.first { $0.kind == .windowUpdate }
        #expect(window?.stream == 0 && window.map { H2.number($0.payload) } == 25_100_289)
        #expect(server.frames.contains { $0.kind == .settings && $0.flags == 1 })
    }

    @Test func `streams beyond a limit that the client may not yet know are refused`() {
        var settings = HTTP2Settings()
        settings.maxConcurrentStreams = 2
        let server = H2Server(settings)
        server.onEnd = { _ in }
        let requests = [UInt32(1), 3, 5].flatMap { H2.headers(H2.get, stream: $0) }
        server.receive(H2.preface + H2.settings() + requests)
        #expect(server.answers.map(\.kind) == [.reset])
        #expect(server.answers.first?.stream == 5)
        #expect(
            server.answers.first?.code == HTTP2Code.refusedStream.rawValue,
            "may be tried again"
        )
        #expect(server.requests.count == 2)
        #expect(server.counts[.streamRefusedErrors] == 1)
        server.receive(H2.settingsAck + H2.headers(H2.get, stream: 7))
        #expect(server.answers.last?.code == HTTP2Code.protocolError.rawValue && server.isClosing)
    }

    @Test func `DATA behind the end of a request that is still being served ends the connection`() {
        let server = H2Server()
        server.onEnd = { _ in }
        server.greet()
        server.receive(H2.headers(H2.get) + H2.data("x"))
        #expect(server.answers.last?.code == HTTP2Code.streamClosed.rawValue && server.isClosing)
        #expect(server.request?.refusal?.details.description == "http2.protocol_error")
    }

    @Test func `frames that were under way when we reset a stream are nobody's fault`() {
        let server = H2Server()
        server.greet()
        server.onHead = { request, _ in request.respond(413) }
        server.receive(H2.headers(H2.post, flags: H2.endHeaders))
        #expect(server.answers.map(\.kind) == [.headers, .reset])
        server.receive(H2.data("late") + H2.headers([("x", "y")]) + H2.ping())
        #expect(server.answers.last?.kind == .ping && !server.isClosing)
    }
}

/// RFC 9113 §7.
enum HTTP2Code: UInt32, Sendable {
    case noError, protocolError, internalError, flowControlError, settingsTimeout, streamClosed
    case frameSizeError, refusedStream, cancel, compressionError, connectError, enhanceYourCalm
}

extension Event {
    var isEnd: Bool {
        switch self {
        case .sent, .reset, .invalid: true
        case .head, .informational, .data, .end, .trailers: false
        }
    }
}
