import MeshConfig
import Testing

struct FormatStringConfigTests {
    @Test func `operators, literals, lengths and escaped percent signs are told apart`() throws {
        let format = try FormatStringConfig.parse("a%%b %REQ(X-A?:PATH):12%%PROTOCOL%]")
        #expect(
            format.parts == [
                .literal("a%b "),
                .header(.request, name: "x-a", alternative: ":path", lengthMax: 12),
                .field(.proto),
                .literal("]"),
            ]
        )
    }

    @Test func `each operator has its parameters`() throws {
        let table: [(String, FormatPart)] = [
            ("%RESP(A)%", .header(.response, name: "a", alternative: nil, lengthMax: nil)),
            ("%TRAILER(A):0%", .header(.trailer, name: "a", alternative: nil, lengthMax: 0)),
            ("%START_TIME%", .time(.start, .standard)),
            ("%START_TIME()%", .time(.start, .standard)),
            (
                "%START_TIME(%H:%M%%)%",
                .time(
                    .start,
                    TimeFormat(parts: [.hour, .literal(":"), .minute, .literal("%")])
                )
            ),
            (
                "%DOWNSTREAM_PEER_CERT_V_END(%s.%6f)%",
                .time(
                    .downstreamPeerCertEnd,
                    TimeFormat(parts: [.epochSeconds, .literal("."), .fraction(digits: 6)])
                )
            ),
            (
                "%COMMON_DURATION(DS_RX_BEG:US_TX_BEG:us)%",
                .commonDuration(
                    from: .requestBegin,
                    to: .upstreamRequestBegin,
                    unit: .microseconds
                )
            ),
            (
                "%COMMON_DURATION(DS_RX_BEG:DS_TX_END)%",
                .commonDuration(from: .requestBegin, to: .responseEnd, unit: .milliseconds)
            ),
            (
                "%COMMON_DURATION(DS_RX_HDR_END:mesh.routed:ns)%",
                .commonDuration(from: .requestHeadEnd, to: .routed, unit: .nanoseconds)
            ),
            (
                "%DYNAMIC_METADATA(envoy.lb:a:b):3%",
                .metadata(.dynamic, namespace: "envoy.lb", path: ["a", "b"], lengthMax: 3)
            ),
            (
                "%METADATA(ROUTE:f)%",
                .metadata(.route, namespace: "f", path: [], lengthMax: nil)
            ),
            ("%FILTER_STATE(k:PLAIN)%", .filterState(key: "k", .plain, lengthMax: nil)),
            ("%FILTER_STATE(k:FIELD:ip)%", .filterState(key: "k", .field("ip"), lengthMax: nil)),
            ("%ENVIRONMENT(HOME)%", .environment(name: "HOME", lengthMax: nil)),
            ("%GRPC_STATUS%", .grpcStatus(.camel)),
            ("%GRPC_STATUS(NUMBER)%", .grpcStatus(.number)),
            ("%REQUESTED_SERVER_NAME%", .requestedServerName(.serverNameOnly)),
            ("%PATH(NQ:ORIG)%", .path(withQuery: .without, .original, lengthMax: nil)),
            ("%PATH%", .path(withQuery: .with, .originalOrPath, lengthMax: nil)),
            ("%QUERY_PARAM(a)%", .queryParameter(name: "a", lengthMax: nil)),
        ]
        for (text, part) in table {
            #expect(try FormatStringConfig.parse(text).parts == [part], "\(text)")
        }
        for field in FormatField.allCases {
            #expect(try FormatStringConfig.parse("%\(field.rawValue)%").parts == [.field(field)])
        }
    }

    @Test(arguments: [
        "%NOPE%", "%START_TIME", "100%", "% %", "%protocol%", "%REQ%", "%REQ()%", "%REQ(a?b?c)%",
        "%REQ(a):x%", "%PROTOCOL:3%", "%PROTOCOL(x)%", "%HOSTNAME(a)%", "%DYNAMIC_METADATA%",
        "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:s)%", "%COMMON_DURATION(A:B:ms)%",
        "%FILTER_STATE(a:FOO)%", "%GRPC_STATUS(foo)%", "%METADATA(foo:a)%", "%REQ(:METHOD)",
        "%DOWNSTREAM_PEER_CERT_V_START:4%", "%START_TIME(%Q)%", "%START_TIME(%3x)%",
    ])
    func `a malformed operator is an error that names it`(text: String) {
        #expect(throws: FormatError.self) { try FormatStringConfig.parse(text) }
    }

    @Test func `a misspelt operator is answered with its neighbour`() {
        #expect {
            try FormatStringConfig.parse("%RESPONSE_CODE_DETAIL%")
        } throws: {
            "\($0)".hasSuffix("did you mean %RESPONSE_CODE_DETAILS%?")
        }
    }

    @Test func `Istio's default log line parses`() throws {
        let text = """
            [%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" \
            %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% \
            %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" \
            %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \
            "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" \
            "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% \
            %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% \
            %REQUESTED_SERVER_NAME% %ROUTE_NAME%

            """
        #expect(try FormatStringConfig.parse(text).parts.count == 49)
    }
}
