import MeshNet
import MeshRuntime
import MeshSimulation
import Testing

@testable import Ztunnel

/// Certificates over days, in virtual time.
@Suite struct IdentityStoreTests {
    private let simulation = Simulation(seed: 1)
    private let published = PublishedIdentities()
    private let log = KeptLog()
    private let client = SPIFFEID.account("client")
    private let server = SPIFFEID.account("server")

    private func store(
        _ source: Ztunnel.IdentitySource,
        crlPath: String? = nil,
        files: MemoryFiles = MemoryFiles()
    ) throws -> IdentityStore {
        var options = IdentityStore.Options()
        options.watchesFiles = false
        return try IdentityStore(
            source,
            crlPath: crlPath,
            options: options,
            loop: simulation.makeLoop(),
            files: files,
            log: log.log,
            publish: published.take
        )
    }

    private func issuing(_ hours: Int64 = 24) throws -> IdentityStore {
        try store(.developmentAuthority(lifetime: .seconds(hours * 3600)))
    }

    private func handshake(_ caller: Credentials, _ callee: Credentials) -> SessionPair {
        let pair = SessionPair(caller, to: callee, expecting: [callee.identity])
        pair.run()
        return pair
    }

    // MARK: The development authority

    @Test func `what is wanted is there when the call returns, and works`() throws {
        let store = try issuing()
        store.want([client, server])
        #expect(published.snapshots.count == 1)
        let caller = try #require(published.credentials(client))
        let callee = try #require(published.credentials(server))
        let pair = handshake(caller, callee)
        #expect(pair.isEstablished)
        #expect(pair.server.info.flatMap { SPIFFEID(peerOf: $0) } == client)
        #expect(store.problems.isEmpty)
    }

    @Test func `a certificate is replaced at half of its life, and the old one still works`() throws
    {
        let store = try issuing()
        store.want([client, server])
        let first = try #require(published.credentials(client))
        let other = try #require(published.credentials(server))
        simulation.run(for: .seconds(12 * 3600 - 120))
        #expect(published.snapshots.count == 1)
        simulation.run(for: .seconds(240))
        let second = try #require(published.credentials(client))
        #expect(second.certificate.serial != first.certificate.serial)
        #expect(second.notAfter > first.notAfter)
        #expect(handshake(first, other).isEstablished)
        #expect(handshake(second, other).isEstablished)
    }

    @Test func `over a month nobody is ever left with less than half of a life`() throws {
        let store = try issuing()
        store.want([client])
        for _ in 0..<60 {
            simulation.run(for: .seconds(12 * 3600))
            let left =
                try #require(published.credentials(client)).notAfter.nanoseconds
                - simulation.clock.wall.nanoseconds
            #expect(left >= Nanoseconds.seconds(12 * 3600 - 61).count)
        }
        #expect((59...61).contains(published.snapshots.count))
        _ = store
    }

    @Test func `a certificate that nobody replaced is refused once it has expired`() throws {
        let store = try issuing()
        store.want([client, server])
        let old = try #require(published.credentials(client))
        store.stop()
        simulation.clock.advance(to: simulation.clock.now + .seconds(24 * 3600 + 1))
        #expect(published.snapshots.count == 1)
        let fresh = try #require(published.credentials(server))
        #expect(handshake(old, fresh).client.failure?.reason.contains("expired") == true)
    }

    @Test func `even the shortest certificates are made once a second at most`() throws {
        let store = try store(.developmentAuthority(lifetime: .milliseconds(300)))
        store.want([client])
        simulation.run(for: .seconds(60))
        #expect((50...61).contains(published.snapshots.count))
        _ = store
    }

    @Test func `when the clock is set back, certificates from the future are made anew`() throws {
        let store = try issuing()
        store.want([client])
        let first = try #require(published.credentials(client))
        simulation.clock.wallOffset -= Nanoseconds.seconds(7200).count
        simulation.run(for: .seconds(61))
        let second = try #require(published.credentials(client))
        #expect(second.certificate.notBefore < first.certificate.notBefore)
        _ = store
    }

