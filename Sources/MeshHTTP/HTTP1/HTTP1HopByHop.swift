import MeshNet

/// What a message's Connection field and its relatives say, taken off the map: none of it may reach
/// the next hop (RFC 9110 §7.6.1).
struct HTTP1HopByHop {
    private(set) var wantsClose = false
    private(set) var wantsKeepAlive = false
    /// Connection names `upgrade`, and there is one Upgrade field.
    private(set) var wantsUpgrade = false

    /// Fields of the common head that need a look at all.
    private static var relatives: UInt32 {
        HTTP1Parser.bit(.connection) | HTTP1Parser.bit(.upgrade) | HTTP1Parser.bit(.te)
            | HTTP1Parser.bit(.keepAlive) | HTTP1Parser.bit(.proxyConnection)
            | HTTP1Parser.bit(.http2Settings)
    }

    /// More options than this are an attack (envoy: ten nominated headers).
    private static let optionsMax = 9

    /// Reads and removes. Where an upgrade is wanted, Upgrade and Connection stay on the map. Of a
    /// response nothing is refused: what must not be removed stays.
    //
    // A function and not an initialiser, which would retain the map for nothing.
    static func take(
        _ parser: HTTP1Parser,
        _ head: HeaderMap,
        isRequest: Bool,
        ignoresUpgrade: ((Bytes) -> Bool)? = nil
    ) throws(HTTP1Fault) -> HTTP1HopByHop {
        var result = HTTP1HopByHop()
        if parser.seen & Self.relatives != 0 {
            try result.take(parser, head, isRequest: isRequest, ignoresUpgrade)
        }
        return result
    }

    private mutating func take(
        _ parser: HTTP1Parser,
        _ head: HeaderMap,
        isRequest: Bool,
        _ ignoresUpgrade: ((Bytes) -> Bool)?
    ) throws(HTTP1Fault) {
        if parser.has(.connection) {
            var options = 0
            var isRefused = false
            // Removing leaves the values in place, so it may go on while they are read.
            head.forEachValue(.connection) { value in
                for option in HTTP1List(value) {
                    options += 1
                    if !read(option, head, isRequest: isRequest) { isRefused = true }
                }
            }
            if isRequest, isRefused || options > Self.optionsMax { throw .connection }
        }
        if parser.has(.proxyConnection) {
            // An obsolete synonym that old clients send to proxies.
            head.forEachValue(.proxyConnection) { value in
                for option in HTTP1List(value) {
                    if option.equalsIgnoringCase("close") { wantsClose = true }
                    if option.equalsIgnoringCase("keep-alive") { wantsKeepAlive = true }
                }
            }
            head.remove(.proxyConnection)
        }
        if parser.has(.keepAlive) { head.remove(.keepAlive) }
        if parser.has(.te) { reduceTE(head, isRequest: isRequest) }
        if wantsUpgrade {
            var isOne = parser.repeated & HTTP1Parser.bit(.upgrade) == 0
            if let ignoresUpgrade, parser.has(.upgrade) {
                Self.reduceUpgrade(head, ignoresUpgrade)
                isOne = true
            }
            wantsUpgrade = parser.has(.upgrade) && isOne && parser.version == .http11
        }
        // h2c is not offered, so it must not be tunnelled either (envoy does the same).
        if wantsUpgrade, let value = head[.upgrade] {
            let names = HTTP1List(value)
            if value.isEmpty || names.contains(where: { $0.equalsIgnoringCase("h2c") }) {
                wantsUpgrade = false
            }
        }
        if parser.has(.http2Settings) { head.remove(.http2Settings) }
        if !wantsUpgrade {
            head.remove(.connection)
            head.remove(.upgrade)
        }
    }

    /// One connection option; false where it names a field that must not go.
    private mutating func read(_ option: Bytes, _ head: HeaderMap, isRequest: Bool) -> Bool {
        if option.equalsIgnoringCase("close") {
            wantsClose = true
        } else if option.equalsIgnoringCase("keep-alive") {
            wantsKeepAlive = true
        } else if option.equalsIgnoringCase("upgrade") {
            wantsUpgrade = true
        } else if option.equalsIgnoringCase("te") || option.equalsIgnoringCase("http2-settings")
            || option.equalsIgnoringCase("connection")
        {
            // Looked after below, or taken off in any case.
        } else {
            return Self.removeNominated(option, head)
        }
        return true
    }

