import CLinux
import Glibc
import MeshNet

/// A thread that runs one event loop until it is stopped.
package struct WorkerThread: ~Copyable {
    private let thread: pthread_t

    /// What the new thread takes over. Not `Sendable` state is made by `body`, on the thread itself.
    private final class Start: Sendable {
        let name: String
        let body: @Sendable () -> Void

        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }

    /// Runs `body` on a new thread. The name is cut to 15 bytes, as the kernel keeps them.
    package init(name: String, _ body: @escaping @Sendable () -> Void) throws(SystemError) {
        var thread = pthread_t()
        let start = Unmanaged.passRetained(Start(name: name, body: body))
        let result = pthread_create(
            &thread,
            nil,
            { argument in
                guard let argument else { return nil }
                let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                clinux_name_thread(start.name)
                start.body()
                return nil
            },
            start.toOpaque()
        )
        guard result == 0 else {
            start.release()
            throw SystemError(code: result, call: "pthread_create")
        }
        self.thread = thread
    }

    /// Waits for the thread's end.
    package consuming func join() { pthread_join(thread, nil) }

    /// Waits for the thread's end, but no longer than this. One that goes on, because what it waits for
    /// never comes, ends with the process. Returns whether it has ended.
    @discardableResult
    package consuming func join(within patience: Nanoseconds) -> Bool {
        let end = LinuxSystem.wallClockNow().nanoseconds + patience.count
        return clinux_join_until(thread, end / 1_000_000_000, end % 1_000_000_000) == 0
    }
}
