import MeshHTTP
import MeshNet

/// What of gRPC is seen in HTTP.
package enum GRPC {
    /// `application/grpc`, with or without a suffix and parameters.
    package static func isRequest(_ head: HeaderMap) -> Bool {
        guard let type = head[.contentType], type.count >= 16,
            Bytes(rebasing: type[..<16]).equals("application/grpc")
        else { return false }
        return type.count == 16 || type[16] == UInt8(ascii: "+")
    }

    /// Whether gRPC's messages are what this response carries (envoy: Grpc::Common::isGrpcResponseHeaders).
    static func isResponse(_ head: HeaderMap, endStream: Bool) -> Bool {
        endStream
            ? head.contains(.grpcStatus) : HTTPStream.status(of: head) == 200 && isRequest(head)
    }

    /// gRPC or gRPC-Web, of any kind.
    static func hasFamilyType(_ head: HeaderMap) -> Bool {
        guard let type = head[.contentType], type.count >= 16 else { return false }
        return Bytes(rebasing: type[..<16]).equals("application/grpc")
    }

    /// `grpc-timeout`: up to eight digits and a unit; nil where it is absent or malformed.
    package static func timeout(_ head: HeaderMap) -> Nanoseconds? {
        guard let text = head[.grpcTimeout], (2...9).contains(text.count) else { return nil }
        var value: Int64 = 0
        for byte in text.dropLast() {
            let digit = byte &- 0x30
            guard digit < 10 else { return nil }
            value = value * 10 + Int64(digit)
        }
        let unit: Int64
        switch text[text.count - 1] {
        case UInt8(ascii: "H"): unit = 3_600_000_000_000
        case UInt8(ascii: "M"): unit = 60_000_000_000
        case UInt8(ascii: "S"): unit = 1_000_000_000
        case UInt8(ascii: "m"): unit = 1_000_000
        case UInt8(ascii: "u"): unit = 1_000
        case UInt8(ascii: "n"): unit = 1
        default: return nil
        }
        let (total, overflow) = value.multipliedReportingOverflow(by: unit)
        return Nanoseconds(overflow ? .max : total)
    }

    /// At most eight digits: the unit grows until the number fits.
    static func setTimeout(_ head: HeaderMap, milliseconds: Int64) {
        var value = milliseconds
        var unit = "m"
        for (next, factor) in [("S", Int64(1000)), ("M", 60), ("H", 60)] where value > 99_999_999 {
            value /= factor
            unit = next
        }
        head.set(.grpcTimeout, "\(min(value, 99_999_999))\(unit)")
    }

    /// What a client makes of an HTTP status (envoy: Grpc::Utility::httpToGrpcStatus).
    static func status(ofHTTP status: Int) -> Int {
        switch status {
        case 400: 13
        case 401: 16
        case 403: 7
        case 404: 12
        case 429, 502, 503, 504: 14
        default: 2
        }
    }

    /// As in `grpc-message`: everything outside printable ASCII, and `%`, as `%XX`.
    static func percentEncoded(_ text: Bytes) -> String {
        let digits = Array("0123456789ABCDEF")
        return text.reduce(into: "") { result, byte in
            if (0x20...0x7E).contains(byte), byte != UInt8(ascii: "%") {
                result.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                result += "%\(digits[Int(byte >> 4)])\(digits[Int(byte & 15)])"
            }
        }
    }
}
