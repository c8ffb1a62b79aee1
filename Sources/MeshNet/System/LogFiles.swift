import Glibc

/// Files that are only appended to. The seam through which logs reach a disk; tests have their own.
package protocol LogFiles: Sendable {
    /// Opens for appending; makes the file where there is none.
    func open(_ path: String) throws(SystemError) -> Int32
    /// Writes some or all of the bytes; may block.
    func write(_ bytes: Bytes, to descriptor: Int32) throws(SystemError) -> Int
    func close(_ descriptor: Int32)
}

/// The files of this host.
package struct SystemLogFiles: LogFiles {
    package init() {}

    package func open(_ path: String) throws(SystemError) -> Int32 {
        let descriptor = Glibc.open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw SystemError(code: errno, call: "open") }
        return descriptor
    }

    package func write(_ bytes: Bytes, to descriptor: Int32) throws(SystemError) -> Int {
        while true {
            let written = Glibc.write(descriptor, bytes.baseAddress, bytes.count)
            if written >= 0 { return written }
            if errno != EINTR { throw SystemError(code: errno, call: "write") }
        }
    }

    package func close(_ descriptor: Int32) { _ = Glibc.close(descriptor) }
}