    /// Takes the ignored protocols off the list; what is left of it is one line.
    private static func reduceUpgrade(_ head: HeaderMap, _ isIgnored: (Bytes) -> Bool) {
        var kept = ByteBuffer()
        head.forEachValue(.upgrade) { value in
            for name in HTTP1List(value) where !isIgnored(name) {
                if !kept.isEmpty { kept.append(",") }
                kept.append(name)
            }
        }
        head.set(.upgrade, kept.bytes)
    }

    /// TE stays only where it says `trailers`, and then says nothing else (RFC 9110 §10.1.4).
    private func reduceTE(_ head: HeaderMap, isRequest: Bool) {
        var hasTrailers = false
        head.forEachValue(.te) { value in
            for coding in HTTP1List(value) where coding.equalsIgnoringCase("trailers") {
                hasTrailers = true
            }
        }
        if isRequest, hasTrailers { head.set(.te, "trailers") } else { head.remove(.te) }
    }

    /// Removes the field an option names, unless somebody relies on it: where a message says whom it
    /// is for, how long it is, and what proxies before us vouched for. An attacker who could strip
    /// those would choose how it is treated (CWE-348).
    private static func removeNominated(_ option: Bytes, _ head: HeaderMap) -> Bool {
        guard option.count <= HTTP1List.nameLengthMax else { return false }
        return withUnsafeTemporaryAllocation(byteCount: max(1, option.count), alignment: 1) {
            lower in
            for at in 0..<option.count {
                let byte = HTTP1Tables.token[option[at]]
                guard byte != 0 else { return false }
                lower[at] = byte
            }
            let name = Bytes(rebasing: lower[..<option.count])
            if isProtected(name) { return false }
            head.remove(name)
            return true
        }
    }

    private static func isProtected(_ name: Bytes) -> Bool {
        let names: [StaticString] = [
            "host", "content-length", "transfer-encoding", "forwarded", "authorization", "cookie",
            "set-cookie", "content-type", "content-encoding", "cache-control", "date", "location",
            "via", "x-request-id", "traceparent", "tracestate", "www-authenticate",
        ]
        let prefixes: [StaticString] = ["x-forwarded-", "x-envoy-", "sec-", "x-real-"]
        return names.contains { name.equals($0) } || prefixes.contains { name.starts(with: $0) }
    }
}

/// The elements of a comma-separated field value, without white space; empty ones are skipped
/// (RFC 9110 §5.6.1).
struct HTTP1List: Sequence, IteratorProtocol {
    /// Longest element that is compared with anything.
    static let nameLengthMax = 256

    private var rest: Bytes

    init(_ value: Bytes) { rest = value }

    mutating func next() -> Bytes? {
        while !rest.isEmpty {
            let comma = rest.firstIndex(of: 0x2C)
            var element = Bytes(rebasing: rest[..<(comma ?? rest.count)])
            rest = Bytes(rebasing: rest[(comma.map { $0 + 1 } ?? rest.count)...])
            while let byte = element.first, byte == 0x20 || byte == 0x09 {
                element = Bytes(rebasing: element.dropFirst())
            }
            while let byte = element.last, byte == 0x20 || byte == 0x09 {
                element = Bytes(rebasing: element.dropLast())
            }
            if !element.isEmpty { return element }
        }
        return nil
    }
}

extension UnsafeRawBufferPointer {
    /// Compares with lower-case ASCII text.
    func equalsIgnoringCase(_ text: StaticString) -> Bool {
        guard count == text.utf8CodeUnitCount else { return false }
        for at in 0..<count {
            let byte = self[at]
            let lower = byte &- 0x41 < 26 ? byte | 0x20 : byte
            if lower != text.utf8Start[at] { return false }
        }
        return true
    }

    func starts(with text: StaticString) -> Bool {
        count >= text.utf8CodeUnitCount
            && Bytes(rebasing: self[..<text.utf8CodeUnitCount]).equals(text)
    }
}
