/// Verdicts of one RBAC filter (envoy: `http.<stat_prefix>.rbac.`, `<stat_prefix>rbac.` for the
/// network filter).
package struct RBACStats {
    package let allowed: Counter
    package let denied: Counter
    package let shadowAllowed: Counter
    package let shadowDenied: Counter

    /// `prefix` ends in a dot, e.g. `http.ingress.`. Envoy ends `rules_stat_prefix` and
    /// `shadow_rules_stat_prefix` in one more dot.
    package init(
        _ stats: WorkerStats,
        prefix: String,
        rulesPrefix: String = "",
        shadowPrefix: String = ""
    ) {
        let rules = StatsScope(stats, "\(prefix)rbac.\(Self.dotted(rulesPrefix))")
        let shadow = StatsScope(stats, "\(prefix)rbac.\(Self.dotted(shadowPrefix))")
        allowed = rules.counter("allowed")
        denied = rules.counter("denied")
        shadowAllowed = shadow.counter("shadow_allowed")
        shadowDenied = shadow.counter("shadow_denied")
    }

    private static func dotted(_ prefix: String) -> String {
        prefix.isEmpty || prefix.hasSuffix(".") ? prefix : prefix + "."
    }
}
