import MeshNet
import MeshSimulation
import Testing

@Suite struct TLSResumptionTests {
    let mesh = TLSMesh()

    /// Two connections after each other; whether the second was resumed, as both sides see it.
    private func resumes(
        _ client: TLSContext,
        _ server: TLSContext,
        then later: TLSContext? = nil,
        names: (String?, String?) = ("server.a.svc", "server.a.svc")
    ) throws -> Bool {
        let first = TLSPair(client: client, server: server, serverName: names.0)
        try #require(first.exchange())
        #expect(first.client.info?.isResumed == false)
        let second = TLSPair(client: client, server: later ?? server, serverName: names.1)
        try #require(second.exchange())
        #expect(second.client.info?.isResumed == second.server.info?.isResumed)
        return second.server.info?.isResumed == true
    }

    private func settings(_ version: TLSVersion) -> (client: TLSSettings, server: TLSSettings) {
        var client = mesh.client
        client.maxVersion = version
        return (client, mesh.server)
    }

    @Test(arguments: [TLSVersion.tls12, .tls13])
    func `a second connection is resumed and still knows its peer`(version: TLSVersion) throws {
        let (client, server) = settings(version)
        let contexts = (try TLSContext(client), try TLSContext(server))
        #expect(try resumes(contexts.0, contexts.1))
        let third = TLSPair(client: contexts.0, server: contexts.1, serverName: "server.a.svc")
        #expect(third.exchange())
        #expect(third.server.info?.isResumed == true)
        #expect(third.server.info?.peer?.subject == "CN=client")
        #expect(third.server.info?.isPeerVerified == true)
        #expect(third.client.info?.peer?.subject == "CN=server")
        #expect(third.client.info?.isPeerVerified == true)
        #expect(third.server.info?.serverName == "server.a.svc")
    }

    @Test func `max_session_keys 0 turns resumption off`() throws {
        var client = mesh.client
        client.maxSessionKeys = 0
        #expect(try !resumes(TLSContext(client), TLSContext(mesh.server)))
    }

    @Test(arguments: [TLSVersion.tls12, .tls13])
    func `without tickets and cache nothing is resumed`(version: TLSVersion) throws {
        var (client, server) = settings(version)
        server.issuesTickets = false
        server.keepsSessions = false
        #expect(try !resumes(TLSContext(client), TLSContext(server)))
        client.maxSessionKeys = 4
        #expect(try !resumes(TLSContext(client), TLSContext(server)))
    }

    @Test func `the session cache alone resumes TLS 1.2 but not 1.3`() throws {
        var (client, server) = settings(.tls12)
        server.issuesTickets = false
        #expect(try resumes(TLSContext(client), TLSContext(server)))
        client.maxVersion = .tls13
        #expect(try !resumes(TLSContext(client), TLSContext(server)))
    }

    @Test func `tickets alone resume`() throws {
        for version in [TLSVersion.tls12, .tls13] {
            var (client, server) = settings(version)
            client.maxVersion = version
            server.keepsSessions = false
            #expect(try resumes(TLSContext(client), TLSContext(server)))
        }
    }

    @Test func `a TLS 1.3 session is offered once`() throws {
        let client = try TLSContext(mesh.client)
        let server = try TLSContext(mesh.server)
        #expect(TLSPair(client: client, server: server).exchange())
        let second = TLSPair(client: client, server: server)
        // Before the second has its own ticket, a third finds none.
        let third = TLSPair(client: client, server: server)
        #expect(third.exchange())
        #expect(third.server.info?.isResumed == false)
        #expect(second.exchange())
        #expect(second.server.info?.isResumed == true)
    }

    @Test(arguments: [TLSVersion.tls12, .tls13])
    func `another server name gets no session`(version: TLSVersion) throws {
        let (client, server) = settings(version)
        #expect(
            try !resumes(
                TLSContext(client),
                TLSContext(server),
                names: ("server.a.svc", "other.a.svc")
            )
        )
    }

    // MARK: Never across a change of trust

    struct Change: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var isResumed: Bool
        var change: @Sendable (inout TLSSettings) -> Void
    }

    private static let keys = [[UInt8](repeating: 7, count: 80)]

    @Test(arguments: [
        Change(testDescription: "the same settings", isResumed: true) { _ in },
        Change(testDescription: "a name", isResumed: false) {
            $0.trust?.names = [TLSNameMatcher(kind: .dns, exact: "client.a.svc")]
        },
        Change(testDescription: "another authority added", isResumed: false) {
            $0.trust?.authorities += TestAuthority("another").pem
        },
        Change(testDescription: "leniency withdrawn", isResumed: false) {
            $0.trust?.allowsExpired = true
        },
        Change(testDescription: "a depth", isResumed: false) { $0.trust?.maxDepth = 3 },
        Change(testDescription: "another filter chain", isResumed: false) {
            $0.sessionScope = "other.example"
        },
        Change(testDescription: "certificates no longer required", isResumed: false) {
            $0.requireClientCertificate = false
        },
    ])
    func `shared ticket keys resume only under equal trust`(change: Change) throws {
        for version in [TLSVersion.tls12, .tls13] {
            var (client, server) = settings(version)
            client.maxVersion = version
            server.ticketKeys = Self.keys
            var later = server
            change.change(&later)
            let resumed = try resumes(
                TLSContext(client),
                TLSContext(server),
                then: TLSContext(later)
            )
            #expect(resumed == change.isResumed)
        }
    }

    @Test func `a revocation list or a new certificate ends resumption`() throws {
        var server = mesh.server
        server.ticketKeys = Self.keys
        var revoking = server
        revoking.trust?.revocationLists = mesh.authority.revocationList([])
        #expect(
            try !resumes(TLSContext(mesh.client), TLSContext(server), then: TLSContext(revoking))
        )
        var renewed = server
        renewed.certificates = [
            mesh.source(mesh.authority.issue(names: "DNS:server.a.svc", commonName: "server"))
        ]
        #expect(
            try !resumes(TLSContext(mesh.client), TLSContext(server), then: TLSContext(renewed))
        )
    }

    @Test func `without shared keys another context resumes nothing`() throws {
        #expect(
            try !resumes(
                TLSContext(mesh.client),
                TLSContext(mesh.server),
                then: TLSContext(mesh.server)
            )
        )
    }

    // MARK: Ticket keys

    @Test func `a rotated key still opens, the one before does not`() throws {
        let client = try TLSContext(mesh.client)
        let server = try TLSContext(mesh.server)
        #expect(TLSPair(client: client, server: server).exchange())
        server.rotateTicketKeys()
        let second = TLSPair(client: client, server: server)
        #expect(second.exchange())
        #expect(second.server.info?.isResumed == true)
        server.rotateTicketKeys()
        server.rotateTicketKeys()
        let third = TLSPair(client: client, server: server)
        #expect(third.exchange())
        #expect(third.server.info?.isResumed == false)
    }

    @Test func `the first configured key seals and every one opens`() throws {
        let old = [UInt8](repeating: 1, count: 80)
        let new = [UInt8](repeating: 2, count: 80)
        var before = mesh.server
        before.ticketKeys = [old]
        var after = mesh.server
        after.ticketKeys = [new, old]
        #expect(try resumes(TLSContext(mesh.client), TLSContext(before), then: TLSContext(after)))
        after.ticketKeys = [new]
        #expect(try !resumes(TLSContext(mesh.client), TLSContext(before), then: TLSContext(after)))
    }
}
