import Glibc
import MeshConfig
import MeshNet
import MeshRuntime

/// From the command line to a running agent, or to an exit code and the reasons.
package enum CommandLineRunner {
    package static let version = "0.1.0"

    /// Runs and exits: 0 after a drain or a valid `--mode validate`, 1 with the reasons on standard error.
    package static func run(_ arguments: [String]) -> Never {
        switch Options.parse(
            Array(arguments.dropFirst()),
            program: "MeshProxy",
            version: version
        )
        {
        case .print(let text):
            write(text, to: STDOUT_FILENO)
            exit(0)
        case .refuse(let reason):
            write("MeshProxy: \(reason)\n", to: STDERR_FILENO)
            exit(1)
        case .run(let options):
            do throws(AgentError) {
                try run(options)
                exit(0)
            } catch {
                write("MeshProxy: \(error)\n", to: STDERR_FILENO)
                exit(1)
            }
        }
    }

    /// How far the control thread stands behind the workers where they share a processor: a reader of
    /// 10,000 statistics should not cost traffic its time.
    private static let controlNiceness: CInt = 10

    private static func run(_ options: Options) throws(AgentError) {
        // A peer that closes early is an event, not a signal.
        signal(SIGPIPE, SIG_IGN)
        // A log that has reached its size limit is counted like one on a full disk.
        signal(SIGXFSZ, SIG_IGN)
        let signals = SignalListener.block([SIGTERM, SIGINT, SIGHUP, SIGUSR1])
        let files = DiskFiles()
        let (bootstrap, diagnostics) = try load(options, files)
        guard let bootstrap else { throw refusal(options, diagnostics) }
        let text = (try? files.read(options.configPath)) ?? []
        let configuration =
            ConfigDocument.value(text, fileName: options.configPath) ?? .object(.init([]))
        do {
            let loop = EventLoop(system: try LinuxSystem())
            let workers = WorkerGroup(workerCount: options.concurrency ?? processors)
            let process = Self.process(options, loop.system, workers: workers.workerCount)
            let secrets = SecretStore(bootstrap.secrets, files: files, diagnostics: diagnostics)
            let planner = AgentPlanner(process: process, workers: workers)
            let plan = planner.plan(bootstrap, secrets: secrets, diagnostics: diagnostics)
            guard let plan else { throw refusal(options, diagnostics) }
            report(diagnostics, options)
            if options.mode == .validate {
                write("configuration '\(options.configPath)' OK\n", to: STDOUT_FILENO)
                return
            }
            for flag in options.hotRestartFlags {
                process.log.info(.main, "\(flag) has no effect: there is no hot restart")
            }
            for level in options.componentLogLevels where LogComponent(level.component) == nil {
                process.log.info(
                    .main,
                    "--component-log-level \(level.component) has no effect: it has no lines here"
                )
            }
            let agent = ProxyAgent(
                plan: plan,
                options: options,
                loop: loop,
                secrets: secrets,
                registry: planner.registry,
                configuration: configuration
            )
            try agent.start(signalSet: signals)
            // This thread alone, and those it starts from here on (sched(7)).
            _ = setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, controlNiceness)
            agent.run()
        } catch let error as SystemError {
            throw AgentError("start failed: \(error)")
        } catch let error as AgentError {
            throw error
        } catch {
            throw AgentError("start failed: \(error)")
        }
    }

    private static func process(
        _ options: Options,
        _ system: any System,
        workers: Int
    ) -> ProcessState {
        let log = Log.shared
        log.start { LinuxSystem.wallClockNow() }
        log.setLevel(options.logLevel)
        for level in options.componentLogLevels {
            if let component = LogComponent(level.component) {
                log.setLevel(level.level, of: component)
            }
        }
        let registry = StatsRegistry(workers: workers)
        return ProcessState(
            registry: registry,
            log: log,
            logWriter: logWriter(options, registry),
            formats: FormatEnvironment(hostname: DiskFiles.hostname) { name in
                DiskFiles().environment(name).map { String(decoding: $0, as: UTF8.self) }
            },
            startWall: system.wallClock(),
            nodeAddress: NodeAddress.find()
        )
    }

    private static func logWriter(_ options: Options, _ registry: StatsRegistry) -> LogWriter {
        guard let interval = options.logFlushInterval else {
            return LogWriter(SystemLogFiles(), registry)
        }
        return LogWriter(SystemLogFiles(), registry, flushInterval: Nanoseconds(interval))
    }

    private static func load(
        _ options: Options,
        _ files: DiskFiles
    ) throws(AgentError) -> (Bootstrap?, ConfigDiagnostics) {
        do throws(ConfigFileError) {
            let text = try files.read(options.configPath)
            return ConfigLoader.read(text: text, fileName: options.configPath, files: files)
        } catch {
            throw AgentError("the configuration cannot be read: \(error)")
        }
    }

    private static func refusal(_ options: Options, _ diagnostics: ConfigDiagnostics) -> AgentError
    {
        report(diagnostics, options)
        let count = diagnostics.errors.count
        return AgentError(
            "\(options.configPath): refused: \(count) \(count == 1 ? "error" : "errors")"
        )
    }

    private static func report(_ diagnostics: ConfigDiagnostics, _ options: Options) {
        for line in diagnostics.report(fileName: options.configPath) {
            write(line + "\n", to: STDERR_FILENO)
        }
    }

    static var processors: Int { max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) }

    private static func write(_ text: String, to descriptor: Int32) {
        var text = text
        text.withUTF8 { bytes in
            var rest = UnsafeRawBufferPointer(bytes)
            while rest.count > 0 {
                let written = Glibc.write(descriptor, rest.baseAddress, rest.count)
                guard written > 0 else { return }
                rest = UnsafeRawBufferPointer(rebasing: rest[written...])
            }
        }
    }
}
