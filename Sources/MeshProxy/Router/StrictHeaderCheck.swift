import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// Refuses requests whose `x-envoy-*` headers cannot be understood (envoy: strict_check_headers).
enum StrictHeaderCheck {
    /// Usually there is nothing to check, which costs nothing then.
    @inline(__always)
    static func refusal(_ names: [String], _ head: HeaderMap) -> LocalReply? {
        names.isEmpty ? nil : check(names, head)
    }

    private static func check(_ names: [String], _ head: HeaderMap) -> LocalReply? {
        for name in names {
            let header = HeaderName(name)
            guard let value = head.first(header), !isValid(header, value) else { continue }
            return LocalReply(
                status: 400,
                body: "invalid header '\(name)' with value '\(String(bytes: value))'",
                detailsText: "request_headers_failed_strict_check{\(name)}",
                flags: .invalidEnvoyRequestHeaders
            )
        }
        return nil
    }

    private static func isValid(_ name: HeaderName, _ value: Bytes) -> Bool {
        switch name.known {
        case .envoyRetryOn:
            RetryWords.areKnown(value, RetryPolicy.Conditions.httpWords)
        case .envoyRetryGRPCOn:
            RetryWords.areKnown(value, RetryPolicy.Conditions.grpcWords)
        default:
            DecimalNumber.parse(value) != nil
        }
    }
}

private enum RetryWords {
    static func areKnown(
        _ list: Bytes,
        _ words: [(word: StaticString, condition: RetryPolicy.Conditions)]
    ) -> Bool {
        list.split(separator: UInt8(ascii: ",")).allSatisfy { part in
            let text = String(bytes: Bytes(rebasing: part)).filter { $0 != " " }
            return words.contains { text == $0.word.description }
        }
    }
}
