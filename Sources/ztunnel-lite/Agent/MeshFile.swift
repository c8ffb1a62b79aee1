import MeshConfig
import MeshNet
import MeshRuntime

/// The mesh as its file has it, kept up to date. A bad edit keeps the last good state and says why.
/// Control thread.
package final class MeshFile: FileWatcherDelegate {
    private let options: ZtunnelOptions
    private let log: Log
    private let files: any ConfigFiles
    private let isLocal: (IPAddress) -> Bool
    private var watcher: FileWatcher?
    private var onChange: (() -> Void)?
    private var text: [UInt8] = []

    package private(set) var config: ZtunnelConfig
    package private(set) var state: MeshState
    package private(set) var localIdentities: Set<SPIFFEID> = []
    /// Why the file as it is now is not in force; empty: it is.
    package private(set) var refusal: [String] = []

    /// Reads the mesh; what is wrong with it ends up in the error, line by line.
    ///
    /// - Parameter isLocal: whether this host has the address.
    package init(
        _ options: ZtunnelOptions,
        files: any ConfigFiles,
        log: Log,
        isLocal: @escaping (IPAddress) -> Bool
    ) throws(MeshFileError) {
        self.options = options
        self.log = log
        self.files = files
        self.isLocal = isLocal
        text = try Self.text(of: options, files)
        let (config, report) = Self.read(text, options)
        guard let config else { throw MeshFileError(lines: report) }
        for line in report { log.warning(.config, line) }
        self.config = config
        state = MeshState(config, network: options.network)
        localIdentities = findLocalIdentities()
    }

    private static func text(
        of options: ZtunnelOptions,
        _ files: any ConfigFiles
    ) throws(MeshFileError) -> [UInt8] {
        switch options.source {
        case .file(let path):
            do throws(ConfigFileError) { return try files.read(path) } catch {
                throw MeshFileError(lines: ["the mesh cannot be read: \(error)"])
            }
        case .text(let text): return Array(text.utf8)
        case nil: return []
        }
    }

    private static func name(of options: ZtunnelOptions) -> String {
        if case .file(let path) = options.source { path } else { "LOCAL_XDS" }
    }

    /// The mesh, or nil; and what there is to say about it.
    private static func read(
        _ text: [UInt8],
        _ options: ZtunnelOptions
    ) -> (ZtunnelConfig?, [String]) {
        let name = name(of: options)
        let (config, diagnostics) = ZtunnelConfig.read(text: text, fileName: name)
        return (config, diagnostics.report(fileName: name))
    }

    /// How much there is of it.
    package var summary: String {
        "\(config.workloads.count) workloads, \(config.services.count) services,"
            + " \(config.policies.count) policies"
    }

    // MARK: Watching

    /// Calls `onChange` whenever another state is in force.
    package func watch(
        on loop: EventLoop,
        _ onChange: @escaping () -> Void
    ) throws(SystemError) {
        guard case .file(let path) = options.source else { return }
        self.onChange = onChange
        let watcher = try FileWatcher(loop: loop, delegate: self)
        watcher.watch([.file(path)])
        self.watcher = watcher
    }

    package func filesChanged() { reload() }

    package func reload() {
        do throws(MeshFileError) {
            let text = try Self.text(of: options, files)
            guard text != self.text || !refusal.isEmpty else { return }
            let (config, report) = Self.read(text, options)
            guard let config else { throw MeshFileError(lines: report) }
            for line in report { log.warning(.config, line) }
            self.text = text
            self.config = config
            refusal = []
            state = MeshState(config, network: options.network)
            localIdentities = findLocalIdentities()
            onChange?()
            // Not before it is on its way to the workers: what is accepted from here on meets the change.
            log.info(.config, "the mesh has changed: \(summary)")
        } catch {
            refusal = error.lines
            log.error(
                .config,
                "the mesh keeps its last good state; the file as it is now is refused:"
            )
            for line in error.lines { log.error(.config, line) }
        }
    }

    /// Whom we speak for.
    private func findLocalIdentities() -> Set<SPIFFEID> { Set(localWorkloads.map(\.identity)) }

    /// The workloads this agent is for, in the order of the file.
    package var localWorkloads: [Workload] {
        if let own = options.workload, options.mode == .dedicated {
            let workload = state.workload(
                named: own.name,
                namespace: own.namespace,
                serviceAccount: own.serviceAccount
            )
            return workload.map { [$0] } ?? []
        }
        return state.workloads.filter { workload in
            options.nodeName.isEmpty
                ? workload.addresses.contains(where: isLocal) : workload.node == options.nodeName
        }
    }
}

/// Why a mesh is not to be had, line by line.
package struct MeshFileError: Error { package let lines: [String] }
