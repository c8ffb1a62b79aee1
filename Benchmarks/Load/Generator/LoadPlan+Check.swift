extension LoadPlan.Traffic {
    /// A connection for each request.
    var isChurn: Bool { self == .connectHTTP1 || self == .connectTCP }
    /// One exchange, then silence.
    var isIdle: Bool { self == .idleHTTP1 || self == .idleTCP || self == .idleStreams }
    /// As much as the wire takes.
    var isBulk: Bool { self == .tcpDownload || self == .tcpUpload }
    var isGRPC: Bool { self == .grpcUnary || self == .grpcStream || self == .idleStreams }
    var isHTTP2: Bool { self == .http2 || isGRPC }
    var isHTTP: Bool { isHTTP2 || self == .http1 || self == .connectHTTP1 || self == .idleHTTP1 }
}

extension LoadPlan {
    private static let messageBytesMax = 1 << 20

    /// Refuses what cannot be done, all of it at once.
    func check() throws(LoadError) {
        var problems: [String] = []
        func demand(_ isRight: Bool, _ problem: String) {
            if !isRight { problems.append(problem) }
        }
        let name = traffic.rawValue
        demand(connections >= 1, "connections: at least 1")
        demand(streamsPerConnection >= 1, "streams per connection: at least 1")
        demand(
            streamsPerConnection <= 1 || traffic.isHTTP2,
            "streams per connection: \(name) has one; more need http2, grpc-… or idle-streams"
        )
        demand(
            rate.map { $0 > 0 && $0 <= 1e7 } ?? true,
            "rate: more than 0, at most 10,000,000 a second"
        )
        demand(rate == nil || !traffic.isBulk, "rate: \(name) goes as fast as it can")
        demand(rate == nil || !traffic.isIdle, "rate: \(name) has one exchange on each connection")
        demand(requests.map { $0 >= 1 } ?? true, "requests: at least 1")
        demand(
            requests == nil || !traffic.isBulk && !traffic.isIdle,
            "requests: \(name) does not end by a number of requests"
        )
        demand(duration > 0 && duration <= 86_400, "duration: more than 0 seconds, at most a day")
        demand(warmUp >= 0 && warmUp <= 86_400, "warm-up: 0 seconds to a day")
        demand(bodyBytes >= 0 && bodyBytes <= 1 << 30, "body bytes: 0 to 1 GiB")
        demand(
            (1...Self.messageBytesMax).contains(messageBytes)
                || traffic.isGRPC && messageBytes == 0,
            "message bytes: 1 to 1 MiB"
        )
        demand(
            bodyBytes == 0 || traffic.isHTTP && !traffic.isGRPC,
            "body bytes: \(name) has messages"
        )
        demand(headers.isEmpty || traffic.isHTTP, "headers: \(name) has none")
        demand(!method.isEmpty && !authority.isEmpty, "method, authority: must not be empty")
        demand(path.hasPrefix("/"), "path: must begin with /")
        if let tls {
            demand(!tls.serverName.isEmpty, "TLS: a server name is needed, for SNI and to check it")
            demand(
                (tls.certificateFile == nil) == (tls.keyFile == nil),
                "TLS: a client certificate and its key go together"
            )
        }
        for line in headers {
            do { _ = try Self.field(line) } catch { problems.append(error.description) }
        }
        guard problems.isEmpty else {
            throw LoadError("load: bad plan: " + problems.joined(separator: "; "))
        }
    }

    /// Takes `name: value` apart.
    static func field(_ line: String) throws(LoadError) -> (name: String, value: String) {
        guard let colon = line.dropFirst().firstIndex(of: ":") else {
            throw LoadError("header \"\(line)\": give \"name: value\"")
        }
        let name = line[..<colon]
        let value = line[line.index(after: colon)...].drop { $0 == " " }
        let isToken = name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: ":") }
        guard isToken, value.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
            throw LoadError("header \"\(line)\": has characters that a header cannot have")
        }
        return (String(name), String(value))
    }
}
