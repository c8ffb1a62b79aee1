import MeshConfig
import MeshNet
import MeshRuntime

/// Secrets from watched files, and what is counted of TLS contexts.
extension ProxyAgent: FileWatcherDelegate {
    func startWatching() throws(SystemError) {
        let paths = secrets.watchedPaths
        guard !paths.isEmpty else { return }
        let watcher = try FileWatcher(loop: loop, delegate: self)
        watcher.watch(paths)
        self.watcher = watcher
        filesChanged()
    }

    package func filesChanged() {
        // What changes between being read and being watched would be missed: look again then.
        var watched: Set<WatchedPath>
        repeat {
            watched = secrets.watchedPaths
            let events = secrets.refresh()
            contexts.count(events)
            events.forEach(tell)
            watcher?.watch(secrets.watchedPaths)
        } while watched != secrets.watchedPaths
    }

    private func tell(_ event: SecretEvent) {
        for line in event.lines {
            switch event.outcome {
            case .updated: log.info(.secret, line)
            case .refused: log.warning(.secret, line)
            }
        }
    }

    /// Names the stats of TLS contexts after the listeners and clusters that use them.
    func accountContexts() {
        func add(_ place: ConfigPlace, _ prefix: String, isServer: Bool) {
            for slot in secrets.slots where slot.place.path == place.path {
                let names = secrets.secretNames(of: slot)
                contexts.add(slot, prefix: prefix, isServer: isServer, secretNames: names)
            }
        }
        for address in listening {
            let config = plan.bootstrap.listeners[address.listener]
            for case .tls(let tls) in config.allFilterChains.map(\.transportSocket) {
                add(tls.place, "listener.\(config.statName(at: address.address))", isServer: true)
            }
        }
        for (config, cluster) in zip(plan.bootstrap.clusters, plan.clusters) {
            let matches = config.transportSocketMatches.map(\.transportSocket)
            for tls in ([config.transportSocket] + matches).compactMap(\.tls) {
                add(tls.place, "cluster.\(cluster.options.statName)", isServer: false)
            }
        }
    }
}
