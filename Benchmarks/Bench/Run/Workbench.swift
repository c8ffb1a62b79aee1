import Foundation

/// What all measurements of a run share: a temporary folder, certificates, CPUs, and a way to be interrupted.
package final class Workbench {
    package let options: RunOptions
    package let interruption: Interruption
    /// mesh-bench itself, which plays generator, upstream, and what keeps CPUs awake.
    let program: String
    let folder: String
    let certificates: Certificates
    package let proxies: Placement
    package let generator: Placement
    package let upstream: Placement
    package let hasSpinners: Bool
    /// Where scenarios have it.
    var capture: CaptureNamespace?
    private var folders = 0

    package init(options: RunOptions, interruption: Interruption) throws {
        self.options = options
        self.interruption = interruption
        program = ProgramFinder.this()
        folder = NSTemporaryDirectory() + "mesh-bench-\(getpid())"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        certificates = try Certificates(in: folder + "/certificates")

        let allowed = Placement.mayUseRoundRobin()
        if options.scheduling == .roundRobin, !allowed {
            throw BenchError(
                "--scheduling rr: not allowed: run as root, or leave it out for the default class"
            )
        }
        let scheduling = options.scheduling ?? (allowed ? .roundRobin : .normal)
        let cpus = Placement.available()
        let first = cpus.first ?? 0
        let last = cpus.last ?? 0
        proxies = Placement(cpus: [first], scheduling: scheduling)
        generator = Placement(cpus: [last], scheduling: scheduling)
        // With room, generator and upstream do not share a CPU.
        let other = cpus.count >= 4 ? cpus[cpus.count - 2] : last
        upstream = Placement(cpus: [other], scheduling: scheduling)
        hasSpinners = options.hasSpinners ?? (MachineProbe.hypervisor() != nil)
        Placement.stay(on: [last])
        Self.raiseFileLimit()
    }

    deinit {
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// For people, in the report.
    package var scheduling: String {
        let kind = proxies.scheduling == .roundRobin ? "SCHED_RR 10" : "default"
        return hasSpinners
            ? "\(kind); SCHED_IDLE spinners keep the CPUs from halting while latency is measured"
            : kind
    }

    package var loadCPUs: [Int] { Array(Set(generator.cpus + upstream.cpus)).sorted() }

    /// A fresh folder for one process.
    func newFolder(_ name: String) throws -> String {
        folders += 1
        let path = "\(folder)/\(folders)-\(name)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        return path
    }

    /// Busy loops on all CPUs of the run, which anything else pre-empts.
    func spin() throws -> [ChildProcess] {
        guard hasSpinners else { return [] }
        return try Set(proxies.cpus + loadCPUs).sorted().map { cpu in
            var command = ChildProcess.Command(
                program: program,
                arguments: ["spin"],
                directory: folder
            )
            command.input = .pipe
            return try ChildProcess(
                "spinner",
                command,
                on: Placement(cpus: [cpu], scheduling: .normal)
            )
        }
    }

    private static func raiseFileLimit() {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}
