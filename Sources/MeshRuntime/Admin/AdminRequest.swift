import MeshNet

/// A request to the administration server, taken apart.
package struct AdminRequest: Sendable {
    package let method: String
    /// Without the query.
    package let path: String
    /// In order, percent-decoded; a name without `=` has an empty value.
    package let query: [(name: String, value: String)]
    package let body: [UInt8]
    /// Empty where the request has none.
    package let contentType: String
    /// Empty where the request has none.
    package let accept: String

    package init(
        method: String,
        target: String,
        body: [UInt8] = [],
        contentType: String = "",
        accept: String = ""
    ) {
        self.method = method
        self.body = body
        self.contentType = contentType
        self.accept = accept
        let halves = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        path = String(halves[0])
        query =
            halves.count < 2
            ? []
            : halves[1].split(separator: "&").map { pair in
                let parts = pair.split(
                    separator: "=",
                    maxSplits: 1,
                    omittingEmptySubsequences: false
                )
                return (
                    Self.decoded(parts[0]), parts.count == 2 ? Self.decoded(parts[1]) : ""
                )
            }
    }

    /// The first value of a parameter.
    package subscript(name: String) -> String? { query.first { $0.name == name }?.value }

    package func has(_ name: String) -> Bool { self[name] != nil }

    /// Whether the body holds parameters, as a query does.
    var isForm: Bool { contentType.hasPrefix("application/x-www-form-urlencoded") }

    private static func decoded(_ text: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%"), rest.count >= 2,
                let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
            {
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte == UInt8(ascii: "+") ? UInt8(ascii: " ") : byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// What the administration server answers. Owns its body.
package struct AdminResponse: ~Copyable {
    package var status: Int
    package var contentType: StaticString
    package var body: ByteBuffer

    package static let text: StaticString = "text/plain; charset=UTF-8"
    package static let json: StaticString = "application/json"
    package static let html: StaticString = "text/html; charset=UTF-8"

    package init(
        status: Int = 200,
        contentType: StaticString = Self.text,
        body: consuming ByteBuffer
    ) {
        self.status = status
        self.contentType = contentType
        self.body = body
    }

    package init(status: Int = 200, contentType: StaticString = Self.text, _ text: String) {
        self.status = status
        self.contentType = contentType
        body = ByteBuffer()
        body.append(text)
    }

    /// A JSON body that `write` makes, laid out as Envoy's, one space per level.
    package static func json(_ write: (inout JSONWriter) -> Void) -> AdminResponse {
        var json = JSONWriter(indentation: 1)
        write(&json)
        var body = json.finish()
        body.append(byte: UInt8(ascii: "\n"))
        return AdminResponse(contentType: Self.json, body: body)
    }

    /// Fields beside `content-type`, as Envoy sends them.
    package static let headers: [(name: StaticString, value: StaticString)] = [
        ("cache-control", "no-cache, max-age=0"),
        ("x-content-type-options", "nosniff"),
    ]
}
