import Synchronization

/// The only way into an event loop from another thread: letters, run in order on the loop's thread.
package final class Mailbox: Sendable {
    package typealias Letter = @Sendable (EventLoop) -> Void

    private let letters = Mutex<[Letter]>([])
    private let waker: any Waker

    package init(waker: any Waker) { self.waker = waker }

    /// Runs `letter` soon on the loop's thread. After the loop has stopped, nothing happens.
    package func post(_ letter: @escaping Letter) {
        let isFirst = letters.withLock { letters in
            letters.append(letter)
            return letters.count == 1
        }
        // The loop takes all letters at once, so only the first needs to wake it.
        if isFirst { waker.wake() }
    }

    func take() -> [Letter] {
        letters.withLock { letters in
            defer { letters = [] }
            return letters
        }
    }
}
