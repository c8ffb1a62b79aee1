import Glibc

extension SystemError: CustomStringConvertible {
    /// The kernel's own words, e.g. `Connection refused`.
    package var reason: String {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 128) { buffer in
            guard let base = buffer.baseAddress, strerror_r(code, base, buffer.count) == 0 else {
                return "error \(code)"
            }
            return String(cString: base)
        }
    }

    package var description: String { "\(call): \(reason)" }
}
