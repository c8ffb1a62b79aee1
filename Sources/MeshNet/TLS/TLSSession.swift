import COpenSSL

/// One TLS connection's state machine. Knows bytes, not sockets.
///
/// OpenSSL shakes hands. Behind a TLS 1.3 handshake the records are protected by ``TLSRecords``, and OpenSSL's
/// connection goes with the first application data, as TLSSession+Records.swift tells; TLS 1.2 stays with OpenSSL
/// (docs/decisions/0009-tls-records.md).
package final class TLSSession: SecureTransport {
    /// OpenSSL's connection; nil once nobody needs it any more.
    private(set) var ssl: OpaquePointer?
    let window: UnsafeMutablePointer<TLSWindow>
    private let context: TLSContext
    let isServer: Bool
    var status = TLSStatus.handshaking
    private(set) var hasSentClose = false

    /// The traffic secrets that the handshake made, until ``records`` has them.
    private var secrets: (client: [UInt8], server: [UInt8]) = ([], [])
    /// Nil before the handshake's end, and where records stay with OpenSSL.
    private(set) var records: TLSRecords?
    /// Application data has come (or what else OpenSSL was not shown): it has nothing more to say.
    var hasReceivedData = false
    /// Records without effect since the last application data.
    var idleRecords = 0

    /// Why it failed; both sides' view.
    package private(set) var failure: TLSFailure?
    /// Envoy's text of the failure, for access logs; ``TLSFailure/sentence`` tells more.
    package var failureReason: String { failure?.envoyText ?? "" }
    private var finishedInfo: TLSConnectionInfo?

    /// Filled by the verifier during the handshake.
    var peer: CertificateInfo?
    var isPeerVerified = false
    /// The earliest end of validity in the verified chain.
    var peerValidUntil: WallTime?
    var verifyFailure: TLSFailure?
    /// What the peer would have been refused for, had we not been told to accept it all the same
    /// (envoy: ACCEPT_UNTRUSTED).
    package internal(set) var toleratedFailure: TLSFailure?
    /// Names that replace the context's matchers for this connection.
    let nameOverride: TLSPeerName?
    private let serverName: String

    package init(server context: TLSContext) {
        self.context = context
        nameOverride = nil
        serverName = ""
        isServer = true
        (ssl, window) = Self.make(context)
        SSL_set_accept_state(ssl)
        finishInit()
    }

    /// `serverName` is sent as SNI. With `peerName` the peer's certificate must carry that name,
    /// whatever the context's own matchers say (envoy: auto_san_validation); with `identities` one of
    /// these URIs. `usualALPN` is offered where the context names no protocols.
    package init(
        client context: TLSContext,
        serverName: String? = nil,
        peerName: String? = nil,
        identities: [String]? = nil,
        usualALPN: [String] = []
    ) {
        self.context = context
        isServer = false
        self.serverName = serverName ?? ""
        if let identities {
            nameOverride = .uris(identities)
        } else if let peerName {
            nameOverride = .any(peerName)
        } else if context.validatesServerName, let serverName, !serverName.isEmpty {
            nameOverride = .dns(serverName)
        } else {
            nameOverride = nil
        }
        (ssl, window) = Self.make(context)
        SSL_set_connect_state(ssl)
        finishInit()
        if let serverName, !serverName.isEmpty { copenssl_set_server_name(ssl, serverName) }
        if !context.hasALPN, !usualALPN.isEmpty {
            let wire = usualALPN.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
            SSL_set_alpn_protos(ssl, wire, UInt32(wire.count))
        }
        if let peerName, !peerName.isEmpty { SSL_set_verify(ssl, SSL_VERIFY_PEER, nil) }
        if let session = context.clientSessions.take(sessionKey) {
            SSL_set_session(ssl, session)
            SSL_SESSION_free(session)
        }
    }

    deinit {
        freeOpenSSL()
        window.deallocate()
        wipeSecrets()
    }

    private func freeOpenSSL() {
        guard let ssl else { return }
        // Without a close in both directions OpenSSL takes the session for broken and will not
        // resume it. A failed one must indeed not be resumed.
        if failure == nil { SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN) }
        SSL_free(ssl)
        self.ssl = nil
    }

    /// Lets go of OpenSSL's connection once the records do without. Not within the call that brought the first
    /// data: whoever hears of the handshake still asks for what it agreed on.
    func partFromOpenSSL() {
        guard hasReceivedData, ssl != nil else { return }
        if finishedInfo == nil { finishedInfo = makeInfo() }
        freeOpenSSL()
    }

    private static func make(
        _ context: TLSContext
    ) -> (ssl: OpaquePointer, window: UnsafeMutablePointer<TLSWindow>) {
        let window = UnsafeMutablePointer<TLSWindow>.allocate(capacity: 1)
        window.initialize(to: TLSWindow())
        guard let ssl = SSL_new(context.base), let bio = TLSWindow.makeBIO(window) else {
            fatalError("out of memory: TLS connection")
        }
        SSL_set_bio(ssl, bio, bio)
        return (ssl, window)
    }

    private func finishInit() {
        SSL_set_ex_data(ssl, 0, Unmanaged.passUnretained(self).toOpaque())
    }

    /// The context, for the verifier.
    var peerContext: TLSContext { context }

    /// The session that a callback of OpenSSL is about.
    static func of(_ ssl: OpaquePointer?) -> TLSSession? {
        guard let ssl, let pointer = SSL_get_ex_data(ssl, 0) else { return nil }
        return Unmanaged<TLSSession>.fromOpaque(pointer).takeUnretainedValue()
    }

    /// Client sessions are resumed only for the same server name and the same demanded name.
    var sessionKey: TLSSessionKey {
        TLSSessionKey(serverName: serverName, peerName: nameOverride?.name ?? "")
    }

    package var isEstablished: Bool { status == .established }

    /// Client: emits the ClientHello. Server: nothing.
    package func start(output: inout ByteBuffer) {
        guard !isServer else { return }
        withUnsafeMutablePointer(to: &output) {
            window.pointee.output = $0
            handshake()
            window.pointee.output = nil
        }
    }

    /// Feeds ciphertext (all of it is taken), appends decrypted bytes to `plaintext` and answers to
    /// `output`.
    package func receive(
        _ ciphertext: Bytes,
        plaintext: inout ByteBuffer,
        output: inout ByteBuffer
    ) -> TLSStatus {
        guard status == .handshaking || status == .established else { return status }
        var rest = ciphertext
        if records == nil {
            withUnsafeMutablePointer(to: &output) {
                window.pointee.input = ciphertext
                window.pointee.output = $0
                if status == .handshaking { handshake() }
                if status == .established, records == nil { read(&plaintext) }
                rest = window.pointee.input
                window.pointee.input = Bytes(start: nil, count: 0)
                window.pointee.output = nil
            }
        } else {
            partFromOpenSSL()
        }
        if let records { receive(rest, records, plaintext: &plaintext, output: &output) }
        return status
    }

    /// Encrypts `plaintext`. False: failed; otherwise all bytes were taken. Call only when
    /// established.
    package func send(_ plaintext: Bytes, output: inout ByteBuffer) -> Bool {
        guard status == .established || status == .peerClosed, !hasSentClose else { return false }
        if let records {
            partFromOpenSSL()
            records.seal(plaintext, type: TLSRecords.Content.applicationData, into: &output)
            return true
        }
        guard var cursor = plaintext.baseAddress else { return true }
        return withUnsafeMutablePointer(to: &output) {
            window.pointee.output = $0
            defer { window.pointee.output = nil }
            var left = plaintext.count
            while left > 0 {
                var written = 0
                guard SSL_write_ex(ssl, cursor, left, &written) == 1 else {
                    fail(during: .record)
                    return false
                }
                cursor += written
                left &-= written
            }
            return true
        }
    }

    /// Appends close_notify, once. A peer that is still handshaking gets nothing.
    package func shutdown(output: inout ByteBuffer) {
        guard status == .established || status == .peerClosed, !hasSentClose else { return }
        hasSentClose = true
        if let records { return sendAlert(0, isFatal: false, records, into: &output) }
        withUnsafeMutablePointer(to: &output) {
            window.pointee.output = $0
            // 0 means sent, and the peer's close still to come.
            if SSL_shutdown(ssl) < 0 { ERR_clear_error() }
            window.pointee.output = nil
        }
    }

    /// What the handshake established; nil before.
    package var info: TLSConnectionInfo? {
        if let finishedInfo { return finishedInfo }
        guard status == .established || status == .peerClosed else { return nil }
        finishedInfo = makeInfo()
        return finishedInfo
    }

    /// Protocol agreed by ALPN, or empty. Valid until the next call.
    private var alpn: Bytes {
        var data: UnsafePointer<UInt8>?
        var length: UInt32 = 0
        SSL_get0_alpn_selected(ssl, &data, &length)
        return Bytes(start: data, count: Int(length))
    }

    /// The key agreement group of the handshake under BoringSSL's name, e.g. `P-256`. To be asked for before
    /// data has passed.
    package var group: String? {
        guard let ssl, let name = copenssl_group_name(ssl) else { return nil }
        return TLSNames.group(String(cString: name))
    }

    /// The algorithm of the peer's (a server: our own) signature, by its RFC 8446 name. Likewise.
    package var signatureAlgorithm: String? { ssl.flatMap { TLSNames.signature($0) } }

    /// The stream ended: before the handshake's end that is a failure. Returns the status.
    package func inputEnded() -> TLSStatus {
        guard status == .handshaking else { return status }
        status = .failed
        failure = TLSFailure(
            stage: .negotiation,
            refuser: .peer,
            reason: "it closed the connection within the handshake",
            envoyText: ""
        )
        return status
    }

    // MARK: Steps

    private func handshake() {
        ERR_clear_error()
        let sentBefore = window.pointee.output?.pointee.count ?? 0
        let result = SSL_do_handshake(ssl)
        if result == 1 {
            if context.requiresALPN, alpn.count == 0 {
                verifyFailure = context.noProtocolFailure
                return fail(during: .negotiation)
            }
            status = .established
            if SSL_session_reused(ssl) == 1 { adoptResumedPeer() }
            takeOver(ticketsFrom: sentBefore)
            return
        }
        switch SSL_get_error(ssl, result) {
        case SSL_ERROR_WANT_READ: break
        default: fail(during: .negotiation)
        }
    }

    /// From here on the records are ours, where the connection is one that ``TLSRecords`` knows.
    ///
    /// - Parameter ticketsFrom: where in the output begins what the handshake's last step said: a server has
    ///   sent its tickets under the keys that go on.
    private func takeOver(ticketsFrom start: Int) {
        defer { wipeSecrets() }
        guard let ssl, context.protectsRecords, let suite = TLSTrafficSecret.Suite(ssl),
            !secrets.client.isEmpty, !secrets.server.isEmpty
        else { return }
        var sent: UInt64 = 0
        if isServer, let output = window.pointee.output {
            sent = TLSRecords.count(Bytes(rebasing: output.pointee.bytes[start...]))
        }
        let client = TLSTrafficSecret(suite, secrets.client)
        let server = TLSTrafficSecret(suite, secrets.server)
        records = TLSRecords(
            reading: TLSRecordKey(isServer ? client : server, sequence: 0, isForSending: false),
            writing: TLSRecordKey(isServer ? server : client, sequence: sent, isForSending: true)
        )
    }

    /// OpenSSL tells of a secret; see ``TLSContext``.
    func learn(keyLogLine line: UnsafePointer<CChar>) {
        guard let known = TLSTrafficSecret.parse(keyLogLine: line) else { return }
        if known.isServers { secrets.server = known.secret } else { secrets.client = known.secret }
    }

    private func wipeSecrets() {
        secrets.client.withUnsafeMutableBytes { OPENSSL_cleanse($0.baseAddress, $0.count) }
        secrets.server.withUnsafeMutableBytes { OPENSSL_cleanse($0.baseAddress, $0.count) }
        secrets = ([], [])
    }

    func read(_ plaintext: inout ByteBuffer) {
        while true {
            // Plaintext is shorter than its ciphertext; what a record began earlier can add is read
            // by the next turn.
            let space = plaintext.reserve(max(window.pointee.input.count, Self.readBytesMin))
            var count = 0
            let result = SSL_read_ex(ssl, space.baseAddress, space.count, &count)
            guard result == 1 else {
                readStopped(result)
                return
            }
            plaintext.commit(count)
            // Saves the call that would only say "nothing left".
            if window.pointee.input.count == 0, SSL_pending(ssl) == 0 { return }
        }
    }

    /// Enough for the rest of a small record whose start came earlier.
    private static let readBytesMin = 1024

    private func readStopped(_ result: Int32) {
        switch SSL_get_error(ssl, result) {
        case SSL_ERROR_WANT_READ: break
        case SSL_ERROR_ZERO_RETURN: status = .peerClosed
        default: fail(during: .record)
        }
    }

    func fail(during stage: TLSFailure.Stage) {
        status = .failed
        failure = TLSErrorQueue.take(
            stage: stage,
            verifyFailure: verifyFailure,
            context: context,
            isServer: isServer
        )
    }

    /// A resumed handshake carries no certificates: the session's take their place. They were
    /// verified by this very context, or the session would not have been accepted.
    private func adoptResumedPeer() {
        guard let ssl, let certificate = SSL_get0_peer_certificate(ssl) else { return }
        peer = context.peers.resumed(certificate)
        isPeerVerified =
            context.verifiesChains && SSL_get_verify_result(ssl) == Int(X509_V_OK)
    }

    private func makeInfo() -> TLSConnectionInfo? {
        guard let ssl else { return nil }
        if peer == nil, let certificate = SSL_get0_peer_certificate(ssl) {
            peer = context.peers.info(leaf: certificate, chain: [certificate])
        }
        let cipher = SSL_get_current_cipher(ssl)
        var idLength: UInt32 = 0
        // TLS 1.3 has no session ids; what OpenSSL keeps in their place is its own affair.
        let session = SSL_version(ssl) < TLS1_3_VERSION ? SSL_get_session(ssl) : nil
        let id = session.flatMap { SSL_SESSION_get_id($0, &idLength) }
        let name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)
        return TLSConnectionInfo(
            version: TLSNames.version(SSL_version(ssl)),
            cipher: cipher.flatMap { SSL_CIPHER_get_name($0) }.map { String(cString: $0) } ?? "",
            alpn: String(bytes: alpn),
            serverName: name.map { TLSInspector.lowercased(Bytes(start: $0, count: strlen($0))) }
                ?? "",
            sessionID: hexadecimal(Bytes(start: id, count: Int(idLength))),
            isResumed: SSL_session_reused(ssl) == 1,
            peer: peer,
            isPeerVerified: isPeerVerified,
            local: context.localInfo(SSL_get_certificate(ssl)),
            peerValidUntil: peerValidUntil
        )
    }
}

/// A name that the peer's certificate must carry for one connection.
enum TLSPeerName {
    /// A DNS name.
    case dns(String)
    /// A name of any kind.
    case any(String)
    /// One of these URIs.
    case uris([String])

    var name: String {
        switch self {
        case .dns(let name), .any(let name): name
        case .uris(let names): names.joined(separator: ",")
        }
    }
}
