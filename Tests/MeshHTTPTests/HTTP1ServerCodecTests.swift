import MeshHTTP
import MeshNet
import Testing

/// Settings changed in place.
func settings(_ change: (inout HTTP1Settings) -> Void) -> HTTP1Settings {
    var result = HTTP1Settings()
    change(&result)
    return result
}

@Suite struct HTTP1ServerCodecTests {
    @Test func `a plain request is one head and its response keeps the connection`() {
        let server = TestServer()
        server.onHead = { server, _, _ in server.respond(200, body: "hello", ["x-a": "1"]) }
        server.receive(
            "GET /x?y=1 HTTP/1.1\r\nHost: example.org\r\nUser-Agent:  curl\t\r\nX-Empty:\r\n\r\n"
        )
        #expect(
            server.events == [
                .head(
                    ":method: GET | :path: /x?y=1 | :authority: example.org | user-agent: curl | x-empty: ",
                    end: true
                ),
                .sent,
            ]
        )
        #expect(server.output == "HTTP/1.1 200 OK\r\nx-a: 1\r\ncontent-length: 5\r\n\r\nhello")
        #expect(server.closes == 0)
        #expect(server.codec.isIdle)
    }
}
