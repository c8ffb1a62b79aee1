import Glibc
import MeshNet
import MeshRuntime
import MeshSimulation
import Testing

@testable import Ztunnel

/// Certificates on a real file system, with a real watch.
@Suite final class IdentityFilesTests {
    private let directory: String
    private let loop: EventLoop
    private let published = PublishedIdentities()
    private let log = KeptLog()
    private let client = SPIFFEID.account("client")

    init() throws {
        var template = Array("/tmp/identity-XXXXXX".utf8CString)
        directory = try #require(mkdtemp(&template).map { String(cString: $0) })
        loop = EventLoop(system: try LinuxSystem())
    }

    deinit { _ = system("rm -rf '\(directory)'") }

    private func store(
        _ source: Ztunnel.IdentitySource,
        crlPath: String? = nil
    ) throws -> IdentityStore {
        try IdentityStore(
            source,
            crlPath: crlPath,
            loop: loop,
            log: log.log,
            publish: published.take
        )
    }

    private func write(_ path: String, _ bytes: [UInt8]) {
        let file = open("\(directory)/\(path)", O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        _ = Glibc.write(file, bytes, bytes.count)
        close(file)
    }

    private func make(_ path: String) { _ = system("mkdir -p '\(directory)/\(path)'") }

    /// Ends a wait that would not end.
    private final class Alarm: TimerTarget {
        var hasRung = false
        func timerFired(_ kind: UInt8) { hasRung = true }
    }

    private func wait(_ condition: () -> Bool) -> Bool {
        let alarm = Alarm()
        var timer = loop.arm(alarm, after: .seconds(5))
        while !condition(), !alarm.hasRung { loop.runOnce() }
        loop.cancel(&timer)
        return condition()
    }

    // MARK: The authority's directory

    @Test func `agents that share a directory believe each other`() throws {
        let place = "\(directory)/ca"
        let source = Ztunnel.IdentitySource.developmentAuthority(
            lifetime: .seconds(3600),
            directory: place
        )
        let other = PublishedIdentities()
        let first = try store(source)
        let second = try IdentityStore(source, loop: loop, log: log.log, publish: other.take)
        first.want([client])
        second.want([.account("server")])
        let caller = try #require(published.credentials(client))
        let callee = try #require(other.credentials(.account("server")))
        let pair = SessionPair(caller, to: callee, expecting: [callee.identity])
        pair.run()
        #expect(pair.isEstablished)
        #expect(mode("ca/ca.pem") == 0o600)
        #expect(mode("ca/root-cert.pem") == 0o644)
        let left = try DiskFiles().read("\(place)/root-cert.pem")
        #expect(left == caller.authorities.pem)
    }

    private func mode(_ path: String) -> mode_t {
        var status = stat()
        return stat("\(directory)/\(path)", &status) == 0 ? status.st_mode & 0o777 : 0
    }

    @Test func `agents that start at the same moment agree on one authority`() async throws {
        let place = directory + "/race"
        for round in 0..<5 {
            let roots = await withTaskGroup(of: [UInt8]?.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        try? DevelopmentAuthority.open(
                            "\(place)-\(round)",
                            now: LinuxSystem.wallClockNow(),
                            files: DiskFiles(),
                            log: Log(output: { _ in })
                        ).rootPEM
                    }
                }
                return await group.reduce(into: Set<[UInt8]?>()) { $0.insert($1) }
            }
            #expect(roots.count == 1)
            #expect(!roots.contains(nil))
        }
        // No drafts are left.
        #expect(system("test \"$(ls '\(place)-0' | tr '\\n' ' ')\" = 'ca.pem root-cert.pem '") == 0)
    }

    @Test func `a directory that cannot be used is refused with the reason`() throws {
        write("file", [])
        for (place, says) in [
            ("file", "\(directory)/file"), ("missing/ca", "cannot be made: No such file"),
        ] {
            #expect {
                try store(
                    .developmentAuthority(
                        lifetime: .seconds(60),
                        directory: "\(directory)/\(place)"
                    )
                )
            } throws: {
                "\($0)".contains(says)
            }
        }
        make("ca")
        write("ca/ca.pem", Array("rubbish".utf8))
        #expect {
            try store(
                .developmentAuthority(lifetime: .seconds(60), directory: "\(directory)/ca")
            )
        } throws: {
            "\($0)" == "\(directory)/ca/ca.pem: no certificate in it; check that it has the root's "
                + "certificate, first, and its private key as PEM"
        }
    }

    @Test(
        arguments: ["-algorithm RSA -pkeyopt rsa_keygen_bits:2048", "-algorithm ED25519"]
    ) func `an authority made with openssl does as well`(kind: String) throws {
        make("ca")
        let made = system(
            "cd '\(directory)/ca' && openssl genpkey \(kind) -out key 2>/dev/null"
                + " && openssl req -x509 -new -key key -subj /CN=lab -days 2 -out root"
                + " && cat root key > ca.pem && chmod 644 ca.pem"
        )
        try #require(made == 0)
        let store = try store(
            .developmentAuthority(lifetime: .seconds(3600), directory: "\(directory)/ca")
        )
        store.want([client])
        let credentials = try #require(published.credentials(client))
        let pair = SessionPair(credentials, to: credentials, expecting: [client])
        pair.run()
        #expect(pair.isEstablished)
        #expect(log.count("others than its owner may read it") == 1)
    }

    // MARK: Watching

    /// An authority whose certificates are written as a directory of identities.
    private func authority() throws -> CertificateAuthority {
        let authority = try CertificateAuthority(name: "root", now: LinuxSystem.wallClockNow())
        write("root-cert.pem", authority.rootPEM)
        return authority
    }

    private func issue(_ authority: CertificateAuthority) throws -> TLSKeyPair {
        try authority.issue(
            uri: client.description,
            now: LinuxSystem.wallClockNow(),
            lifetime: .seconds(3600)
        )
    }

    @Test func `a certificate that comes later, and one renamed over it, are seen`() throws {
        let authority = try authority()
        let store = try store(.directory(directory))
        store.want([client])
        #expect(store.problems.count == 1)
        let place = "cluster.local/default/client"
        make(place)
        let first = try issue(authority)
        write("\(place)/key.pem", first.keyPEM)
        write("\(place)/cert-chain.pem", Array(first.leaf.chainPEM.utf8))
        #expect(wait { published.credentials(client) != nil })
        let second = try issue(authority)
        write("\(place)/new", second.keyPEM)
        rename("\(directory)/\(place)/new", "\(directory)/\(place)/key.pem")
        write("\(place)/new", Array(second.leaf.chainPEM.utf8))
        rename("\(directory)/\(place)/new", "\(directory)/\(place)/cert-chain.pem")
        #expect(
            wait { published.credentials(client)?.certificate.serial == second.leaf.serial }
        )
        store.stop()
    }

    @Test func `certificates behind a swapped link, as Kubernetes mounts them, are seen`() throws {
        let authority = try authority()
        let pairs = [try issue(authority), try issue(authority)]
        for (index, pair) in pairs.enumerated() {
            make("..\(index)")
            write("..\(index)/key.pem", pair.keyPEM)
            write("..\(index)/cert-chain.pem", Array(pair.leaf.chainPEM.utf8))
        }
        symlink("..0", "\(directory)/..data")
        symlink("..data/key.pem", "\(directory)/key.pem")
        symlink("..data/cert-chain.pem", "\(directory)/cert-chain.pem")
        let store = try store(
            .files(
                chain: "\(directory)/cert-chain.pem",
                key: "\(directory)/key.pem",
                roots: "\(directory)/root-cert.pem"
            )
        )
        store.want([client])
        #expect(published.credentials(client)?.certificate.serial == pairs[0].leaf.serial)
        symlink("..1", "\(directory)/..data_tmp")
        rename("\(directory)/..data_tmp", "\(directory)/..data")
        #expect(
            wait { published.credentials(client)?.certificate.serial == pairs[1].leaf.serial }
        )
        store.stop()
    }

    @Test func `a list that comes later ends who is on it, and our own certificate is made anew`()
        throws
    {
        let root = TestAuthority("own root")
        make("ca")
        write("ca/ca.pem", root.secret)
        let store = try store(
            .developmentAuthority(lifetime: .seconds(3600), directory: "\(directory)/ca"),
            crlPath: "\(directory)/crl.pem"
        )
        store.want([client])
        let first = try #require(published.credentials(client))
        #expect(published.snapshots.last?.revoked.contains(first.certificate) == false)
        write("crl.pem", root.revocationList(hexadecimal: [first.certificate.serial]))
        #expect(wait { published.snapshots.last?.revoked.contains(first.certificate) == true })
        #expect(log.count("is on a revocation list") == 1)
        #expect(
            wait { published.credentials(client)?.certificate.serial != first.certificate.serial }
        )
        let pair = SessionPair(
            first,
            to: try #require(published.credentials(client)),
            expecting: [client]
        )
        pair.run()
        #expect(pair.server.failure?.stage == .revoked)
        store.stop()
    }
}
