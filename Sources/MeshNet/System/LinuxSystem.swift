import CLinux
import Glibc

/// ``System`` on Linux: epoll, edge-triggered, and non-blocking sockets.
package final class LinuxSystem: System {
    private let epoll: Int32
    private let eventWaker: EventWaker
    private let ready: UnsafeMutablePointer<epoll_event>
    /// Accepting stops at this descriptor: what is above is for connections this process makes itself,
    /// for logs, and for the administrator, who wants to see what is wrong.
    private let acceptCeiling: Int32
    /// The last connection accepted came near the ceiling.
    private var isNearCeiling = false

    /// Events taken from the kernel in one call. More wait for the next; 256 keeps a batch in cache.
    private static let eventsMax: Int32 = 256
    private static let wakerToken = UInt64.max

    /// - Parameter descriptorShareKept: the part of the process's limit of open files (`ulimit -n`) that
    ///   accepted connections leave to others, as one in so many; 0 keeps none.
    package init(descriptorShareKept: Int32 = 0) throws(SystemError) {
        acceptCeiling = Self.ceiling(keeping: descriptorShareKept)
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard epoll >= 0 else { throw SystemError(code: errno, call: "epoll_create1") }
        eventWaker = try EventWaker()
        ready = .allocate(capacity: Int(Self.eventsMax))
        try watch(
            eventWaker.descriptor,
            token: Self.wakerToken,
            mask: UInt32(EPOLLIN.rawValue)
        )
    }

    deinit {
        Glibc.close(epoll)
        ready.deallocate()
    }

    package var waker: any Waker { eventWaker }

    // MARK: Time and entropy

    package func now() -> Instant {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Instant(nanoseconds: UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec))
    }

    package func wallClock() -> WallTime { Self.wallClockNow() }

    /// For threads without a loop.
    package static func wallClockNow() -> WallTime {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return WallTime(nanoseconds: Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec))
    }

    package func fill(random buffer: UnsafeMutableRawBufferPointer) {
        var filled = 0
        while filled < buffer.count {
            let taken = getrandom(buffer.baseAddress.map { $0 + filled }, buffer.count - filled, 0)
            // getrandom fails only on EINTR for the sizes and flags used here.
            if taken > 0 { filled += taken }
        }
    }

    // MARK: Opening

    package func listen(
        on address: SocketAddress,
        options: ListenOptions
    ) throws(SystemError) -> Socket {
        let socket = try open(address.family)
        do throws(SystemError) {
            if case .unix(let path) = address {
                if !path.hasPrefix("@") { unlink(path) }
            } else {
                try set(socket, SOL_SOCKET, SO_REUSEADDR, 1)
                if options.reusePort { try set(socket, SOL_SOCKET, SO_REUSEPORT, 1) }
                if options.transparent { try set(socket, Int32(SOL_IP), IP_TRANSPARENT, 1) }
                if let mark = options.mark { try setMark(mark, of: socket) }
                if address.family == AF_INET6 {
                    try set(socket, Int32(IPPROTO_IPV6), IPV6_V6ONLY, options.onlyIPv6 ? 1 : 0)
                }
            }
            try check(address.withSockaddr { Glibc.bind(socket.descriptor, $0, $1) }, "bind")
            // Accepted sockets inherit it, which saves a call per connection.
            apply(SocketOptions(), to: socket)
            try check(Glibc.listen(socket.descriptor, options.backlog), "listen")
        } catch {
            close(socket)
            throw error
        }
        return socket
    }

    private static func ceiling(keeping share: Int32) -> Int32 {
        var limit = rlimit()
        guard share > 0, getrlimit(__rlimit_resource_t(UInt32(RLIMIT_NOFILE.rawValue)), &limit) == 0
        else { return .max }
        let count = Int32(clamping: limit.rlim_cur)
        return count - min(64, count / share)
    }

    /// Whether the lowest free descriptor is still above the ceiling.
    private func isCeilingReached(by socket: Socket) -> Bool {
        let probe = dup(socket.descriptor)
        guard probe >= 0 else { return true }
        Glibc.close(probe)
        isNearCeiling = probe >= acceptCeiling
        return isNearCeiling
    }

    package func accept(from listener: Socket) -> AcceptResult {
        if isNearCeiling, isCeilingReached(by: listener) {
            return .exhausted(SystemError(code: EMFILE, call: "accept4"))
        }
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let descriptor = clinux_accept(listener.descriptor, &storage, &length)
        guard descriptor >= 0 else {
            switch errno {
            case EAGAIN: return .wouldBlock
            case EMFILE, ENFILE, ENOBUFS, ENOMEM:
                return .exhausted(SystemError(code: errno, call: "accept4"))
            default: return .lost
            }
        }
        if descriptor >= acceptCeiling { isNearCeiling = true }
        guard let address = SocketAddress(storage) else {
            Glibc.close(descriptor)
            return .lost
        }
        return .accepted(Socket(descriptor: descriptor), from: address)
    }

    package func connect(
        to address: SocketAddress,
        options: SocketOptions
    ) throws(SystemError) -> Socket {
        let socket = try open(address.family)
        do throws(SystemError) {
            if let mark = options.mark { try setMark(mark, of: socket) }
            if let source = options.source {
                if options.sourceIsForeign {
                    try set(socket, Int32(SOL_IP), IP_TRANSPARENT, 1)
                    try set(socket, Int32(SOL_IP), IP_FREEBIND, 1)
                }
                // The port is chosen with the peer in view, so that it is not taken from all others.
                if source.port == 0 { try set(socket, Int32(SOL_IP), IP_BIND_ADDRESS_NO_PORT, 1) }
                try check(source.withSockaddr { Glibc.bind(socket.descriptor, $0, $1) }, "bind")
            }
            apply(options, to: socket)
            let result = address.withSockaddr { Glibc.connect(socket.descriptor, $0, $1) }
            if result != 0, errno != EINPROGRESS { throw SystemError(code: errno, call: "connect") }
        } catch {
            close(socket)
            throw error
        }
        return socket
    }

    package func connectOutcome(of socket: Socket) -> SystemError? {
        var code: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(socket.descriptor, SOL_SOCKET, SO_ERROR, &code, &length)
        return code == 0 ? nil : SystemError(code: code, call: "connect")
    }

    package func localAddress(of socket: Socket) -> SocketAddress? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getsockname(socket.descriptor, $0, &length)
            }
        }
        return result == 0 ? SocketAddress(storage) : nil
    }

    package func originalDestination(of socket: Socket) -> SocketAddress? {
        var storage = sockaddr_storage()
        for level in [Int32(SOL_IP), Int32(SOL_IPV6)] {
            var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            // SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST are both 80.
            if getsockopt(socket.descriptor, level, SO_ORIGINAL_DST, &storage, &length) == 0 {
                return SocketAddress(storage)
            }
        }
        return nil
    }

    package func apply(_ options: SocketOptions, to socket: Socket) {
        // Options that a socket's family does not know (Unix domain) are no error.
        let tcp = Int32(IPPROTO_TCP)
        if options.noDelay { try? set(socket, tcp, TCP_NODELAY, 1) }
        if let timeout = options.userTimeout {
            try? set(socket, tcp, TCP_USER_TIMEOUT, Int32(clamping: timeout.count / 1_000_000))
        }
        guard let keepAlive = options.keepAlive else { return }
        try? set(socket, SOL_SOCKET, SO_KEEPALIVE, 1)
        if let probes = keepAlive.probes { try? set(socket, tcp, TCP_KEEPCNT, probes) }
        if let idle = keepAlive.idleSeconds { try? set(socket, tcp, TCP_KEEPIDLE, idle) }
        if let interval = keepAlive.intervalSeconds {
            try? set(socket, tcp, TCP_KEEPINTVL, interval)
        }
    }

    // MARK: Reading and writing

    package func receive(
        from socket: Socket,
        into buffer: UnsafeMutableRawBufferPointer
    ) -> IOResult {
        result(of: recv(socket.descriptor, buffer.baseAddress, buffer.count, 0), "recv")
    }

    package func peek(_ socket: Socket, into buffer: UnsafeMutableRawBufferPointer) -> IOResult {
        let flags = Int32(MSG_PEEK)
        return result(of: recv(socket.descriptor, buffer.baseAddress, buffer.count, flags), "recv")
    }

    private func result(of count: Int, _ call: StaticString) -> IOResult {
        if count > 0 { return .bytes(count) }
        if count == 0 { return .endOfStream }
        let code = errno
        if code == EAGAIN || code == EINTR { return .wouldBlock }
        return .failed(SystemError(code: code, call: call))
    }

    package func send(_ bytes: Bytes, to socket: Socket) -> IOResult {
        let count = Glibc.send(
            socket.descriptor,
            bytes.baseAddress,
            bytes.count,
            Int32(MSG_NOSIGNAL)
        )
        return count == 0 ? .wouldBlock : result(of: count, "send")
    }

    package func shutdownSending(_ socket: Socket) {
        shutdown(socket.descriptor, Int32(SHUT_WR))
    }

    package func close(_ socket: Socket) { Glibc.close(socket.descriptor) }

    package func abort(_ socket: Socket) {
        var option = linger(l_onoff: 1, l_linger: 0)
        setsockopt(
            socket.descriptor,
            SOL_SOCKET,
            SO_LINGER,
            &option,
            socklen_t(MemoryLayout<linger>.size)
        )
        close(socket)
    }

    // MARK: Readiness

    package func watch(_ socket: Socket, token: UInt64) throws(SystemError) {
        // One registration for life: no epoll_ctl per change of interest. RDHUP so that a FIN behind
        // a short read still raises an event.
        let mask = EPOLLIN.rawValue | EPOLLOUT.rawValue | EPOLLRDHUP.rawValue | EPOLLET.rawValue
        try watch(socket.descriptor, token: token, mask: UInt32(mask))
    }

    private func watch(_ descriptor: Int32, token: UInt64, mask: UInt32) throws(SystemError) {
        var event = epoll_event()
        clinux_event_set(&event, mask, token)
        if epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) == 0 { return }
        // A socket that changes hands (listener filter to connection) gets a new token; modifying
        // reports its present readiness anew.
        guard errno == EEXIST else { throw SystemError(code: errno, call: "epoll_ctl") }
        try check(epoll_ctl(epoll, EPOLL_CTL_MOD, descriptor, &event), "epoll_ctl")
    }

    package func poll(
        for timeout: Nanoseconds?,
        into events: UnsafeMutableBufferPointer<ReadyEvent>
    ) -> Int {
        // Rounded up: waking before the deadline would only poll again.
        let milliseconds =
            timeout.map { min(Int64(Int32.max), ($0.count + 999_999) / 1_000_000) } ?? -1
        let limit = min(Self.eventsMax, Int32(events.count))
        let count = epoll_wait(epoll, ready, limit, Int32(milliseconds))
        guard count > 0 else { return 0 }
        var reported = 0
        for at in 0..<Int(count) {
            let token = clinux_event_token(ready + at)
            if token == Self.wakerToken {
                eventWaker.drain()
                continue
            }
            events[reported] = ReadyEvent(token: token, readiness: Self.readiness(ready[at].events))
            reported += 1
        }
        return reported
    }

    private static func readiness(_ mask: UInt32) -> Readiness {
        var readiness = Readiness()
        if mask & UInt32(EPOLLIN.rawValue) != 0 { readiness.insert(.read) }
        if mask & UInt32(EPOLLOUT.rawValue) != 0 { readiness.insert(.write) }
        if mask & UInt32(EPOLLRDHUP.rawValue | EPOLLHUP.rawValue) != 0 {
            readiness.insert(.peerClosed)
        }
        if mask & UInt32(EPOLLERR.rawValue) != 0 { readiness.insert(.error) }
        return readiness
    }

    // MARK: Helpers

    private func open(_ family: Int32) throws(SystemError) -> Socket {
        let descriptor = clinux_stream_socket(family)
        guard descriptor >= 0 else { throw SystemError(code: errno, call: "socket") }
        return Socket(descriptor: descriptor)
    }

    private func set(
        _ socket: Socket,
        _ level: Int32,
        _ option: Int32,
        _ value: Int32
    ) throws(SystemError) {
        var value = value
        let size = socklen_t(MemoryLayout<Int32>.size)
        try check(setsockopt(socket.descriptor, level, option, &value, size), "setsockopt")
    }

    private func setMark(_ mark: UInt32, of socket: Socket) throws(SystemError) {
        try set(socket, SOL_SOCKET, SO_MARK, Int32(bitPattern: mark))
    }

    private func check(_ result: Int32, _ call: StaticString) throws(SystemError) {
        if result < 0 { throw SystemError(code: errno, call: call) }
    }
}

/// An eventfd: writing to it makes the loop's poll return.
private final class EventWaker: Waker {
    let descriptor: Int32

    init() throws(SystemError) {
        descriptor = eventfd(0, Int32(EFD_NONBLOCK) | Int32(EFD_CLOEXEC))
        guard descriptor >= 0 else { throw SystemError(code: errno, call: "eventfd") }
    }

    deinit { close(descriptor) }

    func wake() { eventfd_write(descriptor, 1) }

    func drain() {
        var count: eventfd_t = 0
        eventfd_read(descriptor, &count)
    }
}
