/// An answer that sends the client elsewhere (envoy: route.v3.RedirectAction).
package struct RedirectConfig: Sendable {
    package enum PathRule: Sendable {
        /// The new path, with its own query if it has one.
        case path(String)
        /// Replaces what the route's path rule matched.
        case prefix(String)
        case regex(RegexSubstitution)
    }

    package enum ResponseCode: Int, ConfigEnum {
        case movedPermanently
        case found
        case seeOther
        case temporaryRedirect
        case permanentRedirect

        package var status: Int {
            switch self {
            case .movedPermanently: 301
            case .found: 302
            case .seeOther: 303
            case .temporaryRedirect: 307
            case .permanentRedirect: 308
            }
        }
    }

    /// `https` for `https_redirect`; nil keeps the request's.
    package let scheme: String?
    package let host: String?
    package let port: UInt16?
    package let pathRule: PathRule?
    package let stripsQuery: Bool
    package let code: ResponseCode

    /// Stands in where an error has been reported.
    static let none = RedirectConfig()

    private init() {
        scheme = nil
        host = nil
        port = nil
        pathRule = nil
        stripsQuery = false
        code = .movedPermanently
    }

    package init(_ object: ConfigObject) {
        object.unsupported("path_rewrite", "use path_redirect or regex_rewrite")
        switch object.atMostOne(of: "https_redirect", "scheme_redirect") {
        case "https_redirect":
            scheme = object.bool("https_redirect", default: false) ? "https" : nil
        case "scheme_redirect":
            let text = object.string("scheme_redirect", default: "")
            scheme = text.isEmpty ? nil : text
        default: scheme = nil
        }
        let host = object.string("host_redirect", default: "")
        self.host = host.isEmpty ? nil : host
        let port = object.uint32("port_redirect", default: 0)
        if port > 65_535 { object.error("\(port) is not a port", at: "port_redirect") }
        self.port = port == 0 ? nil : UInt16(truncatingIfNeeded: port)
        switch object.atMostOne(
            of: "path_redirect",
            "prefix_rewrite",
            "regex_rewrite",
            "path_rewrite"
        ) {
        case "path_redirect":
            let path = object.string("path_redirect", default: "")
            pathRule = path.isEmpty ? nil : .path(path)
        case "prefix_rewrite":
            let prefix = object.string("prefix_rewrite", default: "")
            pathRule = prefix.isEmpty ? nil : .prefix(prefix)
        case "regex_rewrite":
            pathRule = object.object("regex_rewrite").map { .regex(RegexSubstitution($0)) }
        default: pathRule = nil
        }
        stripsQuery = object.bool("strip_query", default: false)
        code = object.enumeration("response_code", ResponseCode.self) ?? .movedPermanently
        for field in ["host_redirect", "path_redirect", "prefix_rewrite", "scheme_redirect"] {
            let text = object.string(field, default: "")
            if text.utf8.contains(where: { $0 == 0 || $0 == 10 || $0 == 13 }) {
                object.error("must not contain NUL, CR or LF", at: field)
            }
        }
    }
}

/// A fixed answer (envoy: route.v3.DirectResponseAction).
package struct DirectResponseConfig: Sendable {
    package let status: Int
    /// Empty until ``loadFiles(_:subject:bytesMax:problems:)`` where it is a file.
    package private(set) var body: [UInt8]
    package let bodySource: DataSource?
    /// Where set, makes the body; `%LOCAL_REPLY_BODY%` in it is ``body``.
    package private(set) var bodyFormat: SubstitutionFormatConfig?

    /// Stands in where an error has been reported.
    static let none = DirectResponseConfig()

    private init() {
        status = 500
        body = []
        bodySource = nil
        bodyFormat = nil
    }

    package init(_ object: ConfigObject) {
        status = Int(object.uint32("status", default: 0))
        if !(200..<600).contains(status) {
            object.error("\(status) must be within 200...599", at: "status")
        }
        bodySource = object.object("body").map { DataSource($0) }
        body = bodySource?.inlineBytes ?? []
        bodyFormat = object.object("body_format").map { SubstitutionFormatConfig($0) }
    }

    mutating func loadFiles(
        _ files: any ConfigFiles,
        subject: String,
        bytesMax: Int,
        problems: inout [String]
    ) {
        do throws(ConfigFileError) {
            bodyFormat = try bodyFormat?.resolved(files)
            guard let bodySource, bodySource.inlineBytes == nil else { return }
            body = try bodySource.load(files)
            if body.count > bytesMax {
                problems.append(
                    "\(subject): the body has \(body.count) bytes;"
                        + " max_direct_response_body_size_bytes allows \(bytesMax)"
                )
            }
        } catch {
            problems.append("\(subject): \(error)")
        }
    }
}
