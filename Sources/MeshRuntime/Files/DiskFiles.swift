import Glibc
import MeshConfig
import MeshNet

/// ``ConfigFiles`` on the file system. For the control thread: reading blocks.
package struct DiskFiles: ConfigFiles {
    /// Certificates and secrets are a few KiB, configurations a few MiB; more is a mistake.
    private static let bytesMax = 256 << 20

    package init() {}

    package func read(_ path: String) throws(ConfigFileError) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Self.error(path) }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count == 0 { return bytes }
            guard count > 0 else {
                if errno == EINTR { continue }
                throw Self.error(path)
            }
            bytes += chunk[..<count]
            guard bytes.count <= Self.bytesMax else {
                throw ConfigFileError(path, "larger than \(Self.bytesMax >> 20) MiB")
            }
        }
    }

    package func environment(_ name: String) -> [UInt8]? {
        getenv(name).map { Array(String(cString: $0).utf8) }
    }

    package static var hostname: String {
        var name = [CChar](repeating: 0, count: 256)
        guard gethostname(&name, name.count - 1) == 0 else { return "" }
        return name.withUnsafeBufferPointer { buffer in
            buffer.baseAddress.map { String(cString: $0) } ?? ""
        }
    }

    private static func error(_ path: String) -> ConfigFileError {
        ConfigFileError(path, SystemError(code: errno, call: "open").reason)
    }
}
