/// How answers of the proxy itself are changed (envoy: LocalReplyConfig).
package struct LocalReplyConfig: Sendable {
    /// Tried in order; the first whose filter matches is applied.
    package private(set) var mappers: [Mapper]
    /// Body of all local replies; a mapper's own wins.
    package private(set) var bodyFormat: SubstitutionFormatConfig?

    /// One rule (envoy: ResponseMapper).
    package struct Mapper: Sendable {
        package let filter: AccessLogFilterConfig
        package let status: Int?
        /// Nil leaves the body as it is.
        package private(set) var body: [UInt8]?
        package let bodySource: DataSource?
        package private(set) var bodyFormatOverride: SubstitutionFormatConfig?
        package let headersToAdd: [HeaderValueOption]

        init(_ object: ConfigObject) {
            if let filter = object.object("filter") {
                self.filter = AccessLogFilterConfig(filter)
            } else {
                object.error("is required", at: "filter")
                filter = AccessLogFilterConfig(ConfigObject.empty(at: object))
            }
            status = object.uint32("status_code").map { Int($0) }
            if let status, !(200..<600).contains(status) {
                object.error("\(status) must be within 200...599", at: "status_code")
            }
            bodySource = object.object("body").map { DataSource($0) }
            body = bodySource?.inlineBytes
            bodyFormatOverride = object.object("body_format_override").map {
                SubstitutionFormatConfig($0)
            }
            headersToAdd = object.objects("headers_to_add").map { HeaderValueOption($0) }
        }

        mutating func loadFiles(_ files: any ConfigFiles) throws(ConfigFileError) {
            if body == nil, let bodySource { body = try bodySource.load(files) }
            bodyFormatOverride = try bodyFormatOverride?.resolved(files)
        }
    }

    package init(_ object: ConfigObject) {
        mappers = object.objects("mappers").map { Mapper($0) }
        bodyFormat = object.object("body_format").map { SubstitutionFormatConfig($0) }
    }

    /// Reads what is named by file or variable. Control thread only.
    mutating func loadFiles(_ files: any ConfigFiles, problems: inout [String]) {
        do throws(ConfigFileError) {
            for at in mappers.indices { try mappers[at].loadFiles(files) }
            bodyFormat = try bodyFormat?.resolved(files)
        } catch {
            problems.append("local_reply_config: \(error)")
        }
    }
}

extension DataSource {
    /// The bytes where they stand in the file itself.
    var inlineBytes: [UInt8]? {
        switch source {
        case .inlineBytes(let bytes): bytes
        case .inlineString(let text): Array(text.utf8)
        case .file, .environment: nil
        }
    }
}
