import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime
import Testing

@testable import MeshProxy

private let internalTen =
    #""internal_address_config":{"cidr_ranges":[{"address_prefix":"10.0.0.0","prefix_len":8}]}"#

private func sanitize(
    _ members: String,
    _ fields: [(String, String)] = [],
    remote: String = "127.0.0.1",
    tls: TLSConnectionInfo? = nil
) throws -> (head: HeaderMap, origin: RequestOrigin) {
    let (node, _) = try Compile.object(#"{"id":"n","cluster":"c"}"#)
    let sanitizer = RequestSanitizer(
        try Compile.manager(members),
        node: NodeConfig(node),
        nodeAddress: IPAddress("192.0.2.2")
    )
    let head = HeaderMap([(":method", "GET"), (":path", "/"), (":authority", "h")] + fields)
    let connection = StreamInfo.test(remote: remote, tls: tls).connection
    let origin = sanitizer.sanitize(
        head,
        from: connection,
        random: (0x0123_4567_89AB_CDEF, 0xFEDC_BA98_7654_3210)
    )
    return (head, origin)
}

@Suite struct RequestSanitizerTests {
    @Test func `a plain request gets a scheme and an id`() throws {
        let (head, origin) = try sanitize("")
        #expect(head.string(.forwardedProto) == "http")
        #expect(head.string(.scheme) == "http")
        #expect(head.string(.requestID) == "01234567-89ab-4def-bedc-ba9876543210")
        #expect(!head.contains(.forwardedFor))
        #expect(!origin.isInternal)
        #expect(!origin.isEdge)
    }

    @Test func `outsiders' control headers are removed, insiders' kept`() throws {
        let control = [
            ("x-envoy-retry-on", "5xx"), ("x-envoy-max-retries", "2"),
            ("x-envoy-upstream-rq-timeout-ms", "9"), ("x-envoy-force-trace", "1"),
            ("x-envoy-expected-rq-timeout-ms", "7"), ("x-int", "1"), ("x-envoy-internal", "true"),
        ]
        let (outside, _) = try sanitize(internalTen, control)
        #expect(outside.fields.filter { $0.hasPrefix("x-envoy") || $0.hasPrefix("x-int") } == [])
        let (inside, origin) = try sanitize(
            internalTen,
            control + [("x-forwarded-for", "10.0.0.1")]
        )
        #expect(origin.isInternal)
        #expect(inside.string(.envoyRetryOn) == "5xx")
        #expect(inside.string(.envoyInternal) == "true")
        #expect(inside.fields.contains("x-int: 1"))
    }

    @Test func `at the edge the peer is appended and told`() throws {
        let (head, origin) = try sanitize(
            #""use_remote_address":true"#,
            [
                ("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https"),
                ("x-envoy-original-path", "/o"), ("x-request-id", "mine"),
            ],
            remote: "203.0.113.9"
        )
        #expect(head.string(.forwardedFor) == "1.2.3.4,203.0.113.9")
        #expect(head.string(.forwardedProto) == "http")
        #expect(head.string(.envoyExternalAddress) == "203.0.113.9")
        #expect(!head.contains(.envoyOriginalPath))
        #expect(head.string(.requestID) != "mine")
        #expect(origin.isEdge)
        #expect(origin.remoteAddress.ip == IPAddress("203.0.113.9"))
        let (local, _) = try sanitize(#""use_remote_address":true"#)
        #expect(local.string(.forwardedFor) == "192.0.2.2")
    }

    @Test(arguments: [
        (1, "1.1.1.1", "1.1.1.1"), (1, "1.1.1.1,10.0.0.2", "10.0.0.2"), (1, "a,b,c", "127.0.0.1"),
        (2, "1.1.1.1", "127.0.0.1"), (2, "1.1.1.1, 2.2.2.2 ,3.3.3.3", "2.2.2.2"),
    ])
    func `at the edge trusted hops are passed over`(
        hops: Int,
        forwarded: String,
        wanted: String
    ) throws {
        let (head, origin) = try sanitize(
            #""use_remote_address":true,"xff_num_trusted_hops":\#(hops)"#,
            [("x-forwarded-for", forwarded), ("x-forwarded-proto", "https")]
        )
        #expect(origin.remoteAddress.ip == IPAddress(wanted))
        #expect(head.string(.envoyExternalAddress) == wanted)
        // A trusted hop may say how the client came.
        #expect(head.string(.forwardedProto) == "https")
    }

    @Test(arguments: [
        (0, "1.1.1.1", "1.1.1.1", false), (0, "10.0.0.1", "10.0.0.1", true),
        (0, "10.0.0.1,10.0.0.2", "10.0.0.2", false), (0, "bad", "127.0.0.1", false),
        (0, "10.0.0.1:80", "127.0.0.1", false), (1, "1.1.1.1", "127.0.0.1", false),
        (1, "10.1.1.1,2.2.2.2,3.3.3.3", "2.2.2.2", false),
        (1, "10.0.0.9,1.1.1.1", "10.0.0.9", false),
    ])
    func `behind the edge the last untrusted entry is the client`(
        hops: Int,
        forwarded: String,
        wanted: String,
        isInternal: Bool
    ) throws {
        let (_, origin) = try sanitize(
            #""xff_num_trusted_hops":\#(hops),\#(internalTen)"#,
            [("x-forwarded-for", forwarded)]
        )
        #expect(origin.remoteAddress.ip == IPAddress(wanted))
        #expect(origin.isInternal == isInternal)
    }

    @Test func `addresses are found by extensions`() throws {
        func members(_ type: String, _ config: String) -> String {
            #""original_ip_detection_extensions":[{"name":"x","typed_config":{"@type":"type.googleapis.com/envoy.extensions.http.original_ip_detection.\#(type)",\#(config)}}],\#(internalTen)"#
        }
        let header = members(
            "custom_header.v3.CustomHeaderConfig",
            #""header_name":"X-Client","allow_extension_to_set_address_as_trusted":true,"reject_with_status":{"code":"Unauthorized"}"#
        )
        let (_, found) = try sanitize(header, [("x-client", "10.1.1.1")])
        #expect(found.remoteAddress.ip == IPAddress("10.1.1.1"))
        #expect(found.isInternal)
        #expect(try sanitize(header, [("x-client", "bad")]).origin.rejectStatus == 401)
        #expect(try sanitize(header).origin.rejectStatus == 401)

        let networks = members(
            "xff.v3.XffConfig",
            #""xff_trusted_cidrs":{"cidrs":[{"address_prefix":"127.0.0.0","prefix_len":8},{"address_prefix":"10.0.0.0","prefix_len":8}]},"skip_xff_append":false"#
        )
        let (head, origin) = try sanitize(networks, [("x-forwarded-for", "1.1.1.1,10.0.0.2")])
        #expect(origin.remoteAddress.ip == IPAddress("1.1.1.1"))
        #expect(head.string(.forwardedFor) == "1.1.1.1,10.0.0.2,192.0.2.2")
        let (_, broken) = try sanitize(networks, [("x-forwarded-for", "1.1.1.1,bad,10.0.0.1")])
        #expect(broken.remoteAddress.ip == IPAddress("127.0.0.1"))
        let (_, stranger) = try sanitize(
            networks,
            [("x-forwarded-for", "1.1.1.1")],
            remote: "9.9.9.9"
        )
        #expect(stranger.remoteAddress.ip == IPAddress("9.9.9.9"))
    }

    @Test(arguments: [
        ("aaaaaaaa-bbbb-9ccc-8ddd-eeeeeeeeeeee", "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"),
        ("aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee", "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"),
        ("xyz", "xyz"), ("", "01234567-89ab-4def-bedc-ba9876543210"),
    ])
    func `an external id may be kept, without what it says of sampling`(
        id: String,
        wanted: String
    ) throws {
        let (head, _) = try sanitize(
            #""use_remote_address":true,"preserve_external_request_id":true"#,
            [("x-request-id", id)]
        )
        #expect(head.string(.requestID) == wanted)
    }

    @Test(arguments: [
        ("foo", true), ("/x", true), ("http://a/b", true), ("https://x:80/", true),
        ("HTTP://A", true), ("//x", true), ("ftp://x", true), ("http://[::1]:80/", true),
        ("?q", true), ("about:blank", false), ("http://", false), ("http://a b", false),
        ("http://a:99999/", false), ("http://a:/", false), ("http://a#b", false), ("#f", false),
        ("urn:1:2", false), ("mailto:a@b", false),
    ])
    func `a referer that is no URL is dropped`(referer: String, isKept: Bool) throws {
        let (head, _) = try sanitize("", [("referer", referer)])
        #expect(head.contains(.referer) == isKept)
    }

    @Test func `who handled the request is added`() throws {
        let (head, _) = try sanitize(
            #""via":"v1","add_user_agent":true,"append_x_forwarded_port":true,"use_remote_address":true"#,
            [("via", "1.1 a"), ("user-agent", "")]
        )
        #expect(head.string(.via) == "1.1 a, v1")
        #expect(head.string(.userAgent) == "c")
        #expect(head.string(.envoyDownstreamServiceCluster) == "c")
        #expect(head.string(.envoyDownstreamServiceNode) == "n")
        #expect(head.string(.forwardedPort) == "8080")
    }

    @Test func `a scheme may be prescribed`() throws {
        let (head, _) = try sanitize(
            #""scheme_header_transformation":{"scheme_to_overwrite":"https"}"#
        )
        #expect(head.string(.scheme) == "https")
        #expect(head.string(.forwardedProto) == "https")
    }

    @Test(
        arguments: [
            ("SANITIZE", nil), ("FORWARD_ONLY", "old"), ("ALWAYS_FORWARD_ONLY", "old"),
            (
                "APPEND_FORWARD",
                #"old,By=spiffe://td/server;Hash=abc;Subject="CN=\"x\"";URI=spiffe://td/client;DNS=d.com"#
            ),
            (
                "SANITIZE_SET",
                #"By=spiffe://td/server;Hash=abc;Subject="CN=\"x\"";URI=spiffe://td/client;DNS=d.com"#
            ),
        ] as [(String, String?)]
    )
    func `the client's certificate is told as configured`(mode: String, wanted: String?) throws {
        let tls = TLSConnectionInfo(
            peer: CertificateInfo(
                uriSANs: ["spiffe://td/client"],
                dnsSANs: ["d.com"],
                subject: #"CN=\"x\""#,
                sha256: "abc"
            ),
            local: CertificateInfo(uriSANs: ["spiffe://td/server"])
        )
        let members =
            #""forward_client_cert_details":"\#(mode)","set_current_client_cert_details":{"subject":true,"uri":true,"dns":true}"#
        let (head, _) = try sanitize(members, [("x-forwarded-client-cert", "old")], tls: tls)
        #expect(head.string(.forwardedClientCert) == wanted)
        // Without a client certificate only the blind mode keeps what came.
        let (plain, _) = try sanitize(members, [("x-forwarded-client-cert", "old")])
        #expect(plain.contains(.forwardedClientCert) == (mode == "ALWAYS_FORWARD_ONLY"))
    }
}

@Suite struct HostHeaderTests {
    @Test(arguments: [
        (#""strip_any_host_port":true"#, "h.com:81", "h.com"),
        (#""strip_any_host_port":true"#, "[::1]:81", "[::1]"),
        (#""strip_any_host_port":true"#, "h.com:", "h.com:"),
        (#""strip_any_host_port":true"#, "h.com:abc", "h.com:abc"),
        (#""strip_matching_host_port":true"#, "h.com:8080", "h.com"),
        (#""strip_matching_host_port":true"#, "h.com:81", "h.com:81"),
        (#""strip_trailing_host_dot":true"#, "h.com.", "h.com"),
        (#""strip_trailing_host_dot":true"#, "h.com.:81", "h.com:81"),
        (#""strip_trailing_host_dot":true,"strip_any_host_port":true"#, "h.com.:81", "h.com"),
    ])
    func `ports and a trailing dot are taken off as configured`(
        members: String,
        host: String,
        wanted: String
    ) throws {
        let head = HeaderMap.request("/", host: host)
        HostHeader.normalize(head, try Compile.manager(members), listenerPort: 8080)
        #expect(head.string(.authority) == wanted)
    }
}
