import MeshConfig
import MeshNet
import MeshRuntime

/// Keeps a certificate for every wanted identity, and the revocation lists: makes or reads them, replaces
/// them in time, and publishes each new state whole.
///
/// Control thread. It works in slices, so that many identities do not hold up what else happens there. What
/// goes wrong with one identity leaves its old certificate in place, is told once, and is tried again,
/// less and less often.
package final class IdentityStore {
    private let loop: EventLoop
    private let log: Log
    private let provider: any CredentialsProvider
    private let revocation: RevocationFile
    private let options: Options
    private let publish: (IdentitySnapshot) -> Void
    private var watcher: FileWatcher?
    private var timer = TimerID.none

    package struct Options: Sendable {
        /// `TLS12_ENABLED`.
        package var allowsTLS12 = false
        /// For tests without a file system that tells of changes.
        package var watchesFiles = true

        package init() {}
    }

    private struct Entry {
        var schedule = RenewalSchedule()
        /// Of what the credentials were made from.
        var digest: [UInt8] = []
        var isQueued = false
    }

    private var entries: [SPIFFEID: Entry] = [:]
    private var queue: [SPIFFEID] = []
    private var snapshot = IdentitySnapshot()
    private var isDirty = false
    private var isDeferred = false
    private var lastPublished: Instant

    /// Certificates made or read in one turn of the loop: some 10 ms.
    private static let sliceMax = 8
    /// While many are under way, workers hear of them this often.
    private static let publishInterval = Nanoseconds.milliseconds(100)
    /// Wall time may jump; deadlines in it are looked at that often at least.
    private static let lookInterval = Nanoseconds.seconds(60)

    /// Fails where nothing could ever work: roots that cannot be read, a broken revocation list, an
    /// authority's directory that cannot be used.
    ///
    /// - Parameter publish: called on the control thread with every new state, from within ``want(_:)`` too.
    package init(
        _ source: IdentitySource,
        crlPath: String? = nil,
        options: Options = Options(),
        loop: EventLoop,
        files: any ConfigFiles = DiskFiles(),
        log: Log = .shared,
        publish: @escaping (IdentitySnapshot) -> Void
    ) throws(IdentityError) {
        self.loop = loop
        self.log = log
        self.options = options
        self.publish = publish
        lastPublished = loop.now
        provider = try Self.provider(source, now: loop.system.wallClock(), files: files, log: log)
        revocation = RevocationFile(crlPath, files: files)
        try revocation.load(provider.authorities, now: loop.system.wallClock(), log: log)
        snapshot.revoked = revocation.register.current
        if options.watchesFiles, !watchedPaths.isEmpty { startWatching() }
    }

    private func startWatching() {
        do throws(SystemError) {
            watcher = try FileWatcher(loop: loop, delegate: self)
            watcher?.watch(watchedPaths)
            // What changed between the first look and the watch.
            refreshShared()
        } catch {
            log.warning(
                .secret,
                "certificates are not watched: \(error.reason); they are read again when they expire"
            )
        }
    }

    /// Stops watching and renewing.
    package func stop() {
        watcher?.stop()
        watcher = nil
        loop.cancel(&timer)
        queue = []
        entries = [:]
    }

    /// The last state, published or about to be.
    package var current: IdentitySnapshot { snapshot }

    /// Why wanted identities have no certificate that is good, for readiness and the admin; one line each,
    /// sorted.
    package var problems: [String] {
        entries.compactMap { identity, entry in
            entry.schedule.problem.map { "\(identity): \($0)" }
        }.sorted()
    }

    /// Makes sure that exactly these have certificates. Up to eight new ones are there, and published, when
    /// it returns; of more, the rest follows in the next turns of the loop.
    package func want(_ identities: Set<SPIFFEID>) {
        // A mesh that is edited every second asks as often.
        if identities.count == entries.count, identities.isSubset(of: entries.keys) { return }
        for identity in entries.keys where !identities.contains(identity) {
            entries[identity] = nil
            if snapshot.credentials.removeValue(forKey: identity) != nil { isDirty = true }
        }
        queue.removeAll { !identities.contains($0) }
        for identity in identities.subtracting(entries.keys).sorted(by: SPIFFEID.precedes) {
            entries[identity] = Entry()
            enqueue(identity)
        }
        watcher?.watch(watchedPaths)
        workOff()
    }

    // MARK: Work

    private static func provider(
        _ source: IdentitySource,
        now: WallTime,
        files: any ConfigFiles,
        log: Log
    ) throws(IdentityError) -> any CredentialsProvider {
        switch source {
        case .developmentAuthority(let lifetime, let directory):
            let authority = try DevelopmentAuthority.open(
                directory,
                now: now,
                files: files,
                log: log
            )
            return try IssuedCredentials(authority, lifetime: lifetime)
        case .directory(let directory):
            return try FileCredentials(
                .directory(directory),
                roots: "\(directory)/root-cert.pem",
                files: files
            )
        case .files(let chain, let key, let roots):
            return try FileCredentials(.single(chain: chain, key: key), roots: roots, files: files)
        }
    }

    private var watchedPaths: Set<WatchedPath> {
        provider.watchedPaths(entries.keys).union(revocation.watchedPaths)
    }

    private func enqueue(_ identity: SPIFFEID) {
        guard entries[identity]?.isQueued == false else { return }
        entries[identity]?.isQueued = true
        queue.append(identity)
    }

    /// One slice; the rest at the end of the next turn.
    private func workOff() {
        let now = loop.system.wallClock()
        let slice = queue.prefix(Self.sliceMax)
        queue.removeFirst(slice.count)
        for identity in slice { renew(identity, now) }
        if queue.isEmpty {
            rest()
        } else if !isDeferred {
            isDeferred = true
            loop.deferWork(self)
        }
        let isDue = queue.isEmpty || loop.now - lastPublished >= Self.publishInterval
        if isDirty, isDue {
            isDirty = false
            lastPublished = loop.now
            publish(snapshot)
        }
    }

    private func renew(_ identity: SPIFFEID, _ now: WallTime) {
        guard var entry = entries[identity] else { return }
        entry.isQueued = false
        do throws(IdentityError) {
            try renew(identity, &entry, now)
        } catch {
            var rest = ""
            if let kept = snapshot.credentials[identity] {
                let until = kept.validUntil
                rest =
                    until > now
                    ? "; the one until \(until.dateText) stays in use"
                    : "; the one in use expired at \(until.dateText): peers refuse it"
            }
            let news = "\(error.subject): \(error.reason)\(rest)"
            if entry.schedule.failed("\(error)\(rest)", news: news, at: now) {
                log.error(.secret, "no new certificate for \(identity): \(error)\(rest)")
            }
        }
        entries[identity] = entry
    }

    private func renew(
        _ identity: SPIFFEID,
        _ entry: inout Entry,
        _ now: WallTime
    ) throws(IdentityError) {
        guard SPIFFEID(identity.description) == identity else {
            throw IdentityError(
                subject: "\(identity)",
                reason: "is no identity: spiffe://<trust domain>/ns/<namespace>/sa/<account>",
                check: "the workload's trustDomain, namespace and serviceAccount"
            )
        }
        let source = try provider.certificate(of: identity, now: now)
        let trust = MeshTrust(
            authorities: provider.authorities,
            revocation: revocation.register,
            clock: loop.system.sharedWallClock,
            allowsTLS12: options.allowsTLS12
        )
        let digest = trust.clientSettings(source).digest
        if digest == entry.digest, let kept = snapshot.credentials[identity] {
            try Credentials.checkDates(kept.certificate, source.path, at: now)
            return scheduled(kept, source.path, &entry, now)
        }
        let credentials = try Credentials(
            identity,
            source,
            trust: trust,
            verifiedAt: provider.issues ? nil : now
        )
        snapshot.credentials[identity] = credentials
        isDirty = true
        entry.digest = digest
        log.info(
            .secret,
            "certificate for \(identity): serial \(credentials.certificate.serial), valid until "
                + "\(credentials.notAfter.dateText), from \(source.path)"
        )
        scheduled(credentials, source.path, &entry, now)
    }

    private func scheduled(
        _ credentials: Credentials,
        _ path: String,
        _ entry: inout Entry,
        _ now: WallTime
    ) {
        let certificate = credentials.certificate
        if provider.issues { return entry.schedule.issued(certificate, at: now) }
        guard entry.schedule.read(certificate, at: now) else { return }
        log.warning(
            .secret,
            "certificate for \(credentials.identity): \(path): expires at "
                + "\(credentials.validUntil.dateText) and has not been renewed; check who renews it"
        )
    }

    /// Arms the timer for what is due next.
    private func rest() {
        loop.cancel(&timer)
        let now = loop.system.wallClock()
        guard let due = entries.values.lazy.map(\.schedule.due).min(), due.nanoseconds < .max else {
            return
        }
        let left = Nanoseconds(max(0, due.nanoseconds - now.nanoseconds))
        timer = loop.arm(self, after: min(left, Self.lookInterval))
    }
}

