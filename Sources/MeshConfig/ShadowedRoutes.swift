/// Finds routes that are never reached, because an earlier one takes all their requests.
///
/// It may miss some, but never accuses wrongly. Routes are looked up by path, so that tables with
/// thousands of routes are checked in no time.
enum ShadowedRoutes {
    static func check(_ table: RouteConfig, _ diagnostics: ConfigDiagnostics) {
        for host in table.virtualHosts {
            var earlier = EarlierRoutes()
            for route in host.routes {
                if let other = earlier.first(covering: route.match).map({ host.routes[$0] }) {
                    let label = other.name.isEmpty ? "" : " \(ConfigNode.quoted(other.name))"
                    diagnostics.warning(
                        "this route is never reached: the route\(label) at \(other.position) takes"
                            + " all its requests",
                        path: route.path,
                        at: route.position
                    )
                }
                earlier.append(route.match)
            }
        }
    }

    /// Whether every condition of `earlier` beyond the path is one of `later` too.
    fileprivate static func conditions(
        of earlier: RouteMatchConfig,
        cover later: RouteMatchConfig
    ) -> Bool {
        earlier.runtimeFraction == nil && earlier.cookies.isEmpty
            && earlier.dynamicMetadata.isEmpty && earlier.filterState.isEmpty
            && (!earlier.isGRPCOnly || later.isGRPCOnly)
            && (earlier.certificatePresented == nil
                || earlier.certificatePresented == later.certificatePresented)
            && (earlier.certificateValidated == nil
                || earlier.certificateValidated == later.certificateValidated)
            && earlier.headers.allSatisfy { later.headers.contains($0) }
            && earlier.queryParameters.allSatisfy { later.queryParameters.contains($0) }
    }
}

/// The routes before one, by path.
private struct EarlierRoutes {
    private enum Kind: Hashable {
        case prefix, separatedPrefix, path, regex, template, connect

        /// Compared with the path as it stands, by letter or without regard to case.
        var isFixed: Bool {
            switch self {
            case .prefix, .separatedPrefix, .path: true
            case .regex, .template, .connect: false
            }
        }
    }

    private struct Key: Hashable {
        let kind: Kind
        /// The text is lower case, and stands for all cases.
        let folds: Bool
        let text: ArraySlice<UInt8>
    }

    /// Routes of one key that are looked at; more differ in their conditions only.
    private static let perKey = 32

    private var matches: [RouteMatchConfig] = []
    private var indices: [Key: [Int]] = [:]
    private var prefixLengths: Set<Int> = []

    mutating func append(_ match: RouteMatchConfig) {
        let (kind, text) = Self.path(of: match)
        let folds = !match.isCaseSensitive && kind.isFixed
        let bytes = Array((folds ? text.lowercased() : text).utf8)
        if kind == .prefix || kind == .separatedPrefix { prefixLengths.insert(bytes.count) }
        let key = Key(kind: kind, folds: folds, text: bytes[...])
        if indices[key, default: []].count < Self.perKey {
            indices[key, default: []].append(matches.count)
        }
        matches.append(match)
    }

    /// The first route that matches whatever `match` does.
    func first(covering match: RouteMatchConfig) -> Int? {
        let (kind, text) = Self.path(of: match)
        var found: Int?
        func look(_ key: Key) {
            guard let candidates = indices[key] else { return }
            let first = candidates.first {
                ShadowedRoutes.conditions(of: matches[$0], cover: match)
            }
            if let first, first < found ?? .max { found = first }
        }
        for folds in [false, true] {
            let bytes = Array((folds ? text.lowercased() : text).utf8)
            switch kind {
            case .regex, .template, .connect:
                look(Key(kind: kind, folds: false, text: bytes[...]))
                // Of prefixes only one that every path has covers a pattern.
                if kind != .connect {
                    look(Key(kind: .prefix, folds: folds, text: [UInt8(ascii: "/")]))
                }
            case .prefix, .separatedPrefix, .path:
                // One spelling does not cover all of them; "/" has just one.
                let limit = folds || match.isCaseSensitive ? bytes.count : min(1, bytes.count)
                if kind == .path, limit == bytes.count {
                    look(Key(kind: .path, folds: folds, text: bytes[...]))
                }
                for length in prefixLengths where length <= limit {
                    look(Key(kind: .prefix, folds: folds, text: bytes[..<length]))
                    let ends = length == bytes.count
                    if ends ? kind != .prefix : bytes[length] == UInt8(ascii: "/") {
                        look(Key(kind: .separatedPrefix, folds: folds, text: bytes[..<length]))
                    }
                }
            }
        }
        return found
    }

    private static func path(of match: RouteMatchConfig) -> (Kind, String) {
        switch match.pathRule {
        case .prefix(let text): (.prefix, text)
        case .separatedPrefix(let text): (.separatedPrefix, text)
        case .path(let text): (.path, text)
        case .regex(let regex): (.regex, regex.pattern)
        case .template(let template): (.template, template.template)
        case .connect: (.connect, "")
        }
    }
}
