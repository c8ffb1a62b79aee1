import MeshHTTP
import MeshNet

/// What a filter did with a piece of a body, or with trailers.
package enum BodyVerdict: Sendable {
    /// It goes on as it came.
    case unchanged
    /// What the filter wrote into `output` goes on in its place; nothing written, nothing goes on.
    case replaced
    /// The filter has answered the request by itself: the rest of it is not wanted.
    case answered
}

/// Parts of a message that arrived while a filter thinks.
package struct HeldParts: ~Copyable {
    package var body = ByteBuffer()
    package var trailers: HeaderMap?
    package internal(set) var hasEnded = false

    /// Throws the body's bytes beyond the first `count` away.
    mutating func cutBody(to count: Int) {
        guard body.count > count else { return }
        var rest = ByteBuffer()
        rest.append(Bytes(rebasing: body.bytes.prefix(count)))
        swap(&rest, &body)
    }

    /// The body, which is then no longer held.
    mutating func takeBody() -> ByteBuffer {
        var taken = ByteBuffer()
        swap(&taken, &body)
        return taken
    }
}

/// A filter that also sees bodies and trailers. Those of a stream without such filters pass for nothing.
///
/// Pieces are as large as they came in. They come when the head has passed all filters.
package protocol HTTPBodyFilter: HTTPFilter {
    func requestData(
        _ bytes: Bytes,
        endStream: Bool,
        into output: inout ByteBuffer,
        of stream: HTTPStream
    ) -> BodyVerdict
    /// The request ends. ``BodyVerdict/answered`` keeps its trailers from going on.
    func requestTrailers(_ trailers: HeaderMap, of stream: HTTPStream) -> BodyVerdict
    func responseData(
        _ bytes: Bytes,
        endStream: Bool,
        into output: inout ByteBuffer,
        of stream: HTTPStream
    )
        -> BodyVerdict
    /// The response ends. Where trailers are ``BodyVerdict/replaced``, it ends with what was written.
    func responseTrailers(
        _ trailers: HeaderMap,
        into output: inout ByteBuffer,
        of stream: HTTPStream
    ) -> BodyVerdict
    /// More of a response has come whose head this filter suspended. It may change head and body, and
    /// lets both go with ``FilterVerdict/proceed``.
    func responseHeld(
        _ head: HeaderMap,
        _ held: inout HeldParts,
        of stream: HTTPStream
    ) -> FilterVerdict
}

extension HTTPBodyFilter {
    package var body: (any HTTPBodyFilter)? { self }

    package func responseHeld(
        _ head: HeaderMap,
        _ held: inout HeldParts,
        of stream: HTTPStream
    ) -> FilterVerdict { .suspend }
}

/// Leads bodies and trailers of one stream through the filters that want them: requests in the
/// configuration's order, responses in reverse.
final class HTTPBodyFilters {
    private var filters: [any HTTPBodyFilter] = []

    static func add(_ filter: any HTTPBodyFilter, to chain: inout HTTPBodyFilters?) {
        let filters = chain ?? HTTPBodyFilters()
        filters.filters.append(filter)
        chain = filters
    }

    /// `deliver` gets what is left for the router, if anything.
    func requestData(
        _ bytes: Bytes,
        endStream: Bool,
        of stream: HTTPStream,
        at position: Int = 0,
        deliver: (Bytes) -> Void
    ) {
        guard position < filters.count else { return deliver(bytes) }
        var output = ByteBuffer()
        let verdict = filters[position].requestData(
            bytes,
            endStream: endStream,
            into: &output,
            of: stream
        )
        guard let next = Self.next(bytes, endStream, verdict, output) else { return }
        requestData(next, endStream: endStream, of: stream, at: position + 1, deliver: deliver)
    }

    /// Whether the trailers go on.
    func requestTrailers(_ trailers: HeaderMap, of stream: HTTPStream) -> Bool {
        filters.allSatisfy { $0.requestTrailers(trailers, of: stream) != .answered }
    }

    func responseData(
        _ bytes: Bytes,
        endStream: Bool,
        of stream: HTTPStream,
        after position: Int? = nil,
        deliver: (Bytes) -> Void
    ) {
        let position = (position ?? filters.count) - 1
        guard position >= 0 else { return deliver(bytes) }
        var output = ByteBuffer()
        let verdict = filters[position].responseData(
            bytes,
            endStream: endStream,
            into: &output,
            of: stream
        )
        guard let next = Self.next(bytes, endStream, verdict, output) else { return }
        responseData(next, endStream: endStream, of: stream, after: position, deliver: deliver)
    }

    /// Whether a filter turned the trailers into body, the last of which was delivered.
    func responseTrailers(
        _ trailers: HeaderMap,
        of stream: HTTPStream,
        deliver: (Bytes) -> Void
    ) -> Bool {
        for position in filters.indices.reversed() {
            var output = ByteBuffer()
            let verdict = filters[position].responseTrailers(trailers, into: &output, of: stream)
            guard verdict == .replaced else { continue }
            let bytes = output.bytes
            responseData(bytes, endStream: true, of: stream, after: position, deliver: deliver)
            return true
        }
        return false
    }

    /// What the next filter is to see; nil for nothing.
    private static func next(
        _ bytes: Bytes,
        _ endStream: Bool,
        _ verdict: BodyVerdict,
        _ output: borrowing ByteBuffer
    ) -> Bytes? {
        switch verdict {
        case .unchanged: bytes
        case .replaced: output.isEmpty && !endStream ? nil : output.bytes
        case .answered: nil
        }
    }
}
