import MeshRuntime
import Testing

#if canImport(Glibc)
    import Glibc
#endif

/// What a running Envoy lists, checked in: name and type of each stat, and its Prometheus series.
enum StatsFixture {
    static func lines(_ file: String) -> [String] {
        let path = #filePath.split(separator: "/").dropLast(2).joined(separator: "/")
        guard let stream = fopen("/\(path)/Fixtures/\(file)", "r") else {
            Issue.record("no fixture \(file)")
            return []
        }
        defer { fclose(stream) }
        var bytes: [UInt8] = []
        var byte = fgetc(stream)
        while byte != EOF {
            bytes.append(UInt8(byte))
            byte = fgetc(stream)
        }
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init)
    }

    /// `(type, name)` of every stat.
    static var stats: [(type: String, name: String)] {
        lines("envoy-stats.txt").filter { !$0.hasPrefix("#") }.map { line in
            let words = line.split(separator: " ")
            return (String(words[0]), String(words[1]))
        }
    }
}
