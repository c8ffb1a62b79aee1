import MeshNet

/// The request half: framing and writing.
extension HTTP1ClientCodec {
    package func sendHead(_ head: HeaderMap, endStream: Bool) {
        guard router != nil, request == .idle, let name = head[.method] else { return }
        method = HTTP1Method(name, allowsAny: true) ?? .other
        isUpgrade = method != .connect && head.contains(.upgrade)
        let framing = requestFraming(head, endStream: endStream)
        if endStream, case .length(let length) = framing, length > 0 {
            return fail(.localReset, "http1.request_body_missing")
        }
        sink.willWrite()
        let count = encoder.request(
            head,
            fullyQualified: settings.sendFullyQualifiedURL,
            framing: framing,
            connection: isUpgrade ? .upgrade : .absent,
            into: &sink.output
        )
        // What follows an upgrade before its answer could be read as another request.
        request = framing == .tunnel ? .held : endStream ? .complete : .body(framing)
        responseExpected()
        wrote(count)
    }

    package func sendData(_ bytes: Bytes, endStream: Bool) {
        guard router != nil else { return }
        switch request {
        case .idle, .complete: return
        case .held:
            // An end without data takes back the tunnel's sending side; data was not asked for yet.
            guard bytes.isEmpty else { return fail(.localReset, "http1.data_before_upgrade") }
            return
        case .body(let framing):
            switch framing {
            case .tunnel, .untilClose:
                sink.write(bytes)
                wrote(bytes.count)
            case .chunked:
                if !bytes.isEmpty { wrote(HTTP1Encoder.chunk(bytes, into: &sink.output)) }
            case .length(let remaining):
                // More or less than announced would be read as something else: give the stream up.
                guard UInt64(bytes.count) <= remaining else {
                    return fail(.localReset, "http1.request_body_too_long")
                }
                request = .body(.length(remaining - UInt64(bytes.count)))
                sink.write(bytes)
                wrote(bytes.count)
            case .none:
                guard bytes.isEmpty else { return fail(.localReset, "http1.request_body_too_long") }
            }
        }
        if endStream { endRequest() }
    }

    package func sendTrailers(_ trailers: HeaderMap) {
        guard router != nil, case .body(let framing) = request else { return }
        if framing == .chunked, settings.enableTrailers {
            request = .body(.none)
            wrote(encoder.trailers(trailers, into: &sink.output))
        }
        endRequest()
    }

    private func endRequest() {
        guard router != nil, case .body(let framing) = request else { return }
        switch framing {
        case .length(let remaining) where remaining > 0:
            return fail(.localReset, "http1.request_body_missing")
        case .chunked:
            request = .complete
            sink.output.append(HTTP1Encoder.lastChunk)
            wrote(HTTP1Encoder.lastChunk.utf8CodeUnitCount)
        case .tunnel:
            request = .complete
            sink.shutdownSending()
            if response == .tunnelEnded {
                endExchange()
                report()
            }
        default:
            request = .complete
        }
    }

    private func wrote(_ count: Int) {
        bytesSent &+= UInt64(count)
        sink.outputGrew()
    }

    private func requestFraming(_ head: HeaderMap, endStream: Bool) -> HTTP1Framing {
        if isUpgrade || method == .connect { return .tunnel }
        if let value = head[.contentLength], head.occurrences(.contentLength) == 1,
            let length = HTTP1Framing.length(value)
        {
            return .length(length)
        }
        // A length that cannot be believed is not passed on.
        head.remove(.contentLength)
        if !endStream { return .chunked }
        // Methods that usually have a body say that there is none (RFC 9110 §8.6).
        switch method {
        case .get, .head, .delete, .trace: return .none
        default: return .length(0)
        }
    }
}
