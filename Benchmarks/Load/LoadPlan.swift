/// What one run of the generator does; built from the options of `mesh-bench load`, or read as JSON by
/// `mesh-bench load --plan -`.
package struct LoadPlan: Codable, Sendable, Equatable {
    /// What is sent, and therefore what counts as one request.
    package enum Traffic: String, Codable, Sendable, CaseIterable {
        /// One request at a time on each connection.
        case http1
        /// Up to ``LoadPlan/streamsPerConnection`` requests at a time on each connection.
        case http2
        /// A gRPC call with one message each way, ``LoadPlan/messageBytes`` long.
        case grpcUnary = "grpc-unary"
        /// Calls that stay open; a request is one message that is echoed.
        case grpcStream = "grpc-stream"
        /// A request is ``LoadPlan/messageBytes`` bytes that are echoed.
        case tcpEcho = "tcp-echo"
        /// As much as comes; a request is one KiB.
        case tcpDownload = "tcp-download"
        case tcpUpload = "tcp-upload"
        /// A request is a new connection (with its handshake), one HTTP/1.1 exchange on it, and its end.
        case connectHTTP1 = "connect-http1"
        /// The same with one echoed message instead of HTTP.
        case connectTCP = "connect-tcp"
        /// Connections that carry one HTTP/1.1 exchange and then stay open in silence.
        case idleHTTP1 = "idle-http1"
        /// The same with one echoed message.
        case idleTCP = "idle-tcp"
        /// gRPC calls that stay open in silence after one message each way.
        case idleStreams = "idle-streams"
    }

    /// The client's side of TLS. Files are PEM.
    package struct TLS: Codable, Sendable, Equatable {
        /// Sent as SNI, and checked against the DNS names of the certificate.
        package var serverName: String
        package var authorityFile: String
        /// Nil: no client certificate.
        package var certificateFile: String?
        package var keyFile: String?
        /// Later connections resume the session of an earlier one.
        package var resumes = false

        package init(serverName: String, authorityFile: String) {
            self.serverName = serverName
            self.authorityFile = authorityFile
        }
    }

    /// `ADDRESS:PORT`.
    package var target: String
    package var traffic: Traffic
    /// Where a SOCKS5 proxy at ``target`` shall connect to, `ADDRESS:PORT`. Its words are not part of a
    /// latency, except with `connect-…`.
    package var throughSOCKS5: String?
    package var tls: TLS?
    package var connections = 32
    package var streamsPerConnection = 1
    /// Requests a second over all connections, at fixed instants (open loop); nil: the next one follows the
    /// answer (closed loop).
    package var rate: Double?
    /// Seconds of traffic that are not counted.
    package var warmUp = 1.0
    /// Seconds that are counted.
    package var duration = 5.0
    /// Ends after this many requests instead, all of them counted, without a warm-up: for counting
    /// instructions.
    package var requests: Int?
    package var method = "GET"
    package var authority = "bench.test"
    package var path = "/"
    /// `name: value`, beyond what the protocol needs.
    package var headers: [String] = []
    package var bodyBytes = 0
    package var messageBytes = 64
    /// Processes whose use of the CPU is read at the first and at the last instant of the window.
    package var watched: [WatchedProcess] = []

    package init(target: String, traffic: Traffic) {
        self.target = target
        self.traffic = traffic
    }
}

package struct WatchedProcess: Codable, Sendable, Equatable {
    /// For people, and for the result: `proxy`, `upstream`, …
    package var name: String
    package var pid: Int32

    package init(name: String, pid: Int32) {
        self.name = name
        self.pid = pid
    }
}

// What a JSON plan leaves out has the default; what it has and we do not know is refused.
extension LoadPlan {
    package enum CodingKeys: String, CodingKey, CaseIterable {
        case target, traffic, throughSOCKS5, tls, connections, streamsPerConnection, rate, warmUp
        case duration, requests, method, authority, path, headers, bodyBytes, messageBytes, watched
    }

    package init(from decoder: any Decoder) throws {
        try refuseUnknown(CodingKeys.self, decoder)
        let values = try decoder.container(keyedBy: CodingKeys.self)
        func read<Value: Decodable>(_ key: CodingKeys, _ value: inout Value) throws {
            value = try values.decodeIfPresent(Value.self, forKey: key) ?? value
        }
        self.init(
            target: try values.decode(String.self, forKey: .target),
            traffic: try values.decode(Traffic.self, forKey: .traffic)
        )
        throughSOCKS5 = try values.decodeIfPresent(String.self, forKey: .throughSOCKS5)
        tls = try values.decodeIfPresent(TLS.self, forKey: .tls)
        rate = try values.decodeIfPresent(Double.self, forKey: .rate)
        requests = try values.decodeIfPresent(Int.self, forKey: .requests)
        try read(.connections, &connections)
        try read(.streamsPerConnection, &streamsPerConnection)
        try read(.warmUp, &warmUp)
        try read(.duration, &duration)
        try read(.method, &method)
        try read(.authority, &authority)
        try read(.path, &path)
        try read(.headers, &headers)
        try read(.bodyBytes, &bodyBytes)
        try read(.messageBytes, &messageBytes)
        try read(.watched, &watched)
    }
}

extension LoadPlan.TLS {
    package enum CodingKeys: String, CodingKey, CaseIterable {
        case serverName, authorityFile, certificateFile, keyFile, resumes
    }

    package init(from decoder: any Decoder) throws {
        try refuseUnknown(CodingKeys.self, decoder)
        let values = try decoder.container(keyedBy: CodingKeys.self)
        serverName = try values.decode(String.self, forKey: .serverName)
        authorityFile = try values.decode(String.self, forKey: .authorityFile)
        certificateFile = try values.decodeIfPresent(String.self, forKey: .certificateFile)
        keyFile = try values.decodeIfPresent(String.self, forKey: .keyFile)
        resumes = try values.decodeIfPresent(Bool.self, forKey: .resumes) ?? false
    }
}

private struct AnyKey: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }

    init?(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
}

private func refuseUnknown<Keys: CodingKey & CaseIterable>(
    _ keys: Keys.Type,
    _ decoder: any Decoder
) throws {
    let known = Set(keys.allCases.map(\.stringValue))
    let found = try decoder.container(keyedBy: AnyKey.self).allKeys.map(\.stringValue)
    guard let unknown = found.filter({ !known.contains($0) }).min() else { return }
    throw DecodingError.dataCorrupted(
        .init(codingPath: decoder.codingPath, debugDescription: "unknown field \"\(unknown)\"")
    )
}
