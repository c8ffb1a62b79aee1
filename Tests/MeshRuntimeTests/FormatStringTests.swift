import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime
import Testing

/// A finished request as the differential run against Envoy saw it.
struct FinishedStream {
    let stream: StreamInfo
    var request = HeaderMap()
    var response = HeaderMap()
    var trailers: HeaderMap?
    var logType = AccessLogType.downstreamEnd

    static let start = Instant(nanoseconds: 1_000_000_000)
    /// 2026-11-21T00:56:46.661117Z
    static let startWall = WallTime(nanoseconds: 1_795_222_606_661_117_000)

    init(tls: TLSConnectionInfo? = nil) {
        let loopback = IPAddress(ipv4: 0x7F00_0001)
        let connection = ConnectionInfo(
            remoteAddress: .ip(loopback, port: 40_000),
            localAddress: .ip(loopback, port: 29_811),
            start: Self.start,
            startWall: Self.startWall
        )
        connection.id = 3
        connection.tls = tls
        connection.filterChainName = "fc0"
        stream = StreamInfo(connection: connection, start: Self.start, startWall: Self.startWall)
        stream.httpVersion = .http11
        stream.responseCode = 200
        stream.responseCodeDetails = "via_upstream"
        stream.bytesSent = 6
        stream.end = Self.start + .milliseconds(43)
        stream.lastDownstreamByteReceived = Self.start
        stream.firstUpstreamByteSent = Self.start + .microseconds(717)
        stream.firstUpstreamByteReceived = Self.start + .milliseconds(2)
        stream.lastDownstreamByteSent = Self.start + .milliseconds(43)
        stream.cluster = ClusterLabels(name: "up")
        stream.upstreamHost = .ip(loopback, port: 29_921)
        stream.upstreamRemoteAddress = .ip(loopback, port: 29_921)
        stream.upstreamConnectionID = 1
        stream.attemptCount = 1
        stream.route = RouteLabels(name: "rt1")
        request.append(.method, "GET")
        request.append(.path, "/200?a=1%20x&b=2")
        request.append(.authority, "localhost:29811")
        request.append(.userAgent, "curl/7.88.1")
        response.append(.status, "200")
        response.append(.contentLength, "6")
    }

    var context: FormatContext {
        FormatContext(
            stream,
            requestHead: request,
            responseHead: response,
            responseTrailers: trailers,
            now: Self.start + .seconds(1),
            wallNow: Self.startWall,
            logType: logType
        )
    }
}

private let environment = FormatEnvironment(hostname: "vm") { ["HOME": "/root"][$0] }

private func text(_ format: String, _ finished: FinishedStream, omit: Bool = false) throws -> String
{
    FormatString(
        try FormatStringConfig.parse(format),
        environment,
        omitsEmptyValues: omit
    ).string(finished.context)
}

private func json(_ source: String, _ finished: FinishedStream, omit: Bool = false) -> String {
    let diagnostics = ConfigDiagnostics()
    guard
        let object = ConfigDocument.parse(
            json: #"{"omit_empty_values": \#(omit), "json_format": \#(source)}"#,
            diagnostics: diagnostics
        )
    else { return "" }
    let format = BodyFormat(SubstitutionFormatConfig(object), environment)
    var buffer = ByteBuffer()
    format.append(to: &buffer, finished.context)
    return String(bytes: buffer.bytes)
}

