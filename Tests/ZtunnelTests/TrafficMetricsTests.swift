import MeshNet
import MeshRuntime
import Testing

@testable import Ztunnel

struct TrafficMetricsTests {
    private let metrics = TrafficMetrics()
    private let observer: TrafficObserver
    private let mesh: Mesh

    init() throws {
        observer = TrafficObserver(metrics: metrics)
        mesh = try Mesh.observed()
    }

    private func opened() throws -> [Exposition.Sample] {
        try Exposition(metrics)["istio_tcp_connections_opened_total"]
    }

    @Test func `a connection has every label, in ztunnel's order`() throws {
        observer.opened(try .outbound(mesh))
        let sample = try #require(try opened().first)
        let expected = [
            ("reporter", "source"),
            ("source_workload", "shell"), ("source_canonical_service", "shell-app"),
            ("source_canonical_revision", "v1"), ("source_workload_namespace", "default"),
            ("source_principal", "spiffe://cluster.local/ns/default/sa/shell"),
            ("source_app", "shell-app"), ("source_version", "v1"), ("source_cluster", "Kubernetes"),
            ("destination_service", "echo.shop.svc.cluster.local"),
            ("destination_service_namespace", "shop"), ("destination_service_name", "echo"),
            ("destination_workload", "echo"), ("destination_canonical_service", "echo"),
            ("destination_canonical_revision", "latest"),
            ("destination_workload_namespace", "shop"),
            ("destination_principal", "spiffe://cluster.local/ns/shop/sa/echo"),
            ("destination_app", "echo"), ("destination_version", "latest"),
            ("destination_cluster", "Kubernetes"),
            ("request_protocol", "tcp"), ("response_flags", "-"),
            ("connection_security_policy", "mutual_tls"),
            ("source_region", "eu"), ("source_zone", "eu-1"),
            ("destination_region", "unknown"), ("destination_zone", "unknown"),
        ]
        #expect(sample.labels.map(\.name) == expected.map(\.0))
        #expect(sample.labels.map(\.value) == expected.map(\.1))
        #expect(sample.value == 1)
    }

    @Test func `what is not known is unknown, and without peers there is no locality`() throws {
        observer.opened(
            ConnectionRecord(
                direction: .inbound,
                source: ConnectionRecord.client,
                destination: ConnectionRecord.server,
                start: Instant(nanoseconds: 0)
            )
        )
        let sample = try #require(try opened().first)
        #expect(sample["reporter"] == "destination")
        #expect(sample["connection_security_policy"] == "unknown")
        #expect(sample.labels.count { $0.value == "unknown" } == 20)
        #expect(sample.labels.count == 23)
    }

    @Test func `a source is believed by its handshake alone`() throws {
        let plain = try ConnectionRecord.inbound(mesh)
        plain.sourceIdentity = nil
        plain.isMutualTLS = false
        observer.opened(plain)
        let sample = try #require(try opened().first)
        #expect(sample["source_workload"] == "shell")
        #expect(sample["source_principal"] == "unknown")
        // The destination is ours.
        #expect(sample["destination_principal"] == "spiffe://cluster.local/ns/shop/sa/echo")
    }

    @Test func `an unknown source is what its baggage says, a known one what the file says`() throws
    {
        var claimed = ClaimedWorkload()
        claimed.workloadName = "remote"
        claimed.app = "remote-app"
        claimed.revision = "v9"
        claimed.namespace = "far"
        claimed.clusterID = "other"
        for source in [nil, try mesh.byUID("client")] {
            let record = try ConnectionRecord.inbound(mesh)
            record.sourceWorkload = source
            record.claimedSource = claimed
            observer.opened(record)
        }
        let samples = try opened()
        #expect(samples.map { $0["source_workload"] } == ["remote", "shell"])
        #expect(samples.map { $0["source_canonical_service"] } == ["remote-app", "shell-app"])
        // ztunnel has the workload's name here, not what it is an instance of.
        #expect(samples.map { $0["source_app"] } == ["remote", "shell-app"])
        #expect(samples.map { $0["source_version"] } == ["v9", "v1"])
        #expect(samples.map { $0["source_cluster"] } == ["other", "Kubernetes"])
    }

