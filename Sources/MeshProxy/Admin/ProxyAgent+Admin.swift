import CLinux
import Glibc
import MeshConfig
import MeshNet
import MeshRuntime

extension ProxyAgent {
    /// What the admin port shows of this agent, and what it may do to it.
    func adminState(_ configuration: ConfigValue, _ config: AdminConfig?) -> AdminState {
        let process = plan.process
        var state = AdminState(
            stats: process.registry,
            version: CommandLineRunner.version,
            configuration: configuration,
            loadedAt: process.startWall,
            options: options.serverInfo,
            allowedPaths: config?.allowedPaths ?? [],
            log: process.log
        )
        let loop = loop
        let registry = registry
        state.wallClock = { loop.system.wallClock() }
        state.uptime = {
            Nanoseconds(loop.system.wallClock().nanoseconds - process.startWall.nanoseconds)
        }
        state.serverState = {
            process.isDraining || process.isFailingHealthChecks ? .draining : .live
        }
        state.clusters = { registry.views() }
        state.listeners = { [unowned self] in listening.map { ($0.name, $0.address) } }
        state.certificates = { [unowned self] in certificates() }
        state.memory = { ProcessMemory.read().forAdmin }
        let plan = plan
        let overrides = RuntimeOverrides(plan.bootstrap.runtime) { [unowned self] runtime, count in
            plan.publish(runtime)
            gauges?.runtimeChanged(runtime, overrides: count)
        }
        state.runtime = { AdminState.Runtime(config: plan.runtime, overrides: overrides.values) }
        state.modifyRuntime = { overrides.modify($0) }
        state.failHealthChecks = { process.isFailingHealthChecks = true }
        state.passHealthChecks = { process.isFailingHealthChecks = false }
        state.drainListeners = { [unowned self] in drainListeners($0) }
        state.reopenLogs = { [unowned self] in reopenLogs() }
        state.quit = { [unowned self] in quit() }
        let explainer = AdminExplainer(
            plan.bootstrap,
            formats: process.formats,
            runtime: { plan.runtime },
            clusters: plan.cluster
        )
        state.explain = { explainer.respond(to: $0) }
        return state
    }

    private func certificates() -> [AdminState.CertificateSet] {
        secrets.slots.map { slot in
            let context = slot.load()
            let chain = zip(context.chains, context.chainPaths).flatMap { chain, path in
                chain.map { AdminState.Certificate(path: path, info: $0) }
            }
            return AdminState.CertificateSet(
                authorities: context.authorities.map {
                    AdminState.Certificate(path: context.authoritiesPath, info: $0)
                },
                chain: chain
            )
        }
    }
}

extension Options {
    /// The command line as `/server_info` gives it.
    var serverInfo: [(name: String, value: ConfigValue)] {
        [
            ("base_id", .string(baseID)),
            ("use_dynamic_base_id", .bool(hotRestartFlags.contains("--use-dynamic-base-id"))),
            ("concurrency", .number(Double(concurrency ?? CommandLineRunner.processors))),
            ("config_path", .string(configPath)),
            ("log_level", .string(logLevel.name)),
            (
                "component_log_level",
                .string(
                    componentLogLevels.map { "\($0.component):\($0.level.name)" }
                        .joined(separator: ",")
                )
            ),
            ("drain_time", .string("\(drainTime?.components.seconds ?? 5)s")),
            ("mode", .string(mode == .validate ? "Validate" : "Serve")),
            ("disable_hot_restart", .bool(hotRestartFlags.contains("--disable-hot-restart"))),
        ]
    }
}

/// What the process holds of memory, in bytes.
struct ProcessMemory {
    var allocated: UInt64 = 0
    var heap: UInt64 = 0
    var physical: UInt64 = 0

    var forAdmin: AdminState.Memory {
        AdminState.Memory(allocated: allocated, heap: heap, physical: physical)
    }

    static func read() -> ProcessMemory {
        var memory = ProcessMemory()
        clinux_heap(&memory.allocated, &memory.heap)
        // The second number is the resident set in pages (proc(5)).
        if let bytes = try? DiskFiles().read("/proc/self/statm"),
            let pages = UInt64(
                String(decoding: bytes, as: UTF8.self).split(separator: " ").dropFirst().first
                    ?? "0"
            )
        {
            memory.physical = pages * UInt64(sysconf(Int32(_SC_PAGESIZE)))
        }
        return memory
    }
}