extension IdentityStore: TimerTarget {
    package func timerFired(_ kind: UInt8) {
        timer = .none
        let now = loop.system.wallClock()
        for (identity, entry) in entries where entry.schedule.isDue(at: now) { enqueue(identity) }
        workOff()
    }
}

extension IdentityStore: DeferredWork {
    package func runDeferred() {
        isDeferred = false
        workOff()
    }
}

extension IdentityStore: FileWatcherDelegate {
    /// Reads again what may have changed.
    package func filesChanged() {
        refreshShared()
        if !provider.issues { entries.keys.sorted(by: SPIFFEID.precedes).forEach(enqueue) }
        watcher?.watch(watchedPaths)
        workOff()
    }

    /// Roots and revocation lists.
    private func refreshShared() {
        do throws(IdentityError) {
            if try provider.refresh() { log.info(.secret, "the mesh's roots have changed") }
        } catch {
            log.error(.secret, "roots: \(error); the last good ones stay in use")
        }
        do throws(IdentityError) {
            try revocation.load(provider.authorities, now: loop.system.wallClock(), log: log)
        } catch {
            log.error(.secret, "revocation lists: \(error); the last good ones stay in use")
        }
        if snapshot.revoked !== revocation.register.current {
            snapshot.revoked = revocation.register.current
            isDirty = true
            reviewOwn()
        }
    }

    /// Peers that have the same lists refuse us then: ours are made anew, others' are told of.
    private func reviewOwn() {
        for (identity, credentials) in snapshot.credentials
        where snapshot.revoked.contains(credentials.certificate) {
            log.warning(
                .secret,
                "certificate for \(identity): serial \(credentials.certificate.serial) is on a "
                    + "revocation list"
            )
            if provider.issues { enqueue(identity) }
        }
    }
}

extension SPIFFEID {
    static func precedes(_ left: Self, _ right: Self) -> Bool {
        left.description < right.description
    }
}