    @Test func `bytes are counted from the server's view on both sides`() throws {
        for record in [try ConnectionRecord.outbound(mesh), try .inbound(mesh)] {
            observer.opened(record)
            observer.carried(record, sent: 400, received: 60)
            observer.carried(record, sent: 90, received: 7)
            observer.finished(record)
        }
        let scrape = try Exposition(metrics)
        #expect(scrape["istio_tcp_sent_bytes_total"].map(\.value) == [490, 490])
        #expect(scrape["istio_tcp_received_bytes_total"].map(\.value) == [67, 67])
        #expect(scrape["istio_tcp_connections_closed_total"].map(\.value) == [1, 1])
        #expect(scrape["istio_tcp_connections_failed_total"].isEmpty)
        #expect(scrape.types["istio_tcp_connections_failed"] == nil)
    }

    @Test(arguments: [
        (FailureFlag.authorizationPolicyDenied, "DENY"), (.connectionFailure, "CONNECT"),
        (.tlsFailure, "TLS_FAILURE"), (.http2HandshakeFailure, "H2_HANDSHAKE_FAILURE"),
        (.networkPolicyError, "NETWORK_POLICY"), (.identityError, "IDENTITY_ERROR"),
        (.certificateRevoked, "CERT_REVOKED"),
    ])
    func `a failure is closed and failed with its flag`(_ flag: FailureFlag, _ text: String) throws
    {
        let record = try ConnectionRecord.outbound(mesh)
        observer.opened(record)
        record.flags = flag
        record.error = "why"
        observer.finished(record)
        let scrape = try Exposition(metrics)
        #expect(scrape["istio_tcp_connections_opened_total"].map { $0["response_flags"] } == ["-"])
        for name in ["closed", "failed"] {
            let samples = scrape["istio_tcp_connections_\(name)_total"]
            #expect(samples.map { $0["response_flags"] } == [text])
            #expect(samples.map(\.value) == [1])
        }
        #expect(scrape.types["istio_tcp_connections_failed"] == "counter")
    }

    @Test func `an error without a flag is CONNECT`() throws {
        let record = try ConnectionRecord.outbound(mesh)
        observer.opened(record)
        record.error = "connection reset"
        observer.finished(record)
        let failed = try Exposition(metrics)["istio_tcp_connections_failed_total"]
        #expect(failed.map { $0["response_flags"] } == ["CONNECT"])
    }

    @Test func `a connection that ended before it was open counts as both`() throws {
        let record = try ConnectionRecord.outbound(mesh)
        record.flags = .connectionFailure
        observer.carried(record, sent: 1, received: 1)
        observer.finished(record)
        let scrape = try Exposition(metrics)
        #expect(scrape.sum("istio_tcp_connections_opened_total") == 1)
        #expect(scrape.sum("istio_tcp_connections_closed_total") == 1)
        #expect(scrape.sum("istio_tcp_connections_failed_total") == 1)
    }

    @Test func `a value cannot leave its quotes`() throws {
        let record = try ConnectionRecord.inbound(mesh)
        record.sourceWorkload = nil
        record.claimedSource = ClaimedWorkload()
        record.claimedSource?.workloadName = "a\"} 1\nforged{x=\"\\"
        observer.opened(record)
        let samples = try opened()
        #expect(samples.map { $0["source_workload"] } == ["a\"} 1\nforged{x=\"\\"])
    }

    @Test func `sockets, revocations and the build are told`() throws {
        observer.socketOpened(.inbound)
        observer.socketOpened(.inbound)
        observer.socketOpened(.outbound)
        observer.socketClosed(.inbound)
        var scrape = try Exposition(metrics, version: "1.2.3")
        let sockets = scrape["istio_tcp_sockets_open"]
        #expect(sockets.map { $0["reporter"] } == ["source", "destination"])
        #expect(sockets.map(\.value) == [1, 1])
        #expect(scrape.types["istio_tcp_sockets_open"] == "gauge")
        #expect(scrape["istio_crl_policy_rejections_total"].isEmpty)
        #expect(scrape["istio_build"].map { $0["component"] } == ["ztunnel"])
        #expect(scrape["istio_build"].map { $0["tag"] } == ["1.2.3"])
        observer.certificateRefused(.inbound)
        scrape = try Exposition(metrics)
        #expect(scrape["istio_crl_policy_rejections_total"].map(\.value) == [0, 1])
    }
}
