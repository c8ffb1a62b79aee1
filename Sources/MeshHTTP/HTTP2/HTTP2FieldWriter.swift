import CNGHTTP2
import MeshNet

/// Lays a map's fields out as libnghttp2 wants them, pseudo-headers first, without those of HTTP/1 hops.
/// Names and values stay where they are in the map.
struct HTTP2FieldWriter {
    private let target: UnsafeMutablePointer<nghttp2_nv>
    private(set) var count = 0
    /// libnghttp2 need not copy: the map lives until the frame is packed.
    private let flags: UInt8

    /// Fields we add beside the map's.
    private static let ownFields = 4

    private init(_ target: UnsafeMutablePointer<nghttp2_nv>, borrows: Bool) {
        self.target = target
        flags =
            borrows
            ? UInt8(NGHTTP2_NV_FLAG_NO_COPY_NAME.rawValue | NGHTTP2_NV_FLAG_NO_COPY_VALUE.rawValue)
            : 0
    }

    /// Calls `submit` with the fields of a request.
    static func request(
        _ head: HeaderMap,
        form: HTTP2Form,
        borrows: Bool,
        _ submit: (UnsafeMutablePointer<nghttp2_nv>, Int) -> Void
    ) {
        with(head, borrows: borrows, submit) { writer in
            if form == .upgrade {
                writer.add(.method, "CONNECT")
                if let upgrade = head[.upgrade] { writer.add(.protocol, upgrade) }
            } else if let method = head[.method] {
                writer.add(.method, method)
            }
            if form != .connect {
                if let scheme = head[.scheme], !scheme.isEmpty {
                    writer.add(.scheme, scheme)
                } else {
                    writer.add(.scheme, "http")
                }
                if let path = head[.path] { writer.add(.path, path) }
            }
            if let authority = head[.authority] { writer.add(.authority, authority) }
            var skipped = Self.hopFields
            if form != .plain { skipped |= 1 << UInt32(KnownHeader.contentLength.rawValue) }
            writer.addRegular(head, skipping: skipped)
        }
    }

    /// Calls `submit` with the fields of a response of this status.
    static func response(
        _ head: HeaderMap,
        status: Int,
        borrows: Bool,
        _ submit: (UnsafeMutablePointer<nghttp2_nv>, Int) -> Void
    ) {
        with(head, borrows: borrows, submit) { writer in
            // The 101 of an upgrade is a plain success here (RFC 8441 §5).
            if status == 101 {
                writer.add(.status, "200")
            } else if let value = head[.status] {
                writer.add(.status, value)
            }
            var skipped = Self.hopFields | 1 << UInt32(KnownHeader.te.rawValue)
            if status < 200 || status == 204 {
                skipped |= 1 << UInt32(KnownHeader.contentLength.rawValue)
            }
            writer.addRegular(head, skipping: skipped)
        }
    }

    /// Calls `submit` with the fields of a trailer section; maybe none.
    static func trailers(
        _ trailers: HeaderMap,
        borrows: Bool,
        _ submit: (UnsafeMutablePointer<nghttp2_nv>, Int) -> Void
    ) {
        with(trailers, borrows: borrows, submit) { writer in
            writer.addRegular(trailers, skipping: .max)
        }
    }

    private static func with(
        _ map: HeaderMap,
        borrows: Bool,
        _ submit: (UnsafeMutablePointer<nghttp2_nv>, Int) -> Void,
        _ fill: (inout HTTP2FieldWriter) -> Void
    ) {
        withUnsafeTemporaryAllocation(
            of: nghttp2_nv.self,
            capacity: map.entryCount + ownFields
        ) { fields in
            guard let base = fields.baseAddress else { return }
            var writer = HTTP2FieldWriter(base, borrows: borrows)
            fill(&writer)
            submit(base, writer.count)
        }
    }

    /// What speaks of an HTTP/1 connection (RFC 9113 §8.2.2). A TE on the map says `trailers`.
    private static var hopFields: UInt32 {
        1 << UInt32(KnownHeader.connection.rawValue)
            | 1 << UInt32(KnownHeader.transferEncoding.rawValue)
            | 1 << UInt32(KnownHeader.host.rawValue)
            | 1 << UInt32(KnownHeader.upgrade.rawValue)
            | 1 << UInt32(KnownHeader.keepAlive.rawValue)
            | 1 << UInt32(KnownHeader.proxyConnection.rawValue)
            | 1 << UInt32(KnownHeader.http2Settings.rawValue)
    }

    /// Regular fields but those of the common head whose bits are given.
    private mutating func addRegular(_ map: HeaderMap, skipping: UInt32) {
        let arena = map.arena
        for at in 0..<map.entryCount {
            let entry = map.entries[at]
            guard !entry.isRemoved, entry.known > KnownHeader.protocol.rawValue else { continue }
            if entry.known <= KnownHeader.http2Settings.rawValue,
                skipping >> UInt32(entry.known) & 1 != 0
            {
                continue
            }
            add(
                arena + Int(entry.nameOffset),
                Int(entry.nameLength),
                arena + Int(entry.valueOffset),
                Int(entry.valueLength)
            )
        }
    }

    private mutating func add(_ header: KnownHeader, _ value: Bytes) {
        let name = header.name
        add(
            UnsafeMutableRawPointer(mutating: name.utf8Start),
            name.utf8CodeUnitCount,
            UnsafeMutableRawPointer(mutating: value.baseAddress),
            value.count
        )
    }

    private mutating func add(_ header: KnownHeader, _ value: StaticString) {
        add(header, Bytes(start: value.utf8Start, count: value.utf8CodeUnitCount))
    }

    private mutating func add(
        _ name: UnsafeMutableRawPointer,
        _ nameLength: Int,
        _ value: UnsafeMutableRawPointer?,
        _ valueLength: Int
    ) {
        (target + count).initialize(
            to: nghttp2_nv(
                name: name.assumingMemoryBound(to: UInt8.self),
                value: value?.assumingMemoryBound(to: UInt8.self),
                namelen: nameLength,
                valuelen: valueLength,
                flags: flags
            )
        )
        count += 1
    }
}
