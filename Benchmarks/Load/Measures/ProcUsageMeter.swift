import Glibc

/// Reads `/proc`: all threads of the watched processes and of their children, and every CPU.
package struct ProcUsageMeter: UsageMeter {
    private let watched: [WatchedProcess]
    private let tickSeconds: Double

    package init(_ watched: [WatchedProcess]) {
        self.watched = watched
        tickSeconds = 1 / Double(max(1, sysconf(Int32(_SC_CLK_TCK))))
    }

    /// Refuses a process that is not there, before anything is measured.
    package func check() throws(LoadError) {
        for process in watched where readBytes("/proc/\(process.pid)/stat") == nil {
            throw LoadError(
                "load: watched process: \(process.name): no process \(process.pid); check its number"
            )
        }
    }

    package func read() -> UsageReading {
        UsageReading(processes: watched.map(read), cpus: readCPUs())
    }

    // MARK: Processes

    private func read(_ process: WatchedProcess) -> UsageReading.Process {
        var usage = UsageReading.Process(
            name: process.name,
            pid: process.pid,
            cpuNanoseconds: 0,
            userTicks: 0,
            systemTicks: 0,
            voluntarySwitches: 0,
            involuntarySwitches: 0,
            residentKiB: 0
        )
        for pid in family(of: process.pid) { add(pid, to: &usage) }
        return usage
    }

    /// The process, its children, and theirs.
    private func family(of pid: Int32) -> [Int32] {
        var found = [pid]
        var at = 0
        while at < found.count {
            for thread in threads(of: found[at]) {
                let children = lines("/proc/\(found[at])/task/\(thread)/children").first ?? ""
                found += children.split(separator: " ").compactMap { Int32($0) }
            }
            at += 1
        }
        return found
    }

    private func threads(of pid: Int32) -> [Int32] {
        guard let directory = opendir("/proc/\(pid)/task") else { return [] }
        defer { closedir(directory) }
        var found: [Int32] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if let thread = Int32(name) { found.append(thread) }
        }
        return found
    }

    private func add(_ pid: Int32, to usage: inout UsageReading.Process) {
        for thread in threads(of: pid) {
            let path = "/proc/\(pid)/task/\(thread)"
            let onCPU = lines("\(path)/schedstat").first?.split(separator: " ").first
            usage.cpuNanoseconds += onCPU.flatMap { UInt64($0) } ?? 0
            for line in lines("\(path)/status") {
                usage.voluntarySwitches += Self.value(line, "voluntary_ctxt_switches:") ?? 0
                usage.involuntarySwitches += Self.value(line, "nonvoluntary_ctxt_switches:") ?? 0
            }
        }
        // Behind the name, which may have spaces and parentheses: user and system time are the 12th and 13th.
        let stat = lines("/proc/\(pid)/stat").first ?? ""
        if let end = stat.lastIndex(of: ")") {
            let fields = stat[end...].split(separator: " ")
            if fields.count > 13 {
                usage.userTicks += UInt64(fields[12]) ?? 0
                usage.systemTicks += UInt64(fields[13]) ?? 0
            }
        }
    }

    package func addMemory(to reading: inout UsageReading) {
        for at in reading.processes.indices {
            for pid in family(of: reading.processes[at].pid) {
                addMemory(pid, to: &reading.processes[at])
            }
        }
    }

    private func addMemory(_ pid: Int32, to usage: inout UsageReading.Process) {
        for line in lines("/proc/\(pid)/status") {
            usage.residentKiB += Self.value(line, "VmRSS:") ?? 0
        }
        for line in lines("/proc/\(pid)/smaps_rollup") {
            guard let share = Self.value(line, "Pss:") else { continue }
            usage.proportionalKiB = (usage.proportionalKiB ?? 0) + share
        }
    }

    // MARK: CPUs

    private func readCPUs() -> [Int: UsageReading.CPU] {
        var cpus: [Int: UsageReading.CPU] = [:]
        for line in lines("/proc/stat") {
            let fields = line.split(separator: " ")
            guard let name = fields.first, name.hasPrefix("cpu"), let cpu = Int(name.dropFirst(3)),
                fields.count >= 9
            else { continue }
            // user nice system idle iowait irq softirq steal
            let seconds = fields[1...8].map { (Double($0) ?? 0) * tickSeconds }
            cpus[cpu] = UsageReading.CPU(
                busy: seconds[0] + seconds[1] + seconds[2] + seconds[5] + seconds[6],
                idle: seconds[3] + seconds[4],
                stolen: seconds[7]
            )
        }
        return cpus
    }

    // MARK: Text

    private func lines(_ path: String) -> [Substring] {
        guard let bytes = readBytes(path) else { return [] }
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n")
    }

    /// The number behind a label at the beginning of a line.
    private static func value(_ line: Substring, _ label: String) -> Int? {
        guard line.hasPrefix(label) else { return nil }
        return line.dropFirst(label.count).split(whereSeparator: { $0 == " " || $0 == "\t" }).first
            .flatMap { Int($0) }
    }
}

/// The whole file; nil where it cannot be read.
private func readBytes(_ path: String) -> [UInt8]? {
    let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { Glibc.close(descriptor) }
    var bytes: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 16_384)
    while true {
        let count = Glibc.read(descriptor, &piece, piece.count)
        guard count >= 0 else { return nil }
        if count == 0 { return bytes }
        bytes += piece[..<count]
    }
}
