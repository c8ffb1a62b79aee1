import MeshNet

/// A parsed request head made fit for the stream: target taken apart, framing decided, fields of this
/// hop taken off. Refuses what two readers could understand differently.
struct HTTP1RequestHead {
    let framing: HTTP1Framing
    let isUpgrade: Bool
    let keepsAlive: Bool

    /// A function and not an initialiser, which would retain the map for nothing.
    static func read(
        _ parser: HTTP1Parser,
        _ head: HeaderMap,
        settings: HTTP1Settings
    ) throws(HTTP1Fault) -> HTTP1RequestHead {
        if parser.version == .http10, !settings.acceptHTTP10 { throw .lowVersion }
        if parser.repeated & HTTP1Parser.bit(.authority) != 0 {
            guard settings.leniency.contains(.repeatedHost) else { throw .repeatedHost }
            joinHosts(head)
        }
        if let authority = head[.authority] {
            guard HTTP1Authority.isValid(authority) else { throw .authority }
        }
        let declared = try HTTP1Framing.declared(
            parser,
            head,
            allowsChunkedLength: settings.allowChunkedLength
        )
        let hop = try HTTP1HopByHop.take(
            parser,
            head,
            isRequest: true,
            ignoresUpgrade: settings.ignoresUpgrade
        )
        let keepsAlive = !hop.wantsClose && (parser.version == .http11 || hop.wantsKeepAlive)

        if parser.method == .connect {
            try readConnectTarget(head)
            // A CONNECT body has no meaning (RFC 9110 §9.3.6); an empty one does no harm.
            switch declared {
            case nil: break
            case .length(0): head.remove(.contentLength)
            case .chunked: throw .transferCoding
            default: throw .connectBody
            }
            head.remove(.connection)
            head.remove(.upgrade)
            return HTTP1RequestHead(framing: .tunnel, isUpgrade: false, keepsAlive: keepsAlive)
        }
        switch parser.targetForm {
        case .origin: break
        case .asterisk:
            guard parser.method == .options, head[.path]?.count == 1 else { throw .url }
        case .other:
            guard settings.allowAbsoluteURL else { throw .url }
            try HTTP1Authority.readAbsoluteTarget(head)
        }
        if parser.version == .http10, !head.contains(.authority),
            !settings.defaultHostForHTTP10.isEmpty
        {
            head.append(.authority, settings.defaultHostForHTTP10)
        }

        let framing = declared == .length(0) ? .none : declared ?? .none
        guard hop.wantsUpgrade else {
            return HTTP1RequestHead(framing: framing, isUpgrade: false, keepsAlive: keepsAlive)
        }
        guard framing == .none else {
            // A request with a body goes on as a plain one: a server may ignore Upgrade (RFC 9110
            // §7.8), and body bytes must never be taken for those of another protocol.
            head.remove(.connection)
            head.remove(.upgrade)
            return HTTP1RequestHead(framing: framing, isUpgrade: false, keepsAlive: keepsAlive)
        }
        return HTTP1RequestHead(framing: .tunnel, isUpgrade: true, keepsAlive: keepsAlive)
    }

    /// authority-form: a host and a port (RFC 9112 §3.2.3).
    private static func readConnectTarget(_ head: HeaderMap) throws(HTTP1Fault) {
        guard let target = head[.path], HTTP1Authority.isValid(target),
            HTTP1Authority.hasPort(target)
        else { throw .url }
        head.set(.authority, target)
        head.remove(.path)
    }

    private static func joinHosts(_ head: HeaderMap) {
        var joined: [UInt8] = []
        head.forEachValue(.authority) { value in
            if !joined.isEmpty { joined.append(0x2C) }
            joined.append(contentsOf: value)
        }
        joined.withUnsafeBytes { head.set(.authority, $0) }
    }
}

/// Authorities and absolute-form targets (RFC 3986 §3.2, RFC 9112 §3.2.2).
enum HTTP1Authority {
    static func isValid(_ authority: Bytes) -> Bool {
        let table = HTTP1Tables.authority
        for byte in authority where table[byte] == 0 { return false }
        return true
    }

    /// Ends with a colon and one to five digits, behind a host.
    static func hasPort(_ authority: Bytes) -> Bool {
        guard let colon = authority.lastIndex(of: 0x3A), colon > 0 else { return false }
        let digits = authority.count - colon - 1
        guard digits >= 1, digits <= 5 else { return false }
        return authority[(colon + 1)...].allSatisfy { $0 &- 0x30 < 10 }
    }

    /// Splits `scheme://authority/path` into its pseudo-headers; a Host field loses against it
    /// (RFC 9112 §3.2.2), and so does user information.
    static func readAbsoluteTarget(_ head: HeaderMap) throws(HTTP1Fault) {
        guard let target = head[.path] else { throw .target }
        let schemeEnd = target.firstIndex { !isLetter($0) } ?? target.count
        let marker: StaticString = "://"
        guard schemeEnd > 0, Bytes(rebasing: target[schemeEnd...]).starts(with: marker) else {
            throw .target
        }
        let scheme = Bytes(rebasing: target[..<schemeEnd])
        let isSecure = scheme.equalsIgnoringCase("https")
        guard isSecure || scheme.equalsIgnoringCase("http") else { throw .scheme }
        let authorityStart = schemeEnd + 3
        let pathStart =
            target[authorityStart...].firstIndex { $0 == 0x2F || $0 == 0x3F || $0 == 0x23 }
            ?? target.count
        var authority = Bytes(rebasing: target[authorityStart..<pathStart])
        if let sign = authority.lastIndex(of: 0x40) {
            authority = Bytes(rebasing: authority[(sign + 1)...])
        }
        guard !authority.isEmpty, isValid(authority) else { throw .url }
        head.set(.authority, authority)
        if isSecure { head.set(.scheme, "https") } else { head.set(.scheme, "http") }
        // Setting may have moved the target.
        guard let target = head[.path] else { throw .target }
        let path = Bytes(rebasing: target[pathStart...])
        if path.first == 0x2F {
            head.set(.path, path)
        } else {
            // The path may be absent; a query or fragment does not stand without it. A bare
            // `OPTIONS http://host` would be an asterisk by RFC 9112 §3.2.4; as Envoy we say slash.
            withUnsafeTemporaryAllocation(byteCount: path.count + 1, alignment: 1) { joined in
                joined[0] = 0x2F
                UnsafeMutableRawBufferPointer(rebasing: joined[1...]).copyMemory(from: path)
                head.set(.path, Bytes(joined))
            }
        }
    }

    private static func isLetter(_ byte: UInt8) -> Bool { (byte | 0x20) &- 0x61 < 26 }
}

/// Trailer sections (RFC 9110 §6.5.1).
enum HTTP1Trailers {
    /// Takes off the fields that say how a message is framed, routed or meant for one hop: in a
    /// trailer they come too late to be believed. Says whether any field is left.
    static func reduce(_ trailers: HeaderMap) -> Bool {
        trailers.remove { name, _ in
            let known = KnownHeader.index(of: name)
            return known <= KnownHeader.http2Settings.rawValue
                || known == KnownHeader.authorization.rawValue
        }
        return trailers.count > 0
    }
}
