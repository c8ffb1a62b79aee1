import Glibc
import MeshNet

/// Ends a loop when whoever started the process is gone: when the other end of its standard input is.
///
/// Nothing is read. A terminal or a file says nothing of the kind and is left alone.
package final class ParentWatch: ReadinessHandler {
    private let loop: EventLoop
    private var registration: EventLoop.Registration?

    /// - Parameter descriptor: standard input, if not in a test.
    package init(loop: EventLoop, descriptor: Int32 = STDIN_FILENO) {
        self.loop = loop
        guard isatty(descriptor) == 0 else { return }
        // Files cannot be watched (EPERM).
        registration = try? loop.register(self, for: Socket(descriptor: descriptor))
    }

    package func becameReady(_ readiness: Readiness) {
        if !readiness.isDisjoint(with: [.peerClosed, .error]) { loop.stop() }
    }
}
