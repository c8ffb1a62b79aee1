import MeshNet

/// The far end of a measurement: one loop's listeners that answer HTTP and serve TCP, each in the clear and,
/// with TLS, to clients who show a certificate.
///
/// It shares its CPUs with the generator, so it is made to cost little; nothing of it is configurable but the
/// length of an answer.
package final class Upstream {
    /// Where it listens, as `ADDRESS:PORT`.
    package struct Addresses: Codable, Sendable, Equatable {
        /// HTTP/1.1, or HTTP/2 where the connection begins with its preface.
        package var http: String
        /// See ``UpstreamTCPConnection``.
        package var tcp: String
        package var httpTLS: String?
        package var tcpTLS: String?
    }

    /// The protocols agreed on with TLS; what a connection speaks is seen by its first bytes.
    package static let alpn = ["h2", "http/1.1"]

    package let addresses: Addresses
    private let listeners: [UpstreamListener]

    /// Listens on ports of the kernel's choice.
    ///
    /// - Parameters:
    ///   - host: the address of all listeners.
    ///   - responseBytes: length of the answer to a plain request.
    ///   - files: nil: no listeners with TLS.
    package init(
        loop: EventLoop,
        host: IPAddress = IPAddress(ipv4: 0x7F00_0001),
        responseBytes: Int,
        tls files: LoadTLS.ServerFiles? = nil
    ) throws(LoadError) {
        let answers = UpstreamAnswers(bodyBytes: responseBytes)
        func listener(
            _ service: UpstreamListener.Service,
            _ tls: TLSContext? = nil
        ) throws(LoadError) -> UpstreamListener {
            try UpstreamListener(service, tls, answers, loop: loop, host: host)
        }
        let http = try listener(.http)
        let tcp = try listener(.tcp)
        var addresses = Addresses(http: http.address, tcp: tcp.address)
        var listeners = [http, tcp]
        if let files {
            let httpTLS = try listener(.http, try LoadTLS.server(files, alpn: Self.alpn))
            let tcpTLS = try listener(.tcp, try LoadTLS.server(files, alpn: []))
            addresses.httpTLS = httpTLS.address
            addresses.tcpTLS = tcpTLS.address
            listeners += [httpTLS, tcpTLS]
        }
        self.addresses = addresses
        self.listeners = listeners
    }

    /// Takes no further connections; those that are open go on.
    package func close() { listeners.forEach { $0.close() } }
}

/// One listener of an ``Upstream``.
final class UpstreamListener: ListenerDelegate {
    enum Service { case http, tcp }

    /// `ADDRESS:PORT`.
    let address: String
    private let service: Service
    private let tls: TLSContext?
    private let answers: UpstreamAnswers
    private let loop: EventLoop
    private var listener: Listener?

    init(
        _ service: Service,
        _ tls: TLSContext?,
        _ answers: UpstreamAnswers,
        loop: EventLoop,
        host: IPAddress
    ) throws(LoadError) {
        self.service = service
        self.tls = tls
        self.answers = answers
        self.loop = loop
        do throws(SystemError) {
            let socket = try loop.system.listen(on: .ip(host, port: 0), options: ListenOptions())
            address = loop.system.localAddress(of: socket)?.description ?? ""
            listener = try Listener(socket: socket, loop: loop, delegate: self)
        } catch {
            throw LoadError("upstream: \(host): cannot listen (\(error)); check the address")
        }
    }

    func close() { listener?.close() }

    func accepted(_ socket: Socket, from address: SocketAddress) {
        let connection = Connection(
            accepted: socket,
            loop: loop,
            secure: tls.map { TLSSession(server: $0) },
            delegate: service == .http
                ? UpstreamHTTPConnection(answers) : UpstreamTCPConnection(answers)
        )
        // What fails here has closed itself.
        try? connection.start()
    }

    /// The generator sees that it is not answered, and says so.
    func acceptExhausted(_ error: SystemError) {}
}
