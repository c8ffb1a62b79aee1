/// Warns of rules about paths where paths have more than one spelling.
enum RBACPathLint {
    static func check(
        _ manager: ConfigObject,
        _ filters: [HTTPFilterConfig],
        normalizesPath: Bool,
        mergesSlashes: Bool
    ) {
        let looksAtPaths = filters.contains { filter in
            guard case .rbac(let config) = filter.kind else { return false }
            return config.rules?.looksAtPaths == true
        }
        guard looksAtPaths else { return }
        if !normalizesPath {
            manager.warning(
                "rules of envoy.filters.http.rbac look at paths, which are not normalized: \"/a/../admin\""
                    + " is not \"/admin\" to them, but may be to the upstream",
                at: "normalize_path"
            )
        } else if !mergesSlashes {
            manager.warning(
                "rules of envoy.filters.http.rbac look at paths, where slashes are not merged: \"//admin\""
                    + " is not \"/admin\" to them, but may be to the upstream",
                at: "merge_slashes"
            )
        }
    }
}

extension RBACRules {
    fileprivate var looksAtPaths: Bool {
        policies.contains { ($0.permissions + $0.principals).contains(where: \.looksAtPaths) }
    }
}

extension RBACCondition {
    fileprivate var looksAtPaths: Bool {
        switch self {
        case .urlPath, .uriTemplate: true
        case .header(let match): match.name == ":path"
        case .all(let members), .anyOf(let members): members.contains(where: \.looksAtPaths)
        case .not(let member): member.looksAtPaths
        default: false
        }
    }
}
