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
        guard let facts = text("/proc/cpuinfo"), facts.contains(" hypervisor") else { return nil }
        let vendor = text("/sys/class/dmi/id/sys_vendor") ?? ""
        let product = text("/sys/class/dmi/id/product_name") ?? ""
        let names = "\(vendor) \(product)".lowercased()
        let known = ["kvm", "qemu", "vmware", "virtualbox", "xen", "firecracker"]
        if let name = known.first(where: names.contains) { return name == "qemu" ? "kvm" : name }
        let file = text("/sys/hypervisor/type")
        return file
            ?? (FileManager.default.fileExists(atPath: "/sys/module/kvm_guest") ? "kvm" : "unknown")
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
