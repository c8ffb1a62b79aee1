/// Which requests a route is for (envoy: route.v3.RouteMatch). All conditions must hold.
package struct RouteMatchConfig: Sendable {
    package enum PathRule: Sendable {
        case prefix(String)
        case path(String)
        /// The prefix, and after it either nothing or a slash.
        case separatedPrefix(String)
        /// The whole path without its query.
        case regex(Regex)
        case template(URITemplate)
        /// CONNECT requests.
        case connect
    }

    package let pathRule: PathRule
    /// For all rules but the regex and the template, which have their own way.
    package let isCaseSensitive: Bool
    package let runtimeFraction: RuntimeFractionalPercent?
    package let headers: [HeaderMatchConfig]
    package let queryParameters: [QueryParameterMatchConfig]
    package let cookies: [CookieMatchConfig]
    package let isGRPCOnly: Bool
    /// Whether a client certificate must (not) have been presented, and be valid.
    package let certificatePresented: Bool?
    package let certificateValidated: Bool?
    package let dynamicMetadata: [MetadataMatchConfig]
    package let filterState: [FilterStateMatchConfig]

    /// Every request; stands in where a match is missing and an error has been reported.
    static let everything = RouteMatchConfig()

    private init() {
        pathRule = .prefix("/")
        isCaseSensitive = true
        runtimeFraction = nil
        headers = []
        queryParameters = []
        cookies = []
        isGRPCOnly = false
        certificatePresented = nil
        certificateValidated = nil
        dynamicMetadata = []
        filterState = []
    }

    package init(_ object: ConfigObject) {
        pathRule = Self.pathRule(object)
        isCaseSensitive = object.bool("case_sensitive", default: true)
        runtimeFraction = object.object("runtime_fraction").map { RuntimeFractionalPercent($0) }
        headers = object.objects("headers").map { HeaderMatchConfig($0) }
        queryParameters = object.objects("query_parameters").map { QueryParameterMatchConfig($0) }
        cookies = object.objects("cookies").map { CookieMatchConfig($0) }
        isGRPCOnly = object.object("grpc") != nil
        let tls = object.object("tls_context")
        certificatePresented = tls?.bool("presented")
        certificateValidated = tls?.bool("validated")
        dynamicMetadata = object.objects("dynamic_metadata").map { MetadataMatchConfig($0) }
        filterState = object.objects("filter_state").map { FilterStateMatchConfig($0) }
    }

    private static func pathRule(_ object: ConfigObject) -> PathRule {
        let field = object.exactlyOne(
            of: "prefix",
            "path",
            "safe_regex",
            "connect_matcher",
            "path_separated_prefix",
            "path_match_policy"
        )
        switch field {
        case "prefix": return .prefix(object.string("prefix", default: ""))
        case "path":
            let path = object.string("path", default: "")
            if path.contains("?") || path.contains("#") {
                object.error("a path holds neither query nor fragment", at: "path")
            }
            return .path(path)
        case "path_separated_prefix":
            let prefix = object.string("path_separated_prefix", default: "")
            if !prefix.hasPrefix("/") || prefix.count < 2 || prefix.hasSuffix("/")
                || prefix.contains("?") || prefix.contains("#")
            {
                object.error(
                    "\"\(prefix)\" must begin with a slash, not end with one, and hold neither"
                        + " ? nor #",
                    at: "path_separated_prefix"
                )
            }
            return .separatedPrefix(prefix)
        case "safe_regex":
            return object.object("safe_regex").flatMap { Regex.decode($0) }.map { .regex($0) }
                ?? .prefix("/")
        case "connect_matcher":
            _ = object.object("connect_matcher")
            return .connect
        case "path_match_policy":
            return object.object("path_match_policy").flatMap { template($0) } ?? .prefix("/")
        default: return .prefix("/")
        }
    }

    private static func template(_ object: ConfigObject) -> PathRule? {
        _ = object.string("name")
        guard let (type, config) = object.typedConfig() else { return nil }
        guard type == "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig" else {
            object.error("path match policy \"\(type)\" is not implemented; only uri_template is")
            return nil
        }
        let text = config.requiredString("path_template")
        do {
            return .template(try URITemplate(text))
        } catch {
            config.error("\"\(text)\": \(error)", at: "path_template")
            return nil
        }
    }
}

/// A condition on one cookie of the request (envoy: route.v3.CookieMatcher).
package struct CookieMatchConfig: Sendable {
    package let name: String
    package let match: StringMatch
    package let isInverted: Bool

    package init(_ object: ConfigObject) {
        name = object.requiredString("name")
        if let match = object.object("string_match") {
            self.match = StringMatch(match)
        } else {
            object.error("is required", at: "string_match")
            match = .exact("")
        }
        isInverted = object.bool("invert_match", default: false)
    }
}
