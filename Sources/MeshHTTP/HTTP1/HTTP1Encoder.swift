import Glibc
import MeshNet

/// Writes HTTP/1 heads, trailers and chunk frames. Knows neither connection nor stream.
struct HTTP1Encoder {
    /// What a head says about the connection.
    enum ConnectionField { case absent, close, keepAlive, upgrade }

    let format: HTTP1HeaderKeyFormat

    /// Room for what we write beside the map's fields: the longest status line or version, framing
    /// and connection fields.
    private static let ownBytesMax = 256
    /// Copies run over by up to a word.
    private static let overrun = 16

    /// Writes a status line and fields; returns the bytes written.
    func response(
        _ status: Int,
        _ head: HeaderMap,
        version: HTTPVersion,
        framing: HTTP1Framing,
        connection: ConnectionField,
        into output: inout ByteBuffer
    ) -> Int {
        var target = begin(head, extra: 0, &output)
        let start = target.cursor
        if status == 200, version != .http10 {
            target.write("HTTP/1.1 200 OK\r\n")
        } else {
            target.write(version == .http10 ? "HTTP/1.0 " : "HTTP/1.1 ")
            target.write(decimal: status)
            target.write(0x20)
            target.write(HTTP1Reason.phrase(status))
            target.writeLineEnd()
        }
        var copied = HTTP1Parser.bit(.trailer) | HTTP1Parser.bit(.proxyAuthenticate)
        if framing != .chunked, framing != .tunnel, status >= 200, status != 204 {
            copied |= HTTP1Parser.bit(.contentLength)
        }
        finish(head, copied, framing: framing, connection: connection, status: status, &target)
        return end(target, since: start, &output)
    }

    /// Writes a request line and fields; returns the bytes written.
    func request(
        _ head: HeaderMap,
        fullyQualified: Bool,
        framing: HTTP1Framing,
        connection: ConnectionField,
        into output: inout ByteBuffer
    ) -> Int {
        let empty = Bytes(start: nil, count: 0)
        let method = head[.method] ?? empty
        let authority = head[.authority] ?? empty
        let scheme = head[.scheme] ?? empty
        var target = begin(head, extra: authority.count + scheme.count, &output)
        let start = target.cursor
        target.write(method)
        target.write(0x20)
        if method.equals("CONNECT") {
            target.write(authority)
        } else {
            if fullyQualified, !authority.isEmpty {
                if scheme.isEmpty { target.write("http") } else { target.write(scheme) }
                target.write("://")
                target.write(authority)
            }
            target.write(head[.path] ?? empty)
        }
        target.write(" HTTP/1.1\r\n")
        if head.contains(.authority) {
            switch format {
            case .lowerCase: target.write("host: ")
            case .properCase, .preserveCase: target.write("Host: ")
            }
            target.write(authority)
            target.writeLineEnd()
        }
        var copied =
            HTTP1Parser.bit(.trailer) | HTTP1Parser.bit(.te) | HTTP1Parser.bit(.proxyAuthenticate)
        if framing != .chunked, framing != .tunnel { copied |= HTTP1Parser.bit(.contentLength) }
        finish(head, copied, framing: framing, connection: connection, status: 0, &target)
        return end(target, since: start, &output)
    }

    /// Writes the last chunk and a trailer section.
    func trailers(_ trailers: HeaderMap, into output: inout ByteBuffer) -> Int {
        var target = begin(trailers, extra: 0, &output)
        let start = target.cursor
        target.write("0\r\n")
        write(trailers, copying: 0, &target)
        target.writeLineEnd()
        return end(target, since: start, &output)
    }

    // MARK: Parts

    private func begin(
        _ head: HeaderMap,
        extra: Int,
        _ output: inout ByteBuffer
    ) -> HTTP1Writer {
        // Name, value, and per field two bytes of separator and line end each.
        let size = head.byteSize + 4 * head.count + extra + Self.ownBytesMax + Self.overrun
        return HTTP1Writer(cursor: output.reserve(size).baseAddress)
    }

    private func end(
        _ target: HTTP1Writer,
        since start: UnsafeMutableRawPointer?,
        _ output: inout ByteBuffer
    ) -> Int {
        guard let cursor = target.cursor, let start else { return 0 }
        output.commit(cursor - start)
        return cursor - start
    }

    private func finish(
        _ head: HeaderMap,
        _ copied: UInt32,
        framing: HTTP1Framing,
        connection: ConnectionField,
        status: Int,
        _ target: inout HTTP1Writer
    ) {
        write(head, copying: copied, &target)
        if connection == .upgrade, let upgrade = head[.upgrade] {
            writeName("upgrade", &target)
            target.write(upgrade)
            target.writeLineEnd()
        }
        switch connection {
        case .absent: break
        case .close: writeField("connection", "close", &target)
        case .keepAlive: writeField("connection", "keep-alive", &target)
        case .upgrade: writeField("connection", "upgrade", &target)
        }
        switch framing {
        case .chunked: writeField("transfer-encoding", "chunked", &target)
        case .length(let length) where !head.contains(.contentLength):
            writeName("content-length", &target)
            target.write(decimal: Int(truncatingIfNeeded: length))
            target.writeLineEnd()
        default: break
        }
        target.writeLineEnd()
    }

