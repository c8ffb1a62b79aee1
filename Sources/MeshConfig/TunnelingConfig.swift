/// How a `tcp_proxy` wraps what it carries in HTTP (envoy: TcpProxy.TunnelingConfig).
package struct TunnelingConfig: Sendable {
    /// `:authority` of the request; text with format operators (`%REQUESTED_SERVER_NAME%:443`).
    package let hostname: FormatStringConfig
    /// POST instead of CONNECT.
    package let usesPost: Bool
    /// Of the POST; begins with a slash.
    package let postPath: String
    package let headersToAdd: [HeaderValueOption]
    /// Whether logs may ask for the response's head and trailers:
    /// `%FILTER_STATE(envoy.tcp_proxy.propagate_response_headers:TYPED)%` and `…_trailers`.
    package let propagatesResponseHeaders: Bool
    package let propagatesResponseTrailers: Bool

    init(_ object: ConfigObject) {
        hostname = .decode(object.requiredString("hostname"), in: object, at: "hostname")
        usesPost = object.bool("use_post", default: false)
        let path = object.string("post_path", default: "")
        postPath = path.isEmpty ? "/" : path
        if !path.isEmpty, !usesPost { object.error("needs use_post", at: "post_path") }
        if !postPath.hasPrefix("/") || postPath.utf8.contains(where: { $0 <= 0x20 || $0 >= 0x7F }) {
            object.error(
                "is no path: it begins with a slash and has visible ASCII only",
                at: "post_path"
            )
        }
        headersToAdd = object.objects("headers_to_add").map(HeaderValueOption.init)
        propagatesResponseHeaders = object.bool("propagate_response_headers", default: false)
        propagatesResponseTrailers = object.bool("propagate_response_trailers", default: false)
        let noRequestID = "tunnels have no request id of their own; use headers_to_add"
        object.unsupported("request_id_extension", noRequestID)
        object.inert("request_id_header", "request_id_metadata_key")
    }
}
