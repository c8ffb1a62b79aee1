import MeshNet
import Synchronization

/// The workers' mailboxes, by index: how the control thread reaches them.
package final class ZtunnelWorkers: Sendable {
    package let count: Int
    private let mailboxes: Mutex<[Mailbox?]>

    package init(count: Int) {
        self.count = count
        mailboxes = Mutex(Array(repeating: nil, count: count))
    }

    /// A worker is there and reads its mail.
    package func joined(_ index: Int, _ mailbox: Mailbox) {
        mailboxes.withLock { $0[index] = mailbox }
    }

    /// Runs `letter` on each worker's thread.
    package func postAll(_ letter: @escaping @Sendable (ZtunnelWorker) -> Void) {
        let mailboxes = mailboxes.withLock { $0 }
        for mailbox in mailboxes {
            mailbox?.post { loop in
                if let worker = loop.owner as? ZtunnelWorker { letter(worker) }
            }
        }
    }
}
