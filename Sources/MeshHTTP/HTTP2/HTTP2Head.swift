import MeshNet

/// What a request or response is besides a plain one.
enum HTTP2Form: UInt8 {
    case plain, connect
    /// Extended CONNECT (RFC 8441); above the codec it looks like HTTP/1's upgrade.
    case upgrade
}

/// A request's fields, complete: made fit for the stream.
enum HTTP2RequestHead {
    /// Checks what the fields say together (RFC 9113 §8.3.1, §8.5), and turns extended CONNECT into the
    /// upgrade it stands for.
    static func read(
        _ section: HTTP2FieldSection,
        _ head: HeaderMap,
        _ settings: HTTP2Settings
    ) throws(HTTP2Fault) -> HTTP2Form {
        if let fault = section.fault { throw fault }
        guard let method = head[.method] else { throw .message }
        guard HTTP1Method(method, allowsAny: true) != nil else { throw .field }
        section.joinCookies(head)
        if let authority = head[.authority] {
            // No user information (RFC 9113 §8.3.1).
            guard !authority.isEmpty, HTTP1Authority.isValid(authority), !authority.contains(0x40)
            else { throw .field }
        }
        if method.equals("CONNECT"), !section.has(.protocol) {
            guard !section.has(.path), !section.has(.scheme), let authority = head[.authority],
                !settings.demandsConnectPort || HTTP1Authority.hasPort(authority)
            else { throw .message }
            // Framing fields of a CONNECT have no meaning (RFC 9110 §9.3.6).
            head.remove(.contentLength)
            return .connect
        }
        guard let path = head[.path], let scheme = head[.scheme], head.contains(.authority) else {
            throw .message
        }
        guard !path.isEmpty, isVisible(path), isScheme(scheme) else { throw .field }
        guard path[0] == 0x2F || path.equals("*") && method.equals("OPTIONS") else {
            throw .message
        }
        guard section.has(.protocol) else { return .plain }
        guard settings.allowConnect, method.equals("CONNECT"), let name = head[.protocol],
            HTTP1Method(name, allowsAny: true) != nil
        else { throw .field }
        head.remove(.contentLength)
        // Appending may move what the value points into; the map copes.
        head.append(.upgrade, name)
        head.remove(.protocol)
        head.append(.connection, "upgrade")
        head.set(.method, "GET")
        return .upgrade
    }

    private static func isVisible(_ path: Bytes) -> Bool {
        var at = 0
        while at &+ 8 <= path.count {
            let word = path.loadUnaligned(fromByteOffset: at, as: UInt64.self)
            if WordScan.notVisible(word) != 0 { return false }
            at &+= 8
        }
        return path[at...].allSatisfy { $0 > 0x20 && $0 < 0x7F }
    }

    /// RFC 3986 §3.1.
    private static func isScheme(_ scheme: Bytes) -> Bool {
        guard let first = scheme.first, (first | 0x20) &- 0x61 < 26 else { return false }
        return scheme.allSatisfy { byte in
            (byte | 0x20) &- 0x61 < 26 || byte &- 0x30 < 10 || byte == 0x2B || byte == 0x2D
                || byte == 0x2E
        }
    }
}

/// A response's fields, complete.
enum HTTP2ResponseHead {
    /// Returns the status.
    static func read(
        _ section: HTTP2FieldSection,
        _ head: HeaderMap,
        _ form: HTTP2Form
    ) throws(HTTP2Fault) -> Int {
        if let fault = section.fault { throw fault }
        guard head.contains(.status) else { throw .message }
        // 101 does not exist in HTTP/2 (RFC 9113 §8.6).
        guard let status = head.statusCode, status >= 100, status < 600, status != 101 else {
            throw .message
        }
        if status < 200 || status == 204 {
            if let length = section.contentLength, length > 0 { throw .message }
            head.remove(.contentLength)
        }
        // Framing fields of a granted CONNECT have no meaning (RFC 9110 §9.3.6).
        if form != .plain, status / 100 == 2 { head.remove(.contentLength) }
        return status
    }
}