    @Test func `hundreds of identities come in slices and are told of in few steps`() throws {
        let store = try issuing()
        let wanted = Set((0..<200).map { SPIFFEID.account("a\($0)") })
        store.want(wanted)
        #expect(published.snapshots.isEmpty)
        #expect((1..<50).contains(store.current.credentials.count))
        simulation.run(until: { published.snapshots.last?.credentials.count == 200 })
        #expect(published.snapshots.last?.credentials.count == 200)
        #expect(published.snapshots.count < 20)
    }

    @Test func `what is no longer wanted goes, also while it is under way`() throws {
        let store = try issuing()
        let wanted = Set((0..<40).map { SPIFFEID.account("a\($0)") })
        store.want(wanted)
        store.want([client])
        simulation.run(for: .seconds(1))
        #expect(published.snapshots.last?.credentials.keys.map(\.self) == [client])
        store.want([])
        #expect(published.snapshots.last?.credentials.isEmpty == true)
    }

    @Test func `an identity whose parts have slashes is none`() throws {
        let store = try issuing()
        let sly = SPIFFEID(trustDomain: "td", namespace: "a/sa/b", serviceAccount: "c")
        store.want([sly])
        #expect(published.credentials(sly) == nil)
        #expect(store.problems.first?.contains("is no identity") == true)
    }

    // MARK: Files

    /// A directory of identities, filled by an authority of its own.
    private final class Directory {
        let files = MemoryFiles()
        let authority: CertificateAuthority
        private let simulation: Simulation

        init(_ simulation: Simulation) throws {
            self.simulation = simulation
            authority = try CertificateAuthority(name: "mesh root", now: simulation.clock.wall)
            files.contents["/id/root-cert.pem"] = authority.rootPEM
        }

        func issue(_ identity: SPIFFEID, _ lifetime: Nanoseconds) throws -> TLSKeyPair {
            try authority.issue(
                uri: identity.description,
                now: simulation.clock.wall,
                lifetime: lifetime
            )
        }

        func put(
            _ identity: SPIFFEID,
            as place: SPIFFEID? = nil,
            lifetime: Nanoseconds = .seconds(3600)
        ) throws {
            let pair = try issue(identity, lifetime)
            write(Array(pair.leaf.chainPEM.utf8), pair.keyPEM, place ?? identity)
        }

        func write(_ chain: [UInt8], _ key: [UInt8], _ identity: SPIFFEID) {
            let place = "/id/\(identity.principal)"
                .replacing("/ns/", with: "/").replacing("/sa/", with: "/")
            files.contents["\(place)/cert-chain.pem"] = chain
            files.contents["\(place)/key.pem"] = key
        }
    }

