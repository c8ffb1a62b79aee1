import MeshHTTP
import Testing

@testable import MeshNet

/// A tunnel's end: bytes on a connection of its own.
struct RawClientCodecTests {
    /// Remembers whether FIN was asked for.
    private final class Wire: ByteSink {
        var isShut = false
        override func shutdownSending() { isShut = true }
        var written: String { text(output.bytes) }
    }

    private final class Tunnel: ClientCodecDelegate {
        let wire = Wire()
        let call = H2Call()
        private(set) lazy var codec = RawClientCodec(sink: wire, delegate: self)
        private(set) var ended: [Bool] = []
        private(set) var closes = 0
        private(set) var aborts = 0

        init(isOpen: Bool = true) {
            call.stream = codec.openStream(call)
            let head = headerMap([":method": "CONNECT", ":authority": "a:443", "x": "y"])
            if isOpen { call.stream?.sendHead(head, endStream: false) }
        }

        func receive(_ text: String) { _ = bytes(text).withUnsafeBytes { codec.received($0) } }

        func streamEnded(reusable: Bool) { ended.append(reusable) }
        func closeAfterFlush() { closes += 1 }
        func abort() { aborts += 1 }
    }

    @Test func `the answer is our own, and nothing of the request's head is written`() {
        let tunnel = Tunnel()
        #expect(tunnel.call.events == [.head(":status: 200", end: false)])
        #expect(tunnel.wire.written.isEmpty)
        #expect(tunnel.codec.streamsAvailable == 0)
    }

    @Test func `bytes pass both ways`() {
        let tunnel = Tunnel()
        tunnel.call.send("ping")
        tunnel.receive("pong")
        #expect(tunnel.wire.written == "ping")
        #expect(tunnel.call.events.last == .data("pong"))
        #expect(tunnel.codec.bytesSent == 4 && tunnel.codec.bytesReceived == 4)
    }

    @Test func `each direction ends by itself, and the connection with both`() {
        let client = Tunnel()
        client.call.send("all", end: true)
        #expect(client.wire.isShut && client.closes == 0)
        client.receive("answer")
        client.codec.receivedEnd()
        #expect(client.call.events.suffix(2) == [.data("answer"), .end])
        #expect(client.ended == [false] && client.closes == 1 && client.aborts == 0)

        let server = Tunnel()
        server.codec.receivedEnd()
        #expect(server.call.events.last == .end && server.ended.isEmpty)
        server.call.send("more", end: true)
        #expect(server.wire.written == "more" && server.wire.isShut && server.ended == [false])
    }

    @Test func `a request that ended before the connection was there ends at once`() {
        let tunnel = Tunnel(isOpen: false)
        tunnel.call.stream?.sendHead(headerMap([":method": "CONNECT"]), endStream: true)
        #expect(tunnel.wire.isShut)
        #expect(tunnel.call.events == [.head(":status: 200", end: false)])
    }

    @Test func `trailers are an end`() {
        let tunnel = Tunnel()
        tunnel.call.stream?.sendTrailers(headerMap(["x": "y"]))
        #expect(tunnel.wire.isShut && tunnel.wire.written.isEmpty)
    }

    @Test func `who gives the tunnel up resets the connection`() {
        let tunnel = Tunnel()
        tunnel.call.stream?.reset(.localReset)
        #expect(tunnel.aborts == 1)
        tunnel.receive("late")
        tunnel.codec.connectionClosed(.connectionTermination)
        #expect(tunnel.call.events == [.head(":status: 200", end: false)])
    }

    @Test func `an unused connection is not spoiled`() {
        let tunnel = Tunnel(isOpen: false)
        tunnel.call.stream?.reset(.localReset)
        #expect(tunnel.ended == [true] && tunnel.aborts == 0)
        #expect(tunnel.codec.streamsAvailable == 1)
    }

    @Test func `a broken connection resets the stream`() {
        let tunnel = Tunnel()
        tunnel.codec.connectionClosed(.connectionTermination)
        #expect(tunnel.call.events.last == .reset(.connectionTermination))
    }

    @Test func `the sink's watermarks and the stream's pauses govern each other`() {
        let tunnel = Tunnel()
        tunnel.codec.outputBlocked()
        tunnel.codec.outputUnblocked()
        #expect(tunnel.call.blocks == [true, false])
        tunnel.call.stream?.pauseReading()
        #expect(tunnel.wire.readPauses == 1)
        tunnel.codec.connectionClosed(.connectionTermination)
        #expect(tunnel.wire.readPauses == 0)
    }
}
