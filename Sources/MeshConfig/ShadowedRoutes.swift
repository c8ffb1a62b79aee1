/// Finds routes that are never reached, because an earlier one takes all their requests.
enum ShadowedRoutes {
    static func check(_ table: RouteConfig, _ diagnostics: ConfigDiagnostics) {
        for host in table.virtualHosts {
            for (index, route) in host.routes.enumerated() {
                guard
                    let earlier = host.routes[..<index].first(where: {
                        covers($0.match, route.match)
                    })
                else { continue }
                let label = earlier.name.isEmpty ? "" : " \(ConfigNode.quoted(earlier.name))"
                diagnostics.warning(
                    "this route is never reached: the route\(label) at \(earlier.position) takes"
                        + " all its requests",
                    path: route.path,
                    at: route.position
                )
            }
        }
    }

    /// Whether every request that `later` matches is matched by `earlier`. May say no where it is so.
    static func covers(_ earlier: RouteMatchConfig, _ later: RouteMatchConfig) -> Bool {
        earlier.runtimeFraction == nil && earlier.cookies.isEmpty
            && (!earlier.isGRPCOnly || later.isGRPCOnly)
            && (earlier.certificatePresented == nil
                || earlier.certificatePresented == later.certificatePresented)
            && (earlier.certificateValidated == nil
                || earlier.certificateValidated == later.certificateValidated)
            && earlier.dynamicMetadata.isEmpty && earlier.filterState.isEmpty
            && Set(earlier.headers).isSubset(of: later.headers)
            && Set(earlier.queryParameters).isSubset(of: later.queryParameters)
            && coversPath(earlier, later)
    }

    private static func coversPath(_ earlier: RouteMatchConfig, _ later: RouteMatchConfig) -> Bool {
        if case .regex(let pattern) = earlier.pathRule {
            if case .regex(let other) = later.pathRule { return pattern == other }
            return false
        }
        guard let (kind, path) = fixedPath(earlier), let (laterKind, laterPath) = fixedPath(later)
        else {
            // Only a prefix that every path has covers a regex.
            if case .prefix("/") = earlier.pathRule, case .regex = later.pathRule { return true }
            if case .connect = earlier.pathRule, case .connect = later.pathRule { return true }
            return false
        }
        if earlier.isCaseSensitive, !later.isCaseSensitive, path != "/", path != "" { return false }
        let folds = !earlier.isCaseSensitive
        let outer = folds ? path.lowercased() : path
        let inner = folds ? laterPath.lowercased() : laterPath
        switch kind {
        case .prefix: return inner.hasPrefix(outer)
        case .separatedPrefix:
            return inner.hasPrefix(outer + "/") || (inner == outer && laterKind != .prefix)
        case .path: return laterKind == .path && inner == outer
        }
    }

    private enum Kind { case prefix, separatedPrefix, path }

    private static func fixedPath(_ match: RouteMatchConfig) -> (Kind, String)? {
        switch match.pathRule {
        case .prefix(let text): (.prefix, text)
        case .separatedPrefix(let text): (.separatedPrefix, text)
        case .path(let text): (.path, text)
        case .regex, .template, .connect: nil
        }
    }
}
