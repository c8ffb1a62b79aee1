import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// Writes local replies: as the configuration wants them (envoy: local_reply_config), or as gRPC
/// understands them.
package final class LocalReplyRenderer {
    private struct Mapper {
        let filter: AccessLogFilter
        let status: Int?
        let body: [UInt8]?
        let format: BodyFormat?
        let headers: HeaderMutation
    }

    private let mappers: [Mapper]
    private let format: BodyFormat?

    init(_ config: LocalReplyConfig?, runtime: RuntimeConfig, _ environment: FormatEnvironment) {
        mappers =
            config?.mappers.map { mapper in
                Mapper(
                    filter: AccessLogFilter(mapper.filter, runtime: runtime),
                    status: mapper.status,
                    body: mapper.body,
                    format: mapper.bodyFormatOverride.map { BodyFormat($0, environment) },
                    headers: HeaderMutation(add: mapper.headersToAdd, environment)
                )
            } ?? []
        format = config?.bodyFormat.map { BodyFormat($0, environment) }
    }

    /// Fills `head` and `body`.
    func render(
        _ reply: LocalReply,
        for stream: HTTPStream,
        head: HeaderMap,
        body: inout ByteBuffer
    ) {
        head.set(.status, decimal: reply.status)
        if let location = reply.location { head.set(.location, location) }
        if reply.isOverloaded { head.set(.envoyOverloaded, "true") }
        if let attempts = reply.attemptCount { head.set(.envoyAttemptCount, decimal: attempts) }
        reply.route?.route.mutateResponse(
            head,
            split: reply.route?.split,
            context: { stream.formatContext(response: head) }
        )
        stream.info.responseCode = reply.status
        stream.info.localReplyBody = reply.body
        var used = format
        appendBody(of: reply, for: stream, head: head, to: &body)
        let random = stream.worker.random.next()
        for mapper in mappers
        where mapper.filter.passes(stream.formatContext(response: head), random: { random }) {
            // Before the status changes: `%RESPONSE_CODE%` in them is the original's.
            mapper.headers.apply(to: head) { stream.formatContext(response: head) }
            if let status = mapper.status {
                head.set(.status, decimal: status)
                stream.info.responseCode = status
            }
            if let replacement = mapper.body {
                body.clear()
                replacement.withUnsafeBytes { body.append($0) }
                stream.info.localReplyBody = String(bytes: body.bytes)
            }
            used = mapper.format ?? format
            break
        }
        var contentType = reply.direct?.format?.contentType ?? "text/plain"
        if let used {
            body.clear()
            used.append(
                to: &body,
                stream.formatContext(response: head),
                endsLine: !stream.isGRPC
            )
            contentType = used.contentType
        }
        if stream.isGRPC { return makeGRPC(head, &body, stream, reply) }
        guard !body.isEmpty else { return }
        head.set(.contentLength, decimal: body.count)
        if !head.contains(.contentType) { head.set(.contentType, contentType) }
    }

    /// The body before mappers and the manager's format: of a direct response what the route says, which is
    /// then `%LOCAL_REPLY_BODY%`.
    private func appendBody(
        of reply: LocalReply,
        for stream: HTTPStream,
        head: HeaderMap,
        to body: inout ByteBuffer
    ) {
        guard let direct = reply.direct else { return body.append(reply.body) }
        guard let format = direct.format else {
            return direct.body.withUnsafeBytes { body.append($0) }
        }
        format.append(to: &body, stream.formatContext(response: head), endsLine: true)
        stream.info.localReplyBody = String(bytes: body.bytes)
    }

    /// gRPC reads its status from trailers, or from a head without a body.
    private func makeGRPC(
        _ head: HeaderMap,
        _ body: inout ByteBuffer,
        _ stream: HTTPStream,
        _ reply: LocalReply
    ) {
        head.set(
            .grpcStatus,
            decimal: reply.grpcStatus ?? GRPC.status(ofHTTP: stream.info.responseCode)
        )
        head.set(.status, "200")
        head.set(.contentType, "application/grpc")
        if !body.isEmpty { head.set(.grpcMessage, GRPC.percentEncoded(body.bytes)) }
        body.clear()
    }
}
