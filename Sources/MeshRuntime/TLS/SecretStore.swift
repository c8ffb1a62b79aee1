import MeshConfig
import MeshNet

/// What became of a changed secret.
package struct SecretEvent: Sendable {
    package enum Outcome: Sendable, Hashable {
        /// New connections use the new context. The strings are warnings.
        case updated([String])
        /// Nothing changed for connections; why.
        case refused([String])
    }

    /// The transport socket.
    package let place: ConfigPlace
    /// The secrets from files that it uses.
    package let secrets: [String]
    package let outcome: Outcome
    /// Already the secret's file could not be read, or is no list of secrets.
    package let isUnreadable: Bool

    /// For the log, one line each.
    package var lines: [String] {
        let names = secrets.map { "\"\($0)\"" }.joined(separator: ", ")
        switch outcome {
        case .updated(let warnings):
            return ["secret updated: \(names): new connections of \(place.path) use it"]
                + warnings.map { "secret warning: \(names): \($0)" }
        case .refused(let problems):
            return problems.map {
                "secret refused: \(names): \($0); \(place.path) keeps the last good one"
            }
        }
    }
}

/// Makes TLS contexts from configuration, secrets and files, and makes them anew when files change.
///
/// It lives on the control thread and knows neither sockets nor inotify: whoever watches the files
/// (``FileWatcher``) calls ``refresh()``.
package final class SecretStore {
    private enum Kind {
        case downstream(DownstreamTLSConfig, scope: String)
        case upstream(UpstreamTLSConfig)
    }

    private struct Socket {
        var kind: Kind
        var slot: TLSContextSlot
        /// Digest of the settings that the current context was made from.
        var digest: [UInt8]
        /// Of the last attempt, so that the same problem is told once.
        var lastProblems: [String] = []
        var watched: Set<WatchedPath>
        var secrets: [String]
    }

    private let files: any ConfigFiles
    private let staticSecrets: [String: SecretConfig]
    /// Secrets that were not understood: what is made of them says nothing.
    private let brokenSecrets: Set<String>
    private var sockets: [Socket] = []

    /// Secrets with equal names are reported.
    package init(
        _ secrets: [SecretConfig],
        files: any ConfigFiles,
        diagnostics: ConfigDiagnostics
    ) {
        self.files = files
        var byName: [String: SecretConfig] = [:]
        for secret in secrets where byName.updateValue(secret, forKey: secret.name) != nil {
            diagnostics.error(
                "there is another secret \"\(secret.name)\"",
                path: secret.place.path,
                at: secret.place.position
            )
        }
        staticSecrets = byName
        brokenSecrets = Set(
            secrets.filter { diagnostics.hasErrors(under: $0.place.path) }.map(\.name)
        )
    }

    /// The slot for a listener's transport socket; nil after errors were reported. `scope` tells
    /// contexts apart among which sessions must not be resumed: the filter chain's server names.
    package func slot(
        _ config: DownstreamTLSConfig,
        scope: String = "",
        diagnostics: ConfigDiagnostics
    ) -> TLSContextSlot? {
        add(.downstream(config, scope: scope), config.place, diagnostics)
    }

    /// The slot for a cluster's transport socket; nil after errors were reported.
    package func slot(
        _ config: UpstreamTLSConfig,
        diagnostics: ConfigDiagnostics
    ) -> TLSContextSlot? {
        add(.upstream(config), config.place, diagnostics)
    }

    /// What is to be watched. Changes with every ``refresh()``.
    package var watchedPaths: Set<WatchedPath> {
        sockets.reduce(into: []) { $0.formUnion($1.watched) }
    }

    /// Reads everything that came from watched files again. Contexts are replaced only where
    /// something changed and everything is right; else the last good one stays.
    package func refresh() -> [SecretEvent] {
        sockets.indices.compactMap { refresh(&sockets[$0]) }
    }

    /// Makes new keys for session tickets. To be called a few times a day.
    package func rotateTicketKeys() {
        for socket in sockets { socket.slot.load().rotateTicketKeys() }
    }

    /// The secrets from files that a transport socket uses.
    package func secretNames(of slot: TLSContextSlot) -> [String] {
        sockets.first { $0.slot === slot }?.secrets ?? []
    }

    /// The current contexts in the order of configuration.
    package var slots: [TLSContextSlot] { sockets.map(\.slot) }

    // MARK: Making contexts

    private struct Attempt {
        var settings: TLSSettings
        var assembler: TLSSettingsAssembler
    }

    private func assemble(_ kind: Kind, _ place: ConfigPlace) -> Attempt {
        var assembler = TLSSettingsAssembler(
            place: place,
            staticSecrets: staticSecrets,
            files: files
        )
        let settings =
            switch kind {
            case .downstream(let config, let scope): assembler.settings(config, scope: scope)
            case .upstream(let config): assembler.settings(config)
            }
        return Attempt(settings: settings, assembler: assembler)
    }

    private func context(_ attempt: inout Attempt) -> TLSContext? {
        do {
            let context = try TLSContext(attempt.settings)
            return attempt.assembler.problems.isEmpty ? context : nil
        } catch {
            // Data that could not be loaded is missing below too: told once is enough.
            if attempt.assembler.problems.isEmpty { attempt.assembler.blame(error) }
            return nil
        }
    }

    private func add(
        _ kind: Kind,
        _ place: ConfigPlace,
        _ diagnostics: ConfigDiagnostics
    ) -> TLSContextSlot? {
        // Its files would be judged by what it does not say.
        if diagnostics.hasErrors(under: place.path) { return nil }
        var attempt = assemble(kind, place)
        let isUnderstood = brokenSecrets.isDisjoint(with: attempt.assembler.staticSecretNames)
        guard isUnderstood, let context = context(&attempt) else {
            for problem in attempt.assembler.problems {
                diagnostics.error(problem.message, path: problem.path, at: problem.position)
            }
            return nil
        }
        for problem in warnings(context, attempt) {
            diagnostics.warning(problem.message, path: problem.path, at: problem.position)
        }
        let slot = TLSContextSlot(place, context)
        sockets.append(
            Socket(
                kind: kind,
                slot: slot,
                digest: attempt.settings.digest,
                watched: attempt.assembler.watched,
                secrets: attempt.assembler.fileSecrets.sorted()
            )
        )
        return slot
    }

    private func warnings(_ context: TLSContext, _ attempt: Attempt) -> [SecretProblem] {
        var blamer = attempt.assembler
        for warning in context.warnings { blamer.blame(warning) }
        return Array(blamer.problems.dropFirst(attempt.assembler.problems.count))
    }

    private func refresh(_ socket: inout Socket) -> SecretEvent? {
        if socket.watched.isEmpty { return nil }
        var attempt = assemble(socket.kind, socket.slot.place)
        // What was watched before stays so until the new state is whole.
        socket.watched.formUnion(attempt.assembler.watched)
        if attempt.assembler.problems.isEmpty, attempt.settings.digest == socket.digest {
            socket.lastProblems = []
            socket.watched = attempt.assembler.watched
            return nil
        }
        guard let context = context(&attempt) else {
            let problems = attempt.assembler.problems.map(\.message)
            if problems == socket.lastProblems { return nil }
            socket.lastProblems = problems
            return SecretEvent(
                place: socket.slot.place,
                secrets: socket.secrets,
                outcome: .refused(problems),
                isUnreadable: attempt.assembler.hasUnreadableSecret
            )
        }
        socket.slot.store(context)
        socket.digest = attempt.settings.digest
        socket.lastProblems = []
        socket.watched = attempt.assembler.watched
        return SecretEvent(
            place: socket.slot.place,
            secrets: socket.secrets,
            outcome: .updated(warnings(context, attempt).map(\.message)),
            isUnreadable: false
        )
    }
}
