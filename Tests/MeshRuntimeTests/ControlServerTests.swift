import MeshNet
import MeshRuntime
import MeshSimulation
import Testing

/// Answers at once, or keeps what it should answer.
private final class Responder: ControlResponder {
    var answersAtOnce = true
    var requests: [AdminRequest] = []
    var waiting: [ControlReply] = []
    var bodyBytes = 0

    func respond(to request: AdminRequest, _ reply: ControlReply) {
        requests.append(request)
        if answersAtOnce {
            var body = ByteBuffer()
            body.append("\(request.method) \(request.path)\n")
            let filling = body.reserve(bodyBytes)
            filling.initializeMemory(as: UInt8.self, repeating: 0x2E)
            body.commit(bodyBytes)
            reply.send(AdminResponse(body: body))
        } else {
            waiting.append(reply)
        }
    }
}

private final class Accounts: ControlServerAccounts {
    var connections = 0
    var requests = 0
    var statuses: [Int] = []
    var resets = 0

    func connectionOpened() { connections += 1 }
    func connectionClosed(byUs: Bool, hasRequest: Bool, age: Nanoseconds) { connections -= 1 }
    func transferred(received: UInt64, sent: UInt64) {}
    func requestBegan() { requests += 1 }
    func responseBegan(_ status: Int) { statuses.append(status) }
    func requestEnded(took: Nanoseconds, isReset: Bool) { if isReset { resets += 1 } }
}

struct ControlServerTests {
    private let simulation = Simulation(seed: 1)
    private let responder = Responder()
    private let accounts = Accounts()
    private let server: ControlServer

    init() throws {
        let address = try #require(IPAddress("10.0.0.1"))
        server = try ControlServer(
            .ip(address, port: 15000),
            loop: simulation.makeLoop(),
            responder: responder,
            accounts: accounts
        )
    }

    private func peer(_ script: [ScriptedPeer.Step]) -> ScriptedPeer {
        ScriptedPeer(connectingTo: server.address, in: simulation, script: script)
    }

    @Test func `requests of one connection are answered in order`() {
        let peer = peer([
            .send("GET /a?x=1 HTTP/1.1\r\nhost: h\r\naccept: text/plain\r\n\r\n"),
            .send("POST /b HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nhi"),
            .awaitText("GET /a\n"), .awaitText("POST /b\n"), .close,
        ])
        simulation.run()
        #expect(peer.isDone)
        #expect(peer.receivedText.hasPrefix("HTTP/1.1 200 OK\r\n"))
        #expect(!peer.receivedText.contains("server:"))
        #expect(responder.requests.map(\.accept) == ["text/plain", ""])
        #expect(responder.requests.map(\.body) == [[], Array("hi".utf8)])
        #expect(accounts.statuses == [200, 200])
        #expect(accounts.connections == 0)
    }

    @Test func `an answer may come later`() throws {
        responder.answersAtOnce = false
        let peer = peer([
            .send("GET /later HTTP/1.1\r\nhost: h\r\n\r\n"), .awaitText("later\n"), .close,
        ])
        simulation.run(until: { !responder.waiting.isEmpty })
        simulation.run(for: .seconds(3))
        #expect(peer.received.isEmpty)
        let reply = try #require(responder.waiting.first)
        reply.send(AdminResponse("later\n"))
        reply.send(AdminResponse("twice\n"))
        simulation.run()
        #expect(peer.isDone)
        #expect(!peer.receivedText.contains("twice"))
    }

    @Test func `an answer for a client that has left goes nowhere`() throws {
        responder.answersAtOnce = false
        _ = peer([.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n"), .wait(.seconds(1)), .abort])
        simulation.run()
        let reply = try #require(responder.waiting.first)
        reply.send(AdminResponse("late\n"))
        simulation.run()
        #expect(accounts.resets == 1)
        #expect(accounts.statuses.isEmpty)
        #expect(accounts.connections == 0)
    }

    @Test func `nobody can occupy the port`() {
        let idle = (0..<300).map { _ in peer([.wait(.seconds(5)), .close]) }
        simulation.run(for: .seconds(1))
        #expect(accounts.connections == 256)
        let late = peer([
            .send("GET / HTTP/1.1\r\nhost: h\r\n\r\n"), .awaitText("GET /\n"), .close,
        ])
        simulation.run(for: .seconds(2))
        #expect(late.isDone)
        simulation.run()
        let done = idle.count { $0.isDone }
        #expect(done == idle.count)
    }

    @Test func `answers that nobody reads do not pile up`() {
        responder.bodyBytes = 40 << 20
        let script: [ScriptedPeer.Step] = [
            .pauseReading, .send("GET / HTTP/1.1\r\nhost: h\r\n\r\n"), .wait(.seconds(600)), .close,
        ]
        for _ in 0..<4 {
            _ = peer(script)
            simulation.run(for: .seconds(1))
        }
        #expect(accounts.statuses == [200, 200, 200, 200])
        #expect(accounts.connections == 1)
        responder.bodyBytes = 0
        let other = peer([
            .send("GET / HTTP/1.1\r\nhost: h\r\n\r\n"), .awaitText("GET /\n"), .close,
        ])
        simulation.run(for: .seconds(1))
        #expect(other.isDone)
    }

    @Test func `garbage and bodies without end are refused`() {
        let garbage = peer([.send("\u{16}\u{3}\u{1}\r\n\r\n"), .awaitEnd])
        let big = peer([
            .send("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 9000000\r\n\r\n"),
            .send([UInt8](repeating: 0x61, count: 2 << 20)), .awaitEnd,
        ])
        simulation.run()
        #expect(garbage.receivedText.hasPrefix("HTTP/1.1 400 "))
        #expect(big.receivedText.hasPrefix("HTTP/1.1 413 "))
        #expect(responder.requests.isEmpty)
    }
}
