import CAres
import CLinux
import Glibc
import Synchronization

/// ``NameResolver`` on c-ares: reads the hosts file, then asks DNS. One thread of its own does all of
/// it, so that neither workers nor the control thread ever wait for a name.
package final class AresResolver: NameResolver {
    private let queries = Mutex<Inbox>(Inbox())
    /// Ends the thread's poll.
    private let wake: Int32
    private let thread = Mutex<pthread_t?>(nil)

    private struct Inbox {
        var queries: [Query] = []
        var isStopped = false
    }

    fileprivate struct Query: Sendable {
        let name: String
        let lookup: NameLookup
        let completion: @Sendable (NameAnswer) -> Void
    }

    /// Starts the thread.
    package init(_ options: ResolverOptions) throws(SystemError) {
        wake = eventfd(0, Int32(EFD_NONBLOCK) | Int32(EFD_CLOEXEC))
        guard wake >= 0 else { throw SystemError(code: errno, call: "eventfd") }
        guard ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS else {
            throw SystemError(code: ENOMEM, call: "ares_library_init")
        }
        let start = Unmanaged.passRetained(Start(resolver: self, options: options))
        var thread = pthread_t()
        let result = pthread_create(
            &thread,
            nil,
            { argument in
                guard let argument else { return nil }
                let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                clinux_name_thread("resolver")
                start.resolver.run(start.options)
                return nil
            },
            start.toOpaque()
        )
        guard result == 0 else {
            start.release()
            throw SystemError(code: result, call: "pthread_create")
        }
        self.thread.withLock { $0 = thread }
    }

    private final class Start: Sendable {
        let resolver: AresResolver
        let options: ResolverOptions
        init(resolver: AresResolver, options: ResolverOptions) {
            self.resolver = resolver
            self.options = options
        }
    }

    deinit { Glibc.close(wake) }

    package func resolve(
        _ name: String,
        _ family: NameLookup,
        _ completion: @escaping @Sendable (NameAnswer) -> Void
    ) {
        if let address = IPAddress(name) {
            let fits = address.isIPv6 ? family != .ipv4Only : family != .ipv6Only
            return completion(.addresses(fits ? [ResolvedAddress(address)] : []))
        }
        let query = Query(name: name, lookup: family, completion: completion)
        queries.withLock { $0.queries.append(query) }
        eventfd_write(wake, 1)
    }

    /// Ends the thread and waits for its end. Queries under way are answered with a failure.
    package func stop() {
        queries.withLock { $0.isStopped = true }
        eventfd_write(wake, 1)
        let thread = self.thread.withLock { thread in
            defer { thread = nil }
            return thread
        }
        if let thread { pthread_join(thread, nil) }
    }

    // MARK: The resolver's thread

    private func run(_ options: ResolverOptions) {
        let channel: AresChannel
        switch AresChannel.open(options) {
        case .success(let opened): channel = opened
        case .failure(let error): return refuseAll(error.reason)
        }
        var inbox = take()
        while !inbox.isStopped {
            for query in inbox.queries { channel.ask(query.name, query.lookup, query.completion) }
            channel.waitOnce(orUntil: wake)
            inbox = take()
        }
        channel.close()
        for query in inbox.queries { query.completion(.failed("the resolver has stopped")) }
    }

    private func take() -> (queries: [Query], isStopped: Bool) {
        queries.withLock { inbox in
            defer { inbox.queries = [] }
            return (inbox.queries, inbox.isStopped)
        }
    }

    /// Without a channel every query fails, at once.
    private func refuseAll(_ reason: String) {
        var event = pollfd(fd: wake, events: Int16(POLLIN), revents: 0)
        while true {
            let (queries, isStopped) = take()
            for query in queries { query.completion(.failed(reason)) }
            if isStopped { return }
            poll(&event, 1, -1)
            var count: eventfd_t = 0
            eventfd_read(wake, &count)
        }
    }
}
