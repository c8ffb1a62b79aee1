/// One header to add or replace (envoy: core.v3.HeaderValueOption).
package struct HeaderValueOption: Sendable {
    /// What to do where the header is there already (envoy: HeaderAppendAction).
    package enum Action: Int, ConfigEnum {
        case appendIfExistsOrAdd
        case addIfAbsent
        case overwriteIfExistsOrAdd
        case overwriteIfExists
    }

    /// Lower case; a valid header name that is neither a pseudo-header nor Host.
    package let name: String
    /// Text with format operators (`%DOWNSTREAM_REMOTE_ADDRESS%`).
    package let value: FormatStringConfig
    package let action: Action
    /// Whether the header is written although its value came out empty.
    package let keepEmptyValue: Bool

    package init(_ object: ConfigObject) {
        let header = object.object("header")
        if header == nil { object.error("is required", at: "header") }
        let key = header?.requiredString("key") ?? ""
        if let header, !key.isEmpty, let problem = HeaderNameRule.problem(mutating: key) {
            header.error(problem, at: "key")
        }
        name = key.lowercased()

        var text = header?.string("value", default: "") ?? ""
        if let raw = header?.bytes("raw_value") {
            if !text.isEmpty { header?.error("value and raw_value are both set", at: "raw_value") }
            text = String(decoding: raw, as: UTF8.self)
        }
        if text.utf8.contains(where: { $0 == 0 || $0 == 10 || $0 == 13 }) {
            header?.error("a header value must not contain NUL, CR or LF", at: "value")
        }
        value = FormatStringConfig(headerValue: text, at: header ?? object, key: "value")

        if object.present("append", "append_action").count == 2 {
            object.error("append and append_action are both set; use append_action", at: "append")
        }
        if let append = object.bool("append") {
            object.warning("deprecated; use append_action", at: "append")
            action = append ? .appendIfExistsOrAdd : .overwriteIfExistsOrAdd
        } else {
            action = object.enumeration("append_action", Action.self) ?? .appendIfExistsOrAdd
        }
        keepEmptyValue = object.bool("keep_empty_value", default: false)
    }
}

/// Header mutations of one level: route configuration, virtual host, route or weighted cluster
/// (envoy: request_headers_to_add, request_headers_to_remove and the same two of the response).
package struct HeaderMutationsConfig: Sendable {
    package let requestHeadersToAdd: [HeaderValueOption]
    /// Lower case.
    package let requestHeadersToRemove: [String]
    package let responseHeadersToAdd: [HeaderValueOption]
    package let responseHeadersToRemove: [String]

    package init(_ object: ConfigObject) {
        requestHeadersToAdd = object.objects("request_headers_to_add").map(HeaderValueOption.init)
        requestHeadersToRemove = Self.names(object, "request_headers_to_remove")
        responseHeadersToAdd = object.objects("response_headers_to_add").map(HeaderValueOption.init)
        responseHeadersToRemove = Self.names(object, "response_headers_to_remove")
        for (field, count) in [
            ("request_headers_to_add", requestHeadersToAdd.count),
            ("response_headers_to_add", responseHeadersToAdd.count),
        ] where count > Self.additionsMax {
            object.error(
                "has \(count) entries; at most \(Self.additionsMax) are allowed",
                at: field
            )
        }
    }

    package var isEmpty: Bool {
        requestHeadersToAdd.isEmpty && requestHeadersToRemove.isEmpty
            && responseHeadersToAdd.isEmpty && responseHeadersToRemove.isEmpty
    }

    /// Envoy's own limit for each of the lists.
    private static let additionsMax = 1000

    private static func names(_ object: ConfigObject, _ field: String) -> [String] {
        object.strings(field).map { name in
            if let problem = HeaderNameRule.problem(mutating: name) {
                object.error("\"\(name)\": \(problem)", at: field)
            }
            return name.lowercased()
        }
    }
}
