/// Looks at the first bytes of a connection for a TLS ClientHello, without consuming any.
///
/// A pure function of the bytes seen so far (envoy: filters.listener.tls_inspector): the listener
/// peeks again whenever more has arrived.
package struct TLSInspector: Sendable {
    package enum Result: Equatable, Sendable {
        /// Too few bytes to tell.
        case needMore
        case notTLS
        /// It is TLS, but the hello exceeds the limit.
        case tooLarge
        case tls(ClientHello)
    }

    /// What the listener chooses a filter chain by.
    package struct ClientHello: Equatable, Sendable {
        /// Host name of RFC 6066 §3 in lower case; empty: none.
        package var serverName = ""
        /// RFC 7301 §3.1, in the client's order.
        package var protocols: [String] = []

        package init(serverName: String = "", protocols: [String] = []) {
            self.serverName = serverName
            self.protocols = protocols
        }
    }

    /// Hellos of this size and less are looked into (envoy: max_client_hello_size).
    package static let helloBytesMax = 65_536
    /// Record layer maximum (RFC 8446 §5.1, with the slack of RFC 5246 §6.2.3).
    private static let recordBytesMax = 16_384 + 2_048

    private let limit: Int

    package init(limit: Int = TLSInspector.helloBytesMax) { self.limit = limit }

    package func inspect(_ bytes: Bytes) -> Result {
        guard let type = bytes.first else { return .needMore }
        guard type == 22 else { return .notTLS }
        if bytes.count > 1, bytes[1] != 3 { return .notTLS }
        // The usual hello is one record: parsed in place.
        var at = 0
        var hello: [UInt8] = []
        while true {
            guard bytes.count - at >= 5 else { return .needMore }
            guard bytes[at] == 22, bytes[at + 1] == 3 else { return .notTLS }
            let length = Int(bytes[at + 3]) << 8 | Int(bytes[at + 4])
            guard length <= Self.recordBytesMax else { return .notTLS }
            let start = at + 5
            let available = min(length, bytes.count - start)
            let fragment = Bytes(rebasing: bytes[start..<(start + available)])
            if at == 0, let first = fragment.first, first != 1 { return .notTLS }
            if at == 0, available == length, let whole = Self.message(fragment) {
                return parse(whole)
            }
            if at == 0, available < length {
                // Still the first record: nothing to put together.
                return Self.announcedBytes(fragment).map { $0 > limit } == true
                    ? .tooLarge : .needMore
            }
            hello += fragment
            let found = hello.withUnsafeBytes { collected -> Result? in
                if Self.announcedBytes(collected).map({ $0 > limit }) == true { return .tooLarge }
                return Self.message(collected).map(parse)
            }
            if let found { return found }
            guard available == length else { return .needMore }
            at = start + length
        }
    }

    /// Length of the handshake message that begins here, once its head is there.
    private static func announcedBytes(_ bytes: Bytes) -> Int? {
        guard bytes.count >= 4 else { return nil }
        return Int(bytes[1]) << 16 | Int(bytes[2]) << 8 | Int(bytes[3])
    }

    /// The body of the handshake message, if all of it is there.
    private static func message(_ bytes: Bytes) -> Bytes? {
        guard let length = announcedBytes(bytes), bytes.count >= 4 + length else { return nil }
        return Bytes(rebasing: bytes[4..<(4 + length)])
    }

    /// ClientHello (RFC 8446 §4.1.2, RFC 5246 §7.4.1.2).
    private func parse(_ body: Bytes) -> Result {
        if body.count > limit { return .tooLarge }
        var reader = Reader(body)
        // legacy_version and random.
        guard let version = reader.take(2), version[0] == 3, reader.take(32) != nil,
            reader.vector8() != nil, let suites = reader.vector16(), suites.count >= 2,
            suites.count % 2 == 0, let compression = reader.vector8(), compression.count > 0
        else { return .notTLS }
        var hello = ClientHello()
        // SSL 3 and the oldest TLS clients end here.
        if reader.isAtEnd { return .tls(hello) }
        guard let extensions = reader.vector16(), reader.isAtEnd else { return .notTLS }
        var rest = Reader(extensions)
        while !rest.isAtEnd {
            guard let type = rest.number16(), let content = rest.vector16() else { return .notTLS }
            switch type {
            case 0:
                guard let name = Self.serverName(content) else { return .notTLS }
                hello.serverName = name
            case 16:
                guard let protocols = Self.protocols(content) else { return .notTLS }
                hello.protocols = protocols
            default: break
            }
        }
        return .tls(hello)
    }

    /// The host name in a server_name extension; nil where it is malformed.
    private static func serverName(_ content: Bytes) -> String? {
        var outer = Reader(content)
        guard let list = outer.vector16(), outer.isAtEnd else { return nil }
        var names = Reader(list)
        while !names.isAtEnd {
            guard let type = names.take(1), let name = names.vector16() else { return nil }
            if type[0] == 0 {
                guard name.count > 0, name.count <= 255, !name.contains(0) else { return nil }
                return lowercased(name)
            }
        }
        return ""
    }

    /// The one spelling of a server name that filter chains, policy and logs see: ASCII letters in
    /// lower case, no other letter changed (RFC 6066 §3).
    static func lowercased(_ name: Bytes) -> String {
        String(decoding: name.map { $0 >= 0x41 && $0 <= 0x5A ? $0 | 0x20 : $0 }, as: UTF8.self)
    }

    private static func protocols(_ content: Bytes) -> [String]? {
        var outer = Reader(content)
        guard let list = outer.vector16(), outer.isAtEnd else { return nil }
        var names = Reader(list)
        var protocols: [String] = []
        while !names.isAtEnd {
            guard let name = names.vector8(), name.count > 0 else { return nil }
            protocols.append(String(bytes: name))
        }
        return protocols
    }

    /// Takes lengths and bytes from the front; nil when too few are left.
    private struct Reader {
        private var rest: Bytes

        init(_ bytes: Bytes) { rest = bytes }

        var isAtEnd: Bool { rest.isEmpty }

        mutating func take(_ count: Int) -> Bytes? {
            guard rest.count >= count else { return nil }
            defer { rest = Bytes(rebasing: rest[count...]) }
            return Bytes(rebasing: rest[..<count])
        }

        mutating func number16() -> Int? { take(2).map { Int($0[0]) << 8 | Int($0[1]) } }

        mutating func vector8() -> Bytes? {
            guard let length = take(1) else { return nil }
            return take(Int(length[0]))
        }

        mutating func vector16() -> Bytes? {
            guard let length = number16() else { return nil }
            return take(length)
        }
    }
}
