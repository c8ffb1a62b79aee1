import MeshConfig
import MeshNet

/// What the control thread counts of TLS contexts and their secrets: how often they were made anew and
/// when their certificates expire (envoy: `<prefix>.server_ssl_socket_factory.`,
/// `<prefix>.ssl.certificate.<name>.`, `sds.<secret>.`).
package final class TLSContextAccounts {
    private struct Entry {
        let place: ConfigPath
        let slot: TLSContextSlot
        let certificates: StatsScope
        let stats: TLSContextStats
    }

    private struct Secret {
        let attempts: Counter
        let successes: Counter
        let failures: Counter
        let rejections: Counter
    }

    private let stats: WorkerStats
    private var entries: [Entry] = []
    private var secrets: [String: Secret] = [:]

    /// - Parameter stats: the control thread's.
    package init(_ stats: WorkerStats) { self.stats = stats }

    /// - Parameters:
    ///   - prefix: `listener.<address>` or `cluster.<name>`.
    ///   - secretNames: the secrets from files that it is made of.
    package func add(
        _ slot: TLSContextSlot,
        prefix: String,
        isServer: Bool,
        secretNames: [String]
    ) {
        let factory = isServer ? "server_ssl_socket_factory." : "client_ssl_socket_factory."
        let entry = Entry(
            place: slot.place.path,
            slot: slot,
            certificates: StatsScope(stats, "\(prefix).ssl.certificate."),
            stats: TLSContextStats(stats, prefix: "\(prefix).\(factory)")
        )
        if !secretNames.isEmpty { entry.stats.sslContextUpdateBySds.add() }
        entries.append(entry)
        publish(entry)
        for name in secretNames where secrets[name] == nil {
            let secret = secret(name)
            secret.attempts.add()
            secret.successes.add()
        }
    }

    /// Counts what one look at the changed files led to.
    package func count(_ events: [SecretEvent]) {
        var told: Set<String> = []
        for event in events {
            var isUpdated = false
            if case .updated = event.outcome { isUpdated = true }
            for entry in entries where isUpdated && entry.place == event.place.path {
                entry.stats.sslContextUpdateBySds.add()
                publish(entry)
            }
            // Several contexts may share a secret, which was read once.
            for name in event.secrets where told.insert(name).inserted {
                let secret = secret(name)
                secret.attempts.add()
                if isUpdated {
                    secret.successes.add()
                } else {
                    (event.isUnreadable ? secret.failures : secret.rejections).add()
                }
            }
        }
    }

    private func publish(_ entry: Entry) {
        for (name, seconds) in entry.slot.load().expirations {
            entry.certificates.gauge("\(name).expiration_unix_time_seconds")
                .set(UInt64(max(0, seconds)))
        }
    }

    private func secret(_ name: String) -> Secret {
        if let known = secrets[name] { return known }
        let scope = StatsScope(stats, "sds.\(name).")
        scope.keepAtZero(counters: ["init_fetch_timeout", "key_rotation_failed"])
        let secret = Secret(
            attempts: scope.counter("update_attempt"),
            successes: scope.counter("update_success"),
            failures: scope.counter("update_failure"),
            rejections: scope.counter("update_rejected")
        )
        secrets[name] = secret
        return secret
    }
}