struct FormatStringTests {
    @Test func `operators print what Envoy prints`() throws {
        let finished = FinishedStream()
        let table = [
            ("%START_TIME%", "2026-11-21T00:56:46.661Z"),
            (
                "%START_TIME(%Y/%m/%dT%H:%M:%S.%3f %6f %9f %f %s %Z %z %e %j %a %b %1f)%",
                "2026/11/21T00:56:46.661 661117 661117000 661117000 1795222606 UTC +0000 21 325 Sat"
                    + " Nov 6"
            ),
            ("%REQ(:METHOD)%", "GET"), ("%REQ(X-NOPE?:PATH):4%", "/200"),
            ("%REQ(USER-AGENT):3%", "cur"), ("%REQ(NOPE)%", "-"), ("%RESP(CONTENT-LENGTH)%", "6"),
            ("%TRAILER(X)%", "-"), ("%PROTOCOL%", "HTTP/1.1"), ("%RESPONSE_CODE%", "200"),
            ("%RESPONSE_CODE_DETAILS%", "via_upstream"), ("%RESPONSE_FLAGS%", "-"),
            ("%BYTES_RECEIVED% %BYTES_SENT%", "0 6"), ("%DURATION%", "43"),
            ("%REQUEST_DURATION% %REQUEST_TX_DURATION%", "0 -"),
            ("%RESPONSE_DURATION% %RESPONSE_TX_DURATION%", "2 41"),
            ("%COMMON_DURATION(DS_RX_BEG:US_TX_BEG:us)%", "717"),
            ("%COMMON_DURATION(DS_RX_BEG:US_TX_BEG:ms)%", "0"),
            ("%COMMON_DURATION(US_HS_END:US_CX_END:ns)%", "-"),
            ("%UPSTREAM_HOST%", "127.0.0.1:29921"), ("%UPSTREAM_HOST_NAME%", "127.0.0.1:29921"),
            ("%UPSTREAM_HOST_NAME_WITHOUT_PORT%", "127.0.0.1"), ("%UPSTREAM_CLUSTER%", "up"),
            ("%UPSTREAM_REMOTE_PORT%", "29921"), ("%UPSTREAM_LOCAL_ADDRESS%", "-"),
            ("%DOWNSTREAM_LOCAL_ADDRESS%", "127.0.0.1:29811"),
            ("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "127.0.0.1"),
            ("%ROUTE_NAME% %FILTER_CHAIN_NAME% %VIRTUAL_CLUSTER_NAME%", "rt1 fc0 -"),
            ("%CONNECTION_ID% %UPSTREAM_CONNECTION_ID%", "3 1"), ("%HOSTNAME%", "vm"),
            ("[%LOCAL_REPLY_BODY%]", "[]"), ("%ENVIRONMENT(HOME)%", "/root"),
            ("%ENVIRONMENT(HOME):2%%ENVIRONMENT(NOPE)%", "/r-"),
            ("%GRPC_STATUS%", "-"), ("%QUERY_PARAM(a)%", "1 x"), ("%QUERY_PARAM(z)%", "-"),
            ("%QUERY_PARAMS%", "a=1%20x&b=2"), ("%PATH%", "/200?a=1%20x&b=2"),
            ("%PATH(NQ)%", "/200"), ("%PATH(WQ:ORIG)%", "-"),
            ("%REQ_WITHOUT_QUERY(:PATH)%", "/200"),
            ("%ACCESS_LOG_TYPE%", "DownstreamEnd"), ("%REQUESTED_SERVER_NAME%", "-"),
            ("%REQUESTED_SERVER_NAME(SNI_FIRST)%", "localhost:29811"), ("100%%", "100%"),
        ]
        for (format, expected) in table {
            #expect(try text(format, finished) == expected, "\(format)")
        }
    }

    @Test func `absent values vanish where the configuration says so`() throws {
        #expect(try text("[%REQ(NOPE)%]", FinishedStream(), omit: true) == "[]")
        #expect(try text("%RESPONSE_FLAGS%", FinishedStream(), omit: true) == "-")
    }

    @Test func `flags are joined by commas in Envoy's order`() throws {
        let finished = FinishedStream()
        finished.stream.flags = [.upstreamRetryLimitExceeded, .upstreamRequestTimeout]
        #expect(try text("%RESPONSE_FLAGS%", finished) == "UT,URX")
        #expect(
            try text("%RESPONSE_FLAGS_LONG%", finished)
                == "UpstreamRequestTimeout,UpstreamRetryLimitExceeded"
        )
    }

    @Test func `certificates give names, fingerprints and dates`() throws {
        let peer = CertificateInfo(
            uriSANs: ["spiffe://a", "spiffe://b"],
            dnsSANs: ["client.example"],
            subject: "CN=client,O=mesh",
            issuer: "CN=ca",
            serial: "4db9",
            sha256: "e4d7",
            notBefore: WallTime(nanoseconds: 1_795_221_899_000_000_000),
            pem: "-----BEGIN X-----\nA+/=\n"
        )
        let finished = FinishedStream(tls: TLSConnectionInfo(cipher: "C", peer: peer))
        let table = [
            ("%DOWNSTREAM_PEER_URI_SAN%", "spiffe://a,spiffe://b"),
            ("%DOWNSTREAM_PEER_DNS_SAN% %DOWNSTREAM_PEER_IP_SAN%", "client.example -"),
            ("%DOWNSTREAM_PEER_SUBJECT% %DOWNSTREAM_LOCAL_SUBJECT%", "CN=client,O=mesh -"),
            ("%DOWNSTREAM_PEER_SERIAL% %DOWNSTREAM_PEER_FINGERPRINT_256%", "4db9 e4d7"),
            ("%DOWNSTREAM_PEER_CERT%", "-----BEGIN%20X-----%0AA%2B%2F%3D%0A"),
            ("%DOWNSTREAM_PEER_CERT_V_START%", "2026-11-21T00:44:59.000Z"),
            ("%DOWNSTREAM_PEER_CERT_V_START(%Y-%m-%d)%", "2026-11-21"),
            ("%DOWNSTREAM_TLS_VERSION% %DOWNSTREAM_TLS_CIPHER%", "TLSv1.3 C"),
        ]
        for (format, expected) in table {
            #expect(try text(format, finished) == expected, "\(format)")
        }
    }

