import MeshConfig
import MeshNet
import MeshRuntime
import MeshSimulation
import Synchronization

@testable import Ztunnel

/// Two sessions with their wires crossed, in memory.
final class SessionPair {
    let client: TLSSession
    let server: TLSSession
    /// What the client sent first: its ClientHello.
    private(set) var firstFlight: [UInt8] = []
    private var toServer = ByteBuffer()
    private var toClient = ByteBuffer()
    private var plain = ByteBuffer()

    init(client: TLSSession, server: TLSSession) {
        self.client = client
        self.server = server
        client.start(output: &toServer)
        firstFlight = Array(toServer.bytes)
    }

    /// A caller that expects `identities`, and the workload that it reaches.
    convenience init(_ caller: Credentials, to callee: Credentials, expecting: [SPIFFEID]) {
        self.init(
            client: TLSSession(client: caller.client, identities: expecting),
            server: TLSSession(server: callee.server)
        )
    }

    /// Carries bytes until neither side has more to say.
    func run() {
        while toServer.count + toClient.count > 0 {
            _ = server.receive(toServer.bytes, plaintext: &plain, output: &toClient)
            toServer.clear()
            _ = client.receive(toClient.bytes, plaintext: &plain, output: &toServer)
            toClient.clear()
        }
    }

    var isEstablished: Bool { client.isEstablished && server.isEstablished }
}

/// A file system in memory.
final class MemoryFiles: ConfigFiles {
    var contents: [String: [UInt8]] = [:]
    private(set) var reads = 0

    func read(_ path: String) throws(ConfigFileError) -> [UInt8] {
        reads += 1
        guard let bytes = contents[path] else {
            throw ConfigFileError(path, "no such file or directory")
        }
        return bytes
    }

    func environment(_ name: String) -> [UInt8]? { nil }
}

/// A log that keeps its lines.
final class KeptLog: Sendable {
    let log: Log

    init() {
        let kept = Lines()
        log = Log(output: { bytes in kept.lines.withLock { $0.append(String(bytes: bytes)) } })
        lines = kept
    }

    private final class Lines: Sendable {
        let lines = Mutex<[String]>([])
    }

    private let lines: Lines

    var text: String { lines.lines.withLock { $0.joined() } }
    func count(_ part: String) -> Int {
        lines.lines.withLock { $0.filter { $0.contains(part) }.count }
    }
}

/// What an ``IdentityStore`` published.
final class PublishedIdentities {
    private(set) var snapshots: [IdentitySnapshot] = []

    func take(_ snapshot: IdentitySnapshot) { snapshots.append(snapshot) }

    func credentials(_ identity: SPIFFEID) -> Credentials? {
        snapshots.last?.credentials[identity]
    }
}

extension SPIFFEID {
    static func account(_ name: String, of domain: String = "cluster.local") -> Self {
        SPIFFEID(trustDomain: domain, namespace: "default", serviceAccount: name)
    }
}

/// A mesh whose certificates a test writes itself.
struct TestMesh {
    var authority = TestAuthority("mesh root")
    let register = RevocationRegister()
    var allowsTLS12 = false

    func trust(_ roots: [UInt8]? = nil) throws -> MeshTrust {
        MeshTrust(
            authorities: try TLSAuthorities(pem: roots ?? authority.pem, path: "roots.pem"),
            revocation: register,
            clock: nil,
            allowsTLS12: allowsTLS12
        )
    }

    func credentials(
        _ account: String,
        of domain: String = "cluster.local",
        _ change: (inout TestAuthority.Request) -> Void = { _ in }
    ) throws -> Credentials {
        let identity = SPIFFEID.account(account, of: domain)
        var request = TestAuthority.Request()
        request.names = "URI:\(identity)"
        change(&request)
        let issued = authority.issue(request)
        return try Credentials(identity, issued.source(account), trust: try trust())
    }

    /// A stranger with a certificate of ours and settings that a test bends.
    func client(_ issued: TestAuthority.Identity) throws -> TLSSettings {
        try trust().clientSettings(issued.source("stranger.pem"))
    }
}

extension TestAuthority.Identity {
    func source(_ path: String) -> TLSCertificateSource {
        TLSCertificateSource(chain: certificate, privateKey: key, path: path)
    }
}
