import MeshNet

/// How field names are written (envoy: Http1ProtocolOptions.header_key_format).
package enum HTTP1HeaderKeyFormat: UInt8, Sendable {
    /// Lower case.
    case lowerCase
    /// `Content-Type` (envoy: proper_case_words).
    case properCase
    /// As the peer wrote them, where known (envoy: preserve_case).
    case preserveCase
}

/// Malformed input that Envoy lets pass and we refuse, unless named here. All off by default.
package struct HTTP1Leniency: OptionSet, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Lines that end with LF alone.
    package static let bareLineFeed = Self(rawValue: 1)
    /// Values continued on a line that begins with white space (RFC 9112 §5.2); joined by one space.
    package static let foldedLines = Self(rawValue: 2)
    /// Several Host fields, joined by a comma.
    package static let repeatedHost = Self(rawValue: 4)
    /// More than one empty line before a request, or one that is a bare LF.
    package static let leadingEmptyLines = Self(rawValue: 8)
    /// Runs of spaces and tabs between the parts of a request line and behind it (RFC 9112 §3).
    package static let requestLineSpace = Self(rawValue: 16)
    /// Spaces and tabs behind a chunk size (RFC 9112 §7.1.1 has them before extensions only).
    package static let chunkSizeSpace = Self(rawValue: 32)

    /// The names by which operators choose them.
    package static let named: [(name: StaticString, leniency: HTTP1Leniency)] = [
        ("allow_bare_lf", .bareLineFeed),
        ("allow_obs_fold", .foldedLines),
        ("allow_repeated_host", .repeatedHost),
        ("allow_leading_empty_lines", .leadingEmptyLines),
        ("allow_request_line_space", .requestLineSpace),
        ("allow_chunk_size_space", .chunkSizeSpace),
    ]
}

/// What one side's HTTP/1 codec accepts and how it writes (envoy: Http1ProtocolOptions and the limits
/// of HttpConnectionManager and HttpProtocolOptions).
package struct HTTP1Settings: Sendable {
    /// Largest header section in KiB, start line included (envoy: max_request_headers_kb,
    /// max_response_headers_kb).
    package var maxHeadersKB: UInt32 = 60
    /// Most fields in a header or trailer section (envoy: max_headers_count).
    package var maxHeadersCount: UInt32 = 100
    /// Serve HTTP/1.0 requests instead of answering 426 (envoy: accept_http_10).
    package var acceptHTTP10 = false
    /// Host of HTTP/1.0 requests that name none; empty for none (envoy: default_host_for_http_10).
    package var defaultHostForHTTP10 = ""
    /// Take absolute-form targets apart (envoy: allow_absolute_url).
    package var allowAbsoluteURL = true
    /// Pass trailers on, in both directions (envoy: enable_trailers).
    package var enableTrailers = false
    /// Accept Content-Length beside chunked; the length is dropped (envoy: allow_chunked_length).
    package var allowChunkedLength = false
    /// Accept methods beyond the known list (envoy: allow_custom_methods).
    package var allowCustomMethods = false
    /// Requests go out in absolute-form (envoy: send_fully_qualified_url).
    package var sendFullyQualifiedURL = false
    /// Protocols whose upgrades are taken for plain requests; nil for none
    /// (envoy: ignore_http_11_upgrade).
    package var ignoresUpgrade: (@Sendable (Bytes) -> Bool)?
    package var headerKeyFormat = HTTP1HeaderKeyFormat.lowerCase
    package var leniency: HTTP1Leniency = []

    package init() {}

    /// An entry of a header map is indexed with 15 bits; the proxy adds some of its own.
    private static let fieldsMax = 16_384
    /// Envoy's largest max_request_headers_kb.
    private static let headBytesMax = 8192 * 1024

    var headBytesMax: Int { min(Int(maxHeadersKB) * 1024, Self.headBytesMax) }
    var fieldsMax: Int { min(Int(maxHeadersCount), Self.fieldsMax) }
}