    /// Writes the map's fields but pseudo-headers and those of one hop; of the latter `copying` says
    /// which are written nevertheless.
    private func write(_ map: HeaderMap, copying: UInt32, _ target: inout HTTP1Writer) {
        guard format == .lowerCase else { return writeFormatted(map, copying: copying, &target) }
        let entries = map.entries
        let arena = UnsafeRawPointer(map.arena)
        // Fields that lie side by side in the arena, as they do when they came from a wire, are
        // copied in one run.
        var runStart = 0
        var runEnd = 0
        for at in 0..<map.entryCount {
            let entry = entries[at]
            if entry.isRemoved || !Self.isWritten(entry.known, copying) { continue }
            let valueOffset = Int(entry.valueOffset)
            let lineEnd = valueOffset &+ Int(entry.valueLength) &+ 2
            let nameOffset = Int(entry.nameOffset)
            let nameLength = Int(entry.nameLength)
            if nameOffset &+ nameLength &+ 2 != valueOffset {
                // The value was replaced and lies elsewhere.
                target.write(arena + runStart, runEnd &- runStart)
                target.write(arena + nameOffset, nameLength &+ 2)
                runStart = valueOffset
                runEnd = lineEnd
            } else if nameOffset == runEnd {
                runEnd = lineEnd
            } else {
                target.write(arena + runStart, runEnd &- runStart)
                runStart = nameOffset
                runEnd = lineEnd
            }
        }
        target.write(arena + runStart, runEnd &- runStart)
    }

    @inline(__always)
    private static func isWritten(_ known: UInt8, _ copying: UInt32) -> Bool {
        known > KnownHeader.http2Settings.rawValue || (copying >> UInt32(known)) & 1 != 0
    }

    private func writeFormatted(_ map: HeaderMap, copying: UInt32, _ target: inout HTTP1Writer) {
        for at in 0..<map.entryCount {
            let entry = map.entries[at]
            if entry.isRemoved || !Self.isWritten(entry.known, copying) { continue }
            if format == .preserveCase {
                let offset = Int(
                    entry.originalNameOffset == 0 ? entry.nameOffset : entry.originalNameOffset
                )
                target.write(Bytes(start: map.arena + offset, count: Int(entry.nameLength)))
            } else {
                writeProperCase(map.name(at), &target)
            }
            target.write(": ")
            target.write(map.value(at))
            target.writeLineEnd()
        }
    }

    private func writeProperCase(_ name: Bytes, _ target: inout HTTP1Writer) {
        var isWordStart = true
        for byte in name {
            let isLetter = byte &- 0x61 < 26
            target.write(isLetter && isWordStart ? byte ^ 0x20 : byte)
            // As Envoy: a word begins after anything but a letter or digit.
            isWordStart = !(isLetter || byte &- 0x30 < 10)
        }
    }

    private func writeName(_ name: StaticString, _ target: inout HTTP1Writer) {
        if format == .properCase {
            writeProperCase(Bytes(start: name.utf8Start, count: name.utf8CodeUnitCount), &target)
        } else {
            target.write(name)
        }
        target.write(": ")
    }

    private func writeField(
        _ name: StaticString,
        _ value: StaticString,
        _ target: inout HTTP1Writer
    ) {
        writeName(name, &target)
        target.write(value)
        target.writeLineEnd()
    }

    // MARK: Chunks

    /// Writes one chunk; returns the bytes written. The data must not be empty.
    static func chunk(_ data: Bytes, into output: inout ByteBuffer) -> Int {
        // Sixteen digits at most.
        var target = HTTP1Writer(cursor: output.reserve(data.count + 24).baseAddress)
        let start = target.cursor
        target.write(hexadecimal: data.count)
        target.writeLineEnd()
        target.write(data)
        target.writeLineEnd()
        guard let start, let cursor = target.cursor else { return 0 }
        output.commit(cursor - start)
        return cursor - start
    }

    static let lastChunk: StaticString = "0\r\n\r\n"
}

/// A cursor into reserved output. It trusts its user's arithmetic; the encoder above is its only one.
struct HTTP1Writer {
    private(set) var cursor: UnsafeMutableRawPointer?

    init(cursor: UnsafeMutableRawPointer?) { self.cursor = cursor }

    @inline(__always)
    mutating func write(_ source: UnsafeRawPointer, _ count: Int) {
        guard let cursor, count > 0 else { return }
        memcpy(cursor, source, count)
        self.cursor = cursor + count
    }

    mutating func write(_ bytes: Bytes) {
        if let base = bytes.baseAddress { write(base, bytes.count) }
    }

    mutating func write(_ text: StaticString) {
        write(UnsafeRawPointer(text.utf8Start), text.utf8CodeUnitCount)
    }

    mutating func write(_ byte: UInt8) {
        guard let cursor else { return }
        cursor.storeBytes(of: byte, as: UInt8.self)
        self.cursor = cursor + 1
    }

    mutating func writeLineEnd() {
        guard let cursor else { return }
        cursor.storeBytes(of: 0x0A0D, as: UInt16.self)
        self.cursor = cursor + 2
    }

    mutating func write(decimal value: Int) { write(digitsOf: value.magnitude, radix: 10) }
    mutating func write(hexadecimal value: Int) { write(digitsOf: value.magnitude, radix: 16) }

    private mutating func write(digitsOf value: UInt, radix: UInt) {
        var divisor: UInt = 1
        while value / divisor >= radix { divisor *= radix }
        var rest = value
        while divisor > 0 {
            let digit = UInt8(truncatingIfNeeded: rest / divisor)
            write(digit < 10 ? 0x30 &+ digit : 0x57 &+ digit)
            rest %= divisor
            divisor /= radix
        }
    }
}
