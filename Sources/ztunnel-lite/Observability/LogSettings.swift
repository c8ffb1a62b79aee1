import MeshConfig
import MeshRuntime
import Synchronization

/// What the log of the process looks like and how much of it there is, for all threads: `LOG_FORMAT` and
/// `RUST_LOG`.
package final class LogSettings: Sendable {
    /// `LOG_FORMAT=json`
    package let isJSON: Bool
    private let log: Log
    private let access: Atomic<UInt8>

    package init(isJSON: Bool, log: Log = .shared) {
        self.isJSON = isJSON
        self.log = log
        access = Atomic(UInt8(LogLevel.info.rawValue))
    }

    func isAccessEnabled(_ level: LogLevel) -> Bool {
        level.rawValue >= Int(access.load(ordering: .relaxed))
    }
}
