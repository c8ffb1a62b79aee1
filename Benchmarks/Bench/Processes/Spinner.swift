import CBench
import Glibc

/// A busy loop that everything else goes before: a virtual CPU that has halted takes tens of microseconds to
/// wake, which would drown what a proxy adds.
package enum Spinner {
    /// Returns when standard input has ended.
    package static func run() {
        cbench_become_idle()
        var input = pollfd(fd: 0, events: Int16(POLLIN), revents: 0)
        var turns: UInt64 = 0
        while true {
            turns &+= 1
            // Some milliseconds between two looks.
            if turns & 0xF_FFFF == 0, poll(&input, 1, 0) != 0 { return }
        }
    }
}
