import Foundation

/// What the machine says of itself.
package enum MachineProbe {
    package static func describe(
        proxyCPUs: [Int],
        loadCPUs: [Int],
        scheduling: String
    ) -> BenchReport.Machine {
        BenchReport.Machine(
            processor: processor() ?? "unknown processor",
            cpus: ProcessInfo.processInfo.processorCount,
            memoryMiB: Int(ProcessInfo.processInfo.physicalMemory >> 20),
            kernel: text("/proc/sys/kernel/osrelease") ?? "unknown",
            openSSL: openSSL(),
            hypervisor: hypervisor(),
            proxyCPUs: proxyCPUs,
            loadCPUs: loadCPUs,
            scheduling: scheduling
        )
    }

    /// Nil on bare metal, as far as one can tell.
    package static func hypervisor() -> String? {
        guard let processor = text("/proc/cpuinfo"), processor.contains(" hypervisor") else {
            return nil
        }
        let clocks = "/sys/devices/system/clocksource/clocksource0/available_clocksource"
        let facts = [
            clocks, "/sys/hypervisor/type", "/sys/class/dmi/id/sys_vendor",
            "/sys/class/dmi/id/product_name",
        ].compactMap(text).joined(separator: " ").lowercased()
        let signs = [
            "kvm": "kvm", "qemu": "kvm", "xen": "xen", "vmware": "vmware",
            "virtualbox": "virtualbox",
            "hyperv": "hyper-v", "microsoft": "hyper-v",
        ]
        return signs.sorted { $0.key < $1.key }.first { facts.contains($0.key) }?.value ?? "unknown"
    }

    private static func processor() -> String? {
        text("/proc/cpuinfo")?.split(separator: "\n").first { $0.hasPrefix("model name") }?
            .split(separator: ":").last?.trimmingCharacters(in: .whitespaces)
    }

    private static func openSSL() -> String {
        let process = Process()
        let pipe = Pipe()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["openssl", "version"]
        process.standardOutput = pipe
        process.standardError = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return "unknown" }
        let text = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return text.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    private static func text(_ path: String) -> String? {
        (try? String(contentsOfFile: path, encoding: .utf8))?
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }
}
