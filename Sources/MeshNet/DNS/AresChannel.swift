import CAres
import CLinux
import Glibc

/// One c-ares channel and the sockets it has open. Lives on one thread.
final class AresChannel {
    private var channel: ares_channel?
    /// What each socket of the channel waits for, as `poll` events.
    private var sockets: [Int32: Int16] = [:]

    struct Failure: Error {
        let reason: String
    }

    private init() {}

    static func open(_ options: ResolverOptions) -> Result<AresChannel, Failure> {
        let result = AresChannel()
        var settings = ares_options()
        var mask = ARES_OPT_SOCK_STATE_CB
        settings.sock_state_cb = { context, socket, isReading, isWriting in
            guard let context else { return }
            Unmanaged<AresChannel>.fromOpaque(context).takeUnretainedValue()
                .socketChanged(socket, isReading: isReading != 0, isWriting: isWriting != 0)
        }
        settings.sock_state_cb_data = Unmanaged.passUnretained(result).toOpaque()
        var flags: Int32 = 0
        if options.usesTCP { flags |= ARES_FLAG_USEVC }
        if options.ignoresSearchDomains { flags |= ARES_FLAG_NOSEARCH }
        if flags != 0 {
            settings.flags = flags
            mask |= ARES_OPT_FLAGS
        }
        if let timeout = options.timeoutMilliseconds {
            settings.timeout = Int32(clamping: timeout)
            mask |= ARES_OPT_TIMEOUTMS
        }
        if let tries = options.tries {
            settings.tries = Int32(clamping: tries)
            mask |= ARES_OPT_TRIES
        }
        if options.rotatesServers { mask |= ARES_OPT_ROTATE }
        let status = ares_init_options(&result.channel, &settings, mask)
        guard status == ARES_SUCCESS else { return .failure(Failure(status)) }
        if let error = result.setServers(options) { return .failure(error) }
        return .success(result)
    }

    private func setServers(_ options: ResolverOptions) -> Failure? {
        guard !options.servers.isEmpty else { return nil }
        var list = options.servers.map(\.description).joined(separator: ",")
        if options.serversAreFallback, let known = cares_servers(channel) {
            list = "\(String(cString: known)),\(list)"
            free(known)
        }
        let status = ares_set_servers_ports_csv(channel, list)
        return status == ARES_SUCCESS ? nil : Failure(status)
    }

    /// Fails what is under way.
    func close() {
        if let channel { ares_destroy(channel) }
        channel = nil
    }

    // MARK: Sockets

    private func socketChanged(_ socket: Int32, isReading: Bool, isWriting: Bool) {
        let events = Int16(isReading ? POLLIN : 0) | Int16(isWriting ? POLLOUT : 0)
        sockets[socket] = events == 0 ? nil : events
    }

    /// Waits for an answer, a time-out of c-ares or the waker, and lets c-ares work.
    func waitOnce(orUntil waker: Int32) {
        var events = sockets.map { pollfd(fd: $0.key, events: $0.value, revents: 0) }
        events.append(pollfd(fd: waker, events: Int16(POLLIN), revents: 0))
        var time = timeval()
        var wait: Int32 = -1
        if ares_timeout(channel, nil, &time) != nil {
            wait = Int32(clamping: time.tv_sec * 1000 + (Int(time.tv_usec) + 999) / 1000)
        }
        poll(&events, nfds_t(events.count), wait)
        for event in events.dropLast() where event.revents != 0 {
            let isReadable = event.revents & ~Int16(POLLOUT) != 0
            let isWritable = event.revents & ~Int16(POLLIN) != 0
            ares_process_fd(
                channel,
                isReadable ? event.fd : ARES_SOCKET_BAD,
                isWritable ? event.fd : ARES_SOCKET_BAD
            )
        }
        // Time-outs.
        ares_process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD)
        var count: eventfd_t = 0
        eventfd_read(waker, &count)
    }

    // MARK: Queries

    private final class Question {
        let channel: AresChannel
        let name: String
        let completion: @Sendable (NameAnswer) -> Void
        /// Asked where the first family has no address.
        var nextFamily: Int32?

        init(
            _ channel: AresChannel,
            _ name: String,
            nextFamily: Int32?,
            _ completion: @escaping @Sendable (NameAnswer) -> Void
        ) {
            self.channel = channel
            self.name = name
            self.nextFamily = nextFamily
            self.completion = completion
        }
    }

    func ask(
        _ name: String,
        _ lookup: NameLookup,
        _ completion: @escaping @Sendable (NameAnswer) -> Void
    ) {
        let (family, next): (Int32, Int32?) =
            switch lookup {
            case .ipv4Only: (AF_INET, nil)
            case .ipv6Only: (AF_INET6, nil)
            case .ipv4First: (AF_INET, AF_INET6)
            case .ipv6First: (AF_INET6, AF_INET)
            case .both: (AF_UNSPEC, nil)
            }
        ask(Question(self, name, nextFamily: next, completion), family)
    }

    private func ask(_ question: Question, _ family: Int32) {
        var hints = ares_addrinfo_hints()
        hints.ai_family = family
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        // In the order of the answer: sorting would open sockets to find out about routes.
        hints.ai_flags = ARES_AI_NOSORT
        ares_getaddrinfo(
            channel,
            question.name,
            nil,
            &hints,
            { context, status, _, result in
                guard let context else { return }
                let question = Unmanaged<Question>.fromOpaque(context).takeRetainedValue()
                let addresses = AresChannel.addresses(result)
                if let result { ares_freeaddrinfo(result) }
                question.channel.answered(question, status, addresses)
            },
            Unmanaged.passRetained(question).toOpaque()
        )
    }

    private func answered(_ question: Question, _ status: Int32, _ addresses: [ResolvedAddress]) {
        let exists = status == ARES_SUCCESS
        let isAbsent =
            status == ARES_ENOTFOUND || status == ARES_ENODATA
            || (exists && addresses.isEmpty)
        if !exists || addresses.isEmpty, let family = question.nextFamily,
            status != ARES_EDESTRUCTION
        {
            question.nextFamily = nil
            return ask(question, family)
        }
        if isAbsent { return question.completion(.addresses([])) }
        question.completion(exists ? .addresses(addresses) : .failed(Failure(status).reason))
    }

    private static func addresses(
        _ result: UnsafeMutablePointer<ares_addrinfo>?
    ) -> [ResolvedAddress] {
        var addresses: [ResolvedAddress] = []
        var node = result?.pointee.nodes
        while let current = node {
            let length = min(Int(current.pointee.ai_addrlen), MemoryLayout<sockaddr_storage>.size)
            var storage = sockaddr_storage()
            if let source = current.pointee.ai_addr { memcpy(&storage, source, length) }
            if let ip = SocketAddress(storage)?.ip {
                addresses.append(ResolvedAddress(ip, ttlSeconds: Int(current.pointee.ai_ttl)))
            }
            node = current.pointee.ai_next
        }
        return addresses
    }
}

extension AresChannel.Failure {
    fileprivate init(_ status: Int32) { reason = String(cString: ares_strerror(status)) }
}