    @Test func `metadata prints strings bare and the rest as JSON`() throws {
        let finished = FinishedStream()
        finished.stream.dynamicMetadata = [
            "f": ["k": .string("v"), "n": .number(3), "l": .list([.number(2.5), .bool(true)])]
        ]
        finished.stream.filterState = ["s": "x"]
        #expect(try text("%DYNAMIC_METADATA(f:k)%", finished) == "v")
        #expect(try text("%DYNAMIC_METADATA(f:n)%", finished) == "3")
        #expect(
            try text("%DYNAMIC_METADATA(f)%", finished) == #"{"k":"v","l":[2.5,true],"n":3}"#
        )
        #expect(try text("%DYNAMIC_METADATA(f:z)% %DYNAMIC_METADATA(g)%", finished) == "- -")
        #expect(try text("%FILTER_STATE(s)% %FILTER_STATE(s:PLAIN)%", finished) == #""x" x"#)
    }

    @Test
    func `an address of the filter state has parts, and comes with the connection or the stream`()
        throws
    {
        let finished = FinishedStream()
        let address = FilterStateObject(
            "10.0.0.1:80",
            json: "",
            address: .ip(IPAddress(ipv4: 0x0A00_0001), port: 80)
        )
        finished.stream.connection.filterState = ["a": address, "s": "connection's"]
        #expect(try text("%FILTER_STATE(a)% %FILTER_STATE(a:PLAIN)%", finished) == "- 10.0.0.1:80")
        #expect(
            try text(
                "%FILTER_STATE(a:FIELD:ip)% %FILTER_STATE(a:FIELD:port)% %FILTER_STATE(a:FIELD:x)%",
                finished
            ) == "10.0.0.1 80 -"
        )
        #expect(try text("%FILTER_STATE(s:PLAIN)%", finished) == "connection's")
    }

    @Test func `gRPC statuses come from trailers, head, or the HTTP code`() throws {
        var finished = FinishedStream()
        finished.request.append(.contentType, "application/grpc+proto")
        finished.stream.responseCode = 503
        #expect(try text("%GRPC_STATUS%", finished) == "Unavailable")
        finished.response.append(.grpcStatus, "5")
        #expect(try text("%GRPC_STATUS(SNAKE_STRING)%", finished) == "NOT_FOUND")
        let trailers = HeaderMap()
        trailers.append(.grpcStatus, "7")
        finished.trailers = trailers
        #expect(try text("%GRPC_STATUS_NUMBER%", finished) == "7")
    }

    @Test func `JSON keeps numbers as numbers, and absent values as null`() {
        let finished = FinishedStream()
        #expect(
            json(
                #"{"d": "%DURATION%", "a": "%REQ(NOPE)%", "m": "x%DURATION%y%REQ(NOPE)%", "n": 1}"#,
                finished
            ) == #"{"a":null,"d":43,"m":"x43y-","n":1}"#
        )
        #expect(
            json(#"{"o": {"x": ["%PROTOCOL%", true, null]}}"#, finished)
                == #"{"o":{"x":["HTTP/1.1",true,null]}}"#
        )
        #expect(
            json(#"{"a": "%REQ(NOPE)%", "b": "%PROTOCOL%"}"#, finished, omit: true)
                == #"{"b":"HTTP/1.1"}"#
        )
    }

    @Test func `a peer cannot break out of a JSON string`() {
        let finished = FinishedStream()
        finished.request.set(.userAgent, "a\"b\\c\u{1}")
        #expect(json(#"{"u": "%REQ(USER-AGENT)%"}"#, finished) == #"{"u":"a\"b\\c\u0001"}"#)
    }
}
