import Foundation

/// Memory of a process and of its children.
package struct ProcessMemory: Sendable {
    /// Resident, shared pages in full. KiB.
    package var resident = 0
    /// Shared pages by their share. KiB.
    package var proportional = 0

    /// All of these together; what has ended counts nothing.
    package init(of pids: [pid_t]) {
        for pid in pids.flatMap(Self.family) {
            guard
                let text = try? String(
                    contentsOfFile: "/proc/\(pid)/smaps_rollup",
                    encoding: .utf8
                )
            else { continue }
            for line in text.split(separator: "\n") {
                let words = line.split(separator: " ")
                guard words.count > 1, let count = Int(words[1]) else { continue }
                if words[0] == "Rss:" { resident += count }
                if words[0] == "Pss:" { proportional += count }
            }
        }
    }

    /// The process, its children, and theirs.
    package static func family(of pid: pid_t) -> [pid_t] {
        let tasks =
            (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task")) ?? []
        let children = tasks.flatMap { task in
            (try? String(contentsOfFile: "/proc/\(pid)/task/\(task)/children", encoding: .utf8))?
                .split(separator: " ").compactMap { pid_t($0.trimmingCharacters(in: .whitespaces)) }
                ?? []
        }
        return [pid] + children.flatMap(family)
    }
}