    @Test func `a directory has a place for each identity`() throws {
        let directory = try Directory(simulation)
        try directory.put(client)
        try directory.put(server)
        let store = try store(.directory("/id"), files: directory.files)
        store.want([client, server])
        let caller = try #require(published.credentials(client))
        #expect(handshake(caller, try #require(published.credentials(server))).isEstablished)
        #expect(
            log.text.contains(
                "from /id/cluster.local/default/client/cert-chain.pem"
            )
        )
    }

    @Test func `a changed certificate is put to use, an unchanged one is not told of`() throws {
        let directory = try Directory(simulation)
        try directory.put(client)
        let store = try store(.directory("/id"), files: directory.files)
        store.want([client])
        let first = try #require(published.credentials(client))
        store.filesChanged()
        #expect(published.snapshots.count == 1)
        try directory.put(client)
        store.filesChanged()
        #expect(published.credentials(client)?.certificate.serial != first.certificate.serial)
    }

    @Test func `a bad certificate replaces nothing, and the log says why, once`() throws {
        let directory = try Directory(simulation)
        try directory.put(client)
        let store = try store(.directory("/id"), files: directory.files)
        store.want([client])
        let first = try #require(published.credentials(client))
        let good = try directory.issue(client, .seconds(3600))
        let other = try directory.issue(client, .seconds(3600))
        let bad: [(chain: [UInt8], key: [UInt8], says: String)] = [
            (Array(good.leaf.chainPEM.utf8), other.keyPEM, "does not belong to the certificate"),
            (Array("-----BEGIN".utf8), good.keyPEM, "no PEM certificate in it"),
            (Array(good.leaf.chainPEM.utf8), [], "private_key: is missing"),
        ]
        for (chain, key, says) in bad {
            directory.write(chain, key, client)
            store.filesChanged()
            store.filesChanged()
            #expect(log.count(says) == 1, "\(says)")
        }
        try directory.put(server, as: client)
        store.filesChanged()
        #expect(
            log.text.contains(
                "is not for \(client); it has [\(server)]; check that the certificate's URI name"
            )
        )
        try directory.put(client, lifetime: .seconds(1))
        simulation.run(for: .seconds(2))
        store.filesChanged()
        #expect(log.text.contains("expired at 2026-01-01T00:00:"))
        #expect(log.text.contains("; the one until \(first.notAfter.dateText) stays in use"))
        #expect(published.snapshots.count == 1)
        try directory.put(client)
        store.filesChanged()
        #expect(published.snapshots.count == 2)
        #expect(store.problems.isEmpty)
    }

    @Test func `a certificate that nobody renews is told of when it expires`() throws {
        let directory = try Directory(simulation)
        try directory.put(client)
        let store = try store(.directory("/id"), files: directory.files)
        store.want([client])
        simulation.run(for: .seconds(3100))
        #expect(log.count("has not been renewed") == 0)
        simulation.run(for: .seconds(400))
        #expect(log.count("has not been renewed") == 1)
        #expect(store.problems.isEmpty)
        simulation.run(for: .seconds(3600))
        #expect(log.count("peers refuse it") == 1)
        #expect(store.problems.first?.contains("expired") == true)
    }

    @Test func `what is missing is looked for again, less and less often, up to 150 seconds`()
        throws
    {
        let directory = try Directory(simulation)
        let store = try store(.directory("/id"), files: directory.files)
        store.want([client])
        #expect(published.credentials(client) == nil)
        #expect(
            store.problems == [
                "\(client): /id/cluster.local/default/client/cert-chain.pem: cannot be read: no such file "
                    + "or directory; check path and permissions"
            ]
        )
        let before = directory.files.reads
        simulation.run(for: .seconds(3600))
        // 1, 2, 4 … 128 seconds, then every 150; two places each.
        #expect((50...70).contains(directory.files.reads - before))
        #expect(log.count("no new certificate") == 1)
        try directory.put(client)
        simulation.run(for: .seconds(151))
        #expect(published.credentials(client) != nil)
    }

    @Test func `new roots make new contexts, bad ones do not`() throws {
        let directory = try Directory(simulation)
        try directory.put(client)
        let store = try store(.directory("/id"), files: directory.files)
        store.want([client])
        let first = try #require(published.credentials(client))
        directory.files.contents["/id/root-cert.pem"] = Array("nothing".utf8)
        store.filesChanged()
        #expect(published.snapshots.count == 1)
        #expect(log.text.contains("roots: /id/root-cert.pem: no certificate in it"))
        let more = try CertificateAuthority(name: "next root", now: simulation.clock.wall)
        directory.files.contents["/id/root-cert.pem"] = directory.authority.rootPEM + more.rootPEM
        store.filesChanged()
        let second = try #require(published.credentials(client))
        #expect(second.authorities.infos.count == 2)
        #expect(second.certificate.serial == first.certificate.serial)
    }

    @Test func `a certificate that peers would refuse replaces nothing`() throws {
        let directory = try Directory(simulation)
        try directory.put(client)
        let store = try store(.directory("/id"), files: directory.files)
        store.want([client])
        let stranger = try CertificateAuthority(name: "stranger", now: simulation.clock.wall)
        let pair = try stranger.issue(
            uri: client.description,
            now: simulation.clock.wall,
            lifetime: .seconds(60)
        )
        directory.write(Array(pair.leaf.chainPEM.utf8), pair.keyPEM, client)
        store.filesChanged()
        #expect(published.snapshots.count == 1)
        #expect(
            log.text.contains(
                "would be refused by peers with our roots: unable to get local issuer certificate, as a "
                    + "client's; check that its issuer is in /id/root-cert.pem"
            )
        )
        directory.files.contents["/id/root-cert.pem"] =
            directory.authority.rootPEM + stranger.rootPEM
        store.filesChanged()
        #expect(published.credentials(client)?.certificate.serial == pair.leaf.serial)
    }

    @Test func `a pair in the directory itself is for whom it names`() throws {
        let directory = try Directory(simulation)
        let pair = try directory.issue(client, .seconds(3600))
        directory.files.contents["/id/cert-chain.pem"] = Array(pair.leaf.chainPEM.utf8)
        directory.files.contents["/id/key.pem"] = pair.keyPEM
        let store = try store(.directory("/id"), files: directory.files)
        store.want([client])
        #expect(published.credentials(client)?.certificate.serial == pair.leaf.serial)
        try directory.put(client)
        store.filesChanged()
        #expect(published.credentials(client)?.certificate.serial != pair.leaf.serial)
    }

    @Test func `a directory without roots is refused at start`() throws {
        #expect {
            try store(.directory("/id"))
        } throws: {
            "\($0)"
                == "/id/root-cert.pem: cannot be read: no such file or directory; check path and permissions"
        }
    }

    @Test func `single files are one identity's`() throws {
        let directory = try Directory(simulation)
        let pair = try directory.issue(client, .seconds(3600))
        directory.files.contents["/etc/certs/cert-chain.pem"] = Array(pair.leaf.chainPEM.utf8)
        directory.files.contents["/etc/certs/key.pem"] = pair.keyPEM
        let store = try store(
            .files(
                chain: "/etc/certs/cert-chain.pem",
                key: "/etc/certs/key.pem",
                roots: "/id/root-cert.pem"
            ),
            files: directory.files
        )
        store.want([client, server])
        #expect(published.credentials(client) != nil)
        #expect(published.credentials(server) == nil)
        #expect(store.problems.first?.contains("is not for \(server)") == true)
    }

    // MARK: Revocation

    @Test func `lists are put in force as they change, and a bad one keeps the last`() throws {
        let directory = try Directory(simulation)
        try directory.put(client)
        let mesh = TestAuthority("lists' root")
        directory.files.contents["/id/root-cert.pem"] = directory.authority.rootPEM + mesh.pem
        let store = try store(.directory("/id"), crlPath: "/crl.pem", files: directory.files)
        #expect(log.count("nothing is revoked until it is there") == 1)
        store.want([client])
        #expect(store.current.revoked.isEmpty)
        directory.files.contents["/crl.pem"] = mesh.revocationList([4711])
        store.filesChanged()
        #expect(published.snapshots.last?.revoked.count == 1)
        directory.files.contents["/crl.pem"] = Array("-----BEGIN X509 CRL-----\nxx\n".utf8)
        store.filesChanged()
        #expect(published.snapshots.last?.revoked.count == 1)
        #expect(log.text.contains("revocation lists: /crl.pem: a list in it is broken"))
        directory.files.contents["/crl.pem"] = mesh.revocationList([4711, 4712])
        store.filesChanged()
        #expect(published.snapshots.last?.revoked.count == 2)
        let wants = published.snapshots.count
        store.filesChanged()
        #expect(published.snapshots.count == wants)
    }

    @Test func `a broken list is refused at start`() throws {
        let directory = try Directory(simulation)
        directory.files.contents["/crl.pem"] = Array("hello".utf8)
        #expect {
            try store(.directory("/id"), crlPath: "/crl.pem", files: directory.files)
        } throws: {
            "\($0)".hasPrefix("/crl.pem: no list in it; check that it has complete lists")
        }
    }
}
