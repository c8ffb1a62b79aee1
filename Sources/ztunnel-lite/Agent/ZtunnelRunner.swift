import Glibc
import MeshConfig
import MeshNet
import MeshRuntime

/// From the command line and the environment to a running agent, or to an exit code and the reasons.
package enum ZtunnelRunner {
    package static let version = "0.1.0"

    /// Runs and exits: 0 after a drain, a valid `--check` or `--addresses`, 1 with the reasons on standard error.
    package static func run(_ arguments: [String]) -> Never {
        let action = ZtunnelOptions.parse(
            Array(arguments.dropFirst()),
            environment: { name in getenv(name).map { String(cString: $0) } },
            version: version
        )
        switch action {
        case .print(let text):
            write(text, to: STDOUT_FILENO)
            exit(0)
        case .refuse(let reasons):
            for reason in reasons { write("ztunnel-lite: \(reason)\n", to: STDERR_FILENO) }
            exit(1)
        case .run(let options):
            run(options)
        }
    }

    /// How far the control thread stands behind the workers where they share a processor.
    private static let controlNiceness: CInt = 10

    private static func run(_ options: ZtunnelOptions) -> Never {
        // A peer that closes early is an event, not a signal; so is a log at its size limit.
        signal(SIGPIPE, SIG_IGN)
        signal(SIGXFSZ, SIG_IGN)
        let signals = SignalListener.block([SIGTERM, SIGINT, SIGHUP])
        let log = Log.shared
        log.start { LinuxSystem.wallClockNow() }
        let logSettings = LogSettings(
            isJSON: options.logFormat == .json,
            filter: options.logFilter,
            log: log
        )
        for scope in options.logFilter.unknownScopes {
            log.warning(.config, "RUST_LOG: scope \(scope) has no lines here")
        }
        do {
            let mesh = try MeshFile(options, files: DiskFiles(), log: log, isLocal: isLocal)
            if options.checksOnly {
                write("the mesh is in order: \(mesh.summary)\n", to: STDOUT_FILENO)
                exit(0)
            }
            if options.listsAddresses {
                for address in mesh.localWorkloads.flatMap(\.addresses) {
                    write("\(address)\n", to: STDOUT_FILENO)
                }
                exit(0)
            }
            let loop = EventLoop(system: try LinuxSystem())
            let agent = try ZtunnelAgent(
                options,
                mesh: mesh,
                loop: loop,
                log: log,
                logSettings: logSettings
            )
            try agent.start(signalSet: signals)
            // This thread alone, and those it starts from here on (sched(7)).
            _ = setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, controlNiceness)
            agent.run()
            exit(0)
        } catch let error as MeshFileError {
            for line in error.lines { write("ztunnel-lite: \(line)\n", to: STDERR_FILENO) }
        } catch {
            write("ztunnel-lite: \(error)\n", to: STDERR_FILENO)
        }
        exit(1)
    }

    /// Whether this host has the address: one can be bound to it.
    private static func isLocal(_ address: IPAddress) -> Bool {
        let descriptor = socket(
            address.isIPv6 ? AF_INET6 : AF_INET,
            Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue),
            0
        )
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        return SocketAddress.ip(address, port: 0).withSockaddr { bind(descriptor, $0, $1) == 0 }
    }

    private static func write(_ text: String, to descriptor: Int32) {
        var text = text
        text.withUTF8 { _ = Glibc.write(descriptor, $0.baseAddress, $0.count) }
    }
}
