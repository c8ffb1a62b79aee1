import MeshNet
import MeshRuntime
import Synchronization

/// The workers' mailboxes, by index: how the control thread and the workers reach each other.
package final class WorkerGroup: WorkerMailboxes {
    package let workerCount: Int
    private let mailboxes: Mutex<[Mailbox?]>

    package init(workerCount: Int) {
        self.workerCount = workerCount
        mailboxes = Mutex(Array(repeating: nil, count: workerCount))
    }

    /// A worker is there and reads its mail.
    package func joined(_ index: Int, _ mailbox: Mailbox) {
        mailboxes.withLock { $0[index] = mailbox }
    }

    /// Runs `letter` on the worker's thread. A worker that has not started yet has nothing to hear: it
    /// begins with the present state.
    package func post(worker index: Int, _ letter: @escaping @Sendable (Worker) -> Void) {
        let mailbox = mailboxes.withLock { $0[index] }
        mailbox?.post { loop in
            if let worker = loop.owner as? Worker { letter(worker) }
        }
    }

    package func postAll(_ letter: @escaping @Sendable (Worker) -> Void) {
        for index in 0..<workerCount { post(worker: index, letter) }
    }

    package func post(worker: Int, _ message: UpstreamMessage) {
        post(worker: worker) { $0.clusters.receive(message) }
    }
}
