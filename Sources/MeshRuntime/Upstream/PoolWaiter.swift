import Glibc
import MeshHTTP
import MeshNet

/// Who asked a pool for a stream, most likely the router. Hears one of these, once.
package protocol PoolWaiter: AnyObject {
    /// The stream is open on a connection; nothing has been sent on it.
    func poolReady(_ stream: any ClientStream, on connection: UpstreamConnection)
    func poolFailed(_ failure: PoolFailure)
}

/// Why a pool could not give a stream.
package struct PoolFailure {
    package enum Kind: Sendable {
        /// A circuit breaker is open.
        case overflow
        case localConnectionFailure
        case remoteConnectionFailure
        case connectTimeout
    }

    package let kind: Kind
    /// Whom it was about; nil where the request did not get as far as a connection.
    package let endpoint: Endpoint?
    /// `%UPSTREAM_TRANSPORT_FAILURE_REASON%` before its spaces are replaced.
    package let transportFailureReason: String

    package var resetReason: StreamResetReason {
        switch kind {
        case .overflow: .overflow
        case .localConnectionFailure: .localConnectionFailure
        case .remoteConnectionFailure: .remoteConnectionFailure
        case .connectTimeout: .connectionTimeout
        }
    }
}

extension PoolFailure.Kind {
    /// The kernel refused to begin a connection: for want of something here, or since it knows already
    /// that the peer cannot be reached.
    init(immediate error: SystemError) {
        switch error.code {
        case EMFILE, ENFILE, ENOBUFS, ENOMEM: self = .localConnectionFailure
        default: self = .remoteConnectionFailure
        }
    }
}

/// A request in a pool's queue. Hold it to ``HTTPConnectionPool/cancel(_:)`` it.
package final class PoolTicket {
    /// Nil once served, failed or cancelled.
    package fileprivate(set) var pool: HTTPConnectionPool?
    let waiter: any PoolWaiter
    let delegate: any ClientStreamDelegate
    fileprivate var next: PoolTicket?
    fileprivate unowned(unsafe) var previous: PoolTicket?

    init(pool: HTTPConnectionPool, waiter: any PoolWaiter, delegate: any ClientStreamDelegate) {
        self.pool = pool
        self.waiter = waiter
        self.delegate = delegate
    }
}

/// Requests in order of arrival; any of them may leave.
struct PoolQueue {
    private(set) var count = 0
    private(set) var first: PoolTicket?
    private var last: PoolTicket?

    var isEmpty: Bool { count == 0 }

    mutating func append(_ ticket: PoolTicket) {
        ticket.previous = last
        if let last { last.next = ticket } else { first = ticket }
        last = ticket
        count += 1
    }

    mutating func remove(_ ticket: PoolTicket) {
        if let previous = ticket.previous {
            previous.next = ticket.next
        } else {
            first = ticket.next
        }
        if let next = ticket.next {
            next.previous = ticket.previous
        } else {
            last = ticket.previous
        }
        ticket.next = nil
        ticket.previous = nil
        ticket.pool = nil
        count -= 1
    }
}
