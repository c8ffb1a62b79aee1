/// The operating system as the proxy sees it: the one seam through which sockets, time and entropy
/// enter. ``LinuxSystem`` in production, a simulated one in tests; everything above runs on either.
///
/// One instance belongs to one event loop and its thread; only its ``waker`` may cross threads.
package protocol System: Sockets {
    /// Monotonic time.
    func now() -> Instant
    func wallClock() -> WallTime
    /// ``wallClock()`` for other threads, where it is not the system's; nil where libraries that read the
    /// clock themselves are right.
    var sharedWallClock: (@Sendable () -> WallTime)? { get }
    /// Fills the buffer with unpredictable bytes.
    func fill(random buffer: UnsafeMutableRawBufferPointer)

    /// A bound, listening, non-blocking socket.
    func listen(on address: SocketAddress, options: ListenOptions) throws(SystemError) -> Socket
    func accept(from listener: Socket) -> AcceptResult
    /// Begins to connect. Completion shows as writability; then ask ``connectOutcome(of:)``.
    func connect(to address: SocketAddress, options: SocketOptions) throws(SystemError) -> Socket
    /// Where the client meant to connect before a packet filter redirected it (SO_ORIGINAL_DST).
    func originalDestination(of socket: Socket) -> SocketAddress?
    func apply(_ options: SocketOptions, to socket: Socket)

    /// Waits until something is ready, the time is over (nil: without end) or the waker was used.
    /// Returns how many events were written to `events`.
    func poll(for timeout: Nanoseconds?, into events: UnsafeMutableBufferPointer<ReadyEvent>) -> Int
    var waker: any Waker { get }
}

/// What is done with a socket once it is there: the part of ``System`` that a ``Connection`` uses. The
/// other one that has it is ``InternalNetwork``.
package protocol Sockets: AnyObject {
    /// Nil once connected; the error otherwise.
    func connectOutcome(of socket: Socket) -> SystemError?
    func localAddress(of socket: Socket) -> SocketAddress?

    func receive(from socket: Socket, into buffer: UnsafeMutableRawBufferPointer) -> IOResult
    func send(_ bytes: Bytes, to socket: Socket) -> IOResult
    /// Looks at received bytes without taking them.
    func peek(_ socket: Socket, into buffer: UnsafeMutableRawBufferPointer) -> IOResult
    /// Sends FIN after what was sent before.
    func shutdownSending(_ socket: Socket)
    func close(_ socket: Socket)
    /// Closes with RST (zero linger).
    func abort(_ socket: Socket)

    /// Reports readiness of this socket from now on, edge-triggered, with the given token; present
    /// readiness at once. Watching again replaces the token.
    func watch(_ socket: Socket, token: UInt64) throws(SystemError)
}

extension System {
    package var sharedWallClock: (@Sendable () -> WallTime)? { nil }
}

/// Ends a ``System/poll(for:into:)`` from another thread.
package protocol Waker: Sendable {
    func wake()
}

/// A socket's descriptor. Plain data: who opened it closes it.
package struct Socket: Hashable, Sendable {
    package let descriptor: Int32
    package init(descriptor: Int32) { self.descriptor = descriptor }
}

/// What became ready.
package struct Readiness: OptionSet, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }
    package static let read = Self(rawValue: 1)
    package static let write = Self(rawValue: 2)
    /// The peer has closed its sending side (FIN).
    package static let peerClosed = Self(rawValue: 4)
    /// The connection is broken (RST or a failed connect).
    package static let error = Self(rawValue: 8)

    /// Something has ended: nobody should begin anything new here.
    var tellsEnd: Bool { !isDisjoint(with: [.peerClosed, .error]) }
}

package struct ReadyEvent: Sendable {
    package var token: UInt64
    package var readiness: Readiness
    package init(token: UInt64, readiness: Readiness) {
        self.token = token
        self.readiness = readiness
    }
}

package enum IOResult: Sendable {
    case bytes(Int)
    case wouldBlock
    case endOfStream
    case failed(SystemError)
}

package enum AcceptResult: Sendable {
    case accepted(Socket, from: SocketAddress)
    case wouldBlock
    /// This one connection is lost; try the next.
    case lost
    /// No descriptor or memory left; try again later.
    case exhausted(SystemError)
}

/// A failed system call: its `errno` and which call it was.
package struct SystemError: Error, Hashable, Sendable {
    package let code: Int32
    package let call: StaticString

    package init(code: Int32, call: StaticString) {
        self.code = code
        self.call = call
    }

    package static func == (left: Self, right: Self) -> Bool { left.code == right.code }
    package func hash(into hasher: inout Hasher) { hasher.combine(code) }
}

package struct ListenOptions: Sendable {
    /// Several sockets may listen on one address; the kernel spreads connections (SO_REUSEPORT).
    package var reusePort = true
    /// Connections the kernel queues; Envoy's default is the system's limit (SOMAXCONN).
    package var backlog: Int32 = 4096
    /// Accept connections for addresses this host does not have (IP_TRANSPARENT).
    package var transparent = false
    package var onlyIPv6 = true
    /// Of this socket and those accepted from it.
    package var mark: UInt32?

    package init() {}
}

package struct SocketOptions: Sendable {
    package struct KeepAlive: Sendable {
        /// Nil leaves the kernel's value.
        package var probes: Int32?
        package var idleSeconds: Int32?
        package var intervalSeconds: Int32?

        package init(probes: Int32? = nil, idleSeconds: Int32? = nil, intervalSeconds: Int32? = nil)
        {
            self.probes = probes
            self.idleSeconds = idleSeconds
            self.intervalSeconds = intervalSeconds
        }
    }

    /// Send small segments at once (TCP_NODELAY), as every proxy of request and response must.
    package var noDelay = true
    package var keepAlive: KeepAlive?
    /// Bind the local side before connecting.
    package var source: SocketAddress?
    /// The source may be an address that this host does not have (IP_TRANSPARENT, IP_FREEBIND): somebody
    /// else's, whose replies a routing rule brings back here.
    package var sourceIsForeign = false
    /// Marks every packet (SO_MARK), so that a packet filter tells our connections from the application's.
    package var mark: UInt32?
    /// How long sent bytes may stay unacknowledged (TCP_USER_TIMEOUT).
    package var userTimeout: Nanoseconds?

    package init() {}
}
