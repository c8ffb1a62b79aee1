import CLinux
import Glibc

/// Ctrl-C and SIGTERM as something to wait for; all waiting of a run goes through here, so that a run can be
/// ended between two events and leaves no process behind.
package final class Interruption {
    private let signals: Int32
    private var mask = sigset_t()

    /// Takes the two signals away from their default actions, for this thread and those it starts: begin with it.
    package init() throws {
        sigemptyset(&mask)
        sigaddset(&mask, SIGINT)
        sigaddset(&mask, SIGTERM)
        pthread_sigmask(SIG_BLOCK, &mask, nil)
        // A child that has ended does not read its plan.
        signal(SIGPIPE, SIG_IGN)
        signals = signalfd(-1, &mask, Int32(SFD_CLOEXEC | SFD_NONBLOCK))
        guard signals >= 0 else {
            throw BenchError("signals cannot be waited for: \(String(cString: strerror(errno)))")
        }
    }

    deinit {
        close(signals)
    }

    /// Waits until the descriptor can be read; false after so many seconds. Throws ``BenchError/interrupted``
    /// once; a second Ctrl-C has its default action again.
    package func isReadable(_ descriptor: Int32?, within seconds: Double) throws -> Bool {
        let deadline = Clock.seconds() + seconds
        while true {
            var watched = [pollfd(fd: signals, events: Int16(POLLIN), revents: 0)]
            if let descriptor {
                watched.append(pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0))
            }
            let left = max(0, deadline - Clock.seconds())
            let ready = poll(&watched, nfds_t(watched.count), Int32((left * 1000).rounded(.up)))
            if watched[0].revents != 0 {
                // Taken before it is let through: it would end the process otherwise.
                var one = signalfd_siginfo()
                _ = read(signals, &one, MemoryLayout<signalfd_siginfo>.size)
                pthread_sigmask(SIG_UNBLOCK, &mask, nil)
                throw BenchError.interrupted
            }
            if descriptor != nil, watched[1].revents != 0 { return true }
            if ready == 0, left == 0 { return false }
        }
    }

    /// Throws when interrupted meanwhile.
    package func sleep(_ seconds: Double) throws {
        _ = try isReadable(nil, within: seconds)
    }
}

/// Time that only goes forward.
package enum Clock {
    package static func seconds() -> Double {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return Double(now.tv_sec) + Double(now.tv_nsec) / 1e9
    }
}
