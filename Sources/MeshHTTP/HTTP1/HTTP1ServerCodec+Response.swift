import MeshNet

/// The response half: framing and what the connection does afterwards.
extension HTTP1ServerCodec {
    package func sendInformational(_ head: HeaderMap) {
        // HTTP/1.0 knows no informational responses (RFC 9110 §15.2). A 101 is a final response.
        guard application != nil, response == .awaiting, version != .http10,
            let status = head.statusCode, status >= 100, status < 200, status != 101
        else { return }
        wrote(
            encoder.response(
                status,
                head,
                version: .http11,
                framing: .none,
                connection: .absent,
                into: &sink.output
            )
        )
    }

    package func sendHead(_ head: HeaderMap, endStream: Bool) {
        guard application != nil, response == .awaiting, let status = head.statusCode else {
            return
        }
        if status == 101 || (method == .connect && status / 100 == 2) {
            return sendTunnelHead(status, head, endStream: endStream)
        }
        // An informational head cannot end an exchange, nor can what no client understands.
        guard status >= 200 else { return reset(.protocolError) }

        let framing = responseFraming(status, head, endStream: endStream)
        if framing == .untilClose { closesAfterResponse = true }
        if isRequestUnfinished { closesAfterResponse = true }
        let connection: HTTP1Encoder.ConnectionField
        if mustSayClose {
            connection = .close
            closesAfterResponse = true
        } else {
            connection = version == .http10 ? .keepAlive : .absent
        }
        sink.willWrite()
        wrote(
            encoder.response(
                status,
                head,
                version: responseVersion,
                framing: framing,
                connection: connection,
                into: &sink.output
            )
        )
        response = .body(isBodyless(status) ? .none : framing)
        if endStream { endResponse() }
    }

    /// A CONNECT or upgrade that was granted. One that nobody asked for would make the client take
    /// the next response for something else.
    private func sendTunnelHead(_ status: Int, _ head: HeaderMap, endStream: Bool) {
        guard request == .held, isUpgrade == (status == 101) else { return reset(.protocolError) }
        wrote(
            encoder.response(
                status,
                head,
                version: .http11,
                framing: .tunnel,
                connection: status == 101 ? .upgrade : .absent,
                into: &sink.output
            )
        )
        response = .body(.tunnel)
        closesAfterResponse = true
        if endStream { endResponse() } else { beginTunnel() }
    }

    package func sendData(_ bytes: Bytes, endStream: Bool) {
        guard application != nil, case .body(let framing) = response else { return }
        switch framing {
        case .none: break
        case .tunnel, .untilClose:
            sink.write(bytes)
            wrote(bytes.count)
        case .chunked:
            if !bytes.isEmpty { wrote(HTTP1Encoder.chunk(bytes, into: &sink.output)) }
        case .length(let remaining):
            // More than was announced must not be taken for the next response.
            let count = Int(min(remaining, UInt64(bytes.count)))
            if count < bytes.count { closesAfterResponse = true }
            sink.write(Bytes(rebasing: bytes[..<count]))
            response = .body(.length(remaining - UInt64(count)))
            wrote(count)
        }
        if endStream { endResponse() }
    }

    package func sendTrailers(_ trailers: HeaderMap) {
        guard application != nil, case .body(let framing) = response else { return }
        if framing == .chunked, settings.enableTrailers {
            wrote(encoder.trailers(trailers, into: &sink.output))
            response = .body(.none)
        }
        endResponse()
    }

    private func endResponse() {
        guard case .body(let framing) = response else { return }
        switch framing {
        case .chunked:
            sink.output.append(HTTP1Encoder.lastChunk)
            wrote(HTTP1Encoder.lastChunk.utf8CodeUnitCount)
        case .length(let remaining) where remaining > 0:
            // Less than was announced: only the connection's end can say so.
            closesAfterResponse = true
        default: break
        }
        // Writing may have told the application to reset.
        guard application != nil else { return }
        response = .complete
        // A tunnel's other direction goes on by itself.
        if framing == .tunnel, request == .tunnel { return sink.shutdownSending() }
        exchangeEnded()
    }

    private func wrote(_ count: Int) {
        bytesSent &+= UInt64(count)
        sink.outputGrew()
    }

    private var responseVersion: HTTPVersion {
        version == .http10 && settings.acceptHTTP10 ? .http10 : .http11
    }

    /// These never have a body, whatever their fields say (RFC 9112 §6.3).
    private func isBodyless(_ status: Int) -> Bool {
        method == .head || status == 204 || status == 304
    }

    private func responseFraming(_ status: Int, _ head: HeaderMap, endStream: Bool) -> HTTP1Framing
    {
        if status == 204 { return .none }
        if let value = head[.contentLength], head.occurrences(.contentLength) == 1,
            let length = HTTP1Framing.length(value)
        {
            return .length(length)
        }
        // A length that cannot be believed is not passed on.
        head.remove(.contentLength)
        if isBodyless(status) { return method == .head && version != .http10 ? .chunked : .none }
        if endStream { return .length(0) }
        return version == .http10 ? .untilClose : .chunked
    }
}

extension HeaderMap {
    /// `:status` as a number; nil where there is none or it has not three digits.
    package var statusCode: Int? {
        guard let text = self[.status], text.count == 3 else { return nil }
        var result = 0
        for byte in text {
            let digit = byte &- 0x30
            guard digit < 10 else { return nil }
            result = result * 10 + Int(digit)
        }
        return result
    }
}
