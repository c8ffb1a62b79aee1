import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// What is done to a request's head before its filters see it, in Envoy's order: what cannot be served
/// is refused, the path gets one spelling, forwarded fields become trustworthy, the route is chosen.
package final class RequestPreparation {
    private let config: HTTPConnectionManagerConfig
    private let paths: PathNormalization
    private let sanitizer: RequestSanitizer
    private let upgrades: [(type: String, isEnabled: Bool)]

    init(_ config: HTTPConnectionManagerConfig, node: NodeConfig, nodeAddress: IPAddress?) {
        self.config = config
        paths = PathNormalization(config)
        sanitizer = RequestSanitizer(config, node: node, nodeAddress: nodeAddress)
        upgrades = config.upgrades.map { ($0.type, $0.isEnabled) }
    }

    /// Nil where the filters are to see the request; otherwise the answer it gets at once.
    func prepare(_ stream: HTTPStream, _ head: HeaderMap) -> LocalReply? {
        answerExpectation(stream, head)
        if let refusal = checkUnderscores(stream, head) { return refusal }
        guard let authority = head[.authority], !authority.isEmpty else { return .missingHost }
        let isConnect = head[.method]?.equals("CONNECT") ?? false
        if !isConnect {
            guard let path = head[.path], path.first == UInt8(ascii: "/") else {
                stream.settings.stats.downstreamRqNonRelativePath.add()
                return .absolutePathRejected
            }
            if let refusal = normalizePath(stream, head) { return refusal }
        }
        HostHeader.normalize(head, config, listenerPort: stream.info.connection.localAddress.port)
        let random = (stream.worker.random.next(), stream.worker.random.next())
        let origin = sanitizer.sanitize(head, from: stream.info.connection, random: random)
        if let status = origin.rejectStatus {
            stream.settings.stats.downstreamRqRejectedViaIpDetection.add()
            return LocalReply(
                status: status,
                detailsText: "rejecting_because_detection_failed"
            )
        }
        stream.info.remoteAddress = origin.remoteAddress
        stream.isInternalRequest = origin.isInternal
        stream.choose(
            stream.settings.routes.route(head, stream.info, random: stream.worker.random.next())
        )
        return checkUpgrade(stream, head, isConnect: isConnect)
    }

    /// `Expect: 100-continue` is answered here, so that a client does not wait for nothing
    /// (RFC 9110 §10.1.1; envoy: proxy_100_continue).
    private func answerExpectation(_ stream: HTTPStream, _ head: HeaderMap) {
        guard !config.proxiesContinue, let expectation = head[.expect],
            expectation.equalsIgnoringCase("100-continue")
        else { return }
        head.remove(.expect)
        let taken = stream.worker.headers.take()
        let answer = taken.takeUnretainedValue()
        answer.append(.status, "100")
        stream.sendInformational(answer)
        stream.worker.headers.give(taken)
    }

    /// Upstreams may take `a_b` for `a-b` (envoy: headers_with_underscores_action).
    private func checkUnderscores(_ stream: HTTPStream, _ head: HeaderMap) -> LocalReply? {
        func hasUnderscore(_ name: Bytes) -> Bool { name.contains(UInt8(ascii: "_")) }
        if config.protocolOptions.underscoresAction == .allow { return nil }
        let settings = stream.settings
        let stats =
            stream.info.httpVersion == .http2
            ? settings.http2Underscores : settings.http1Underscores
        switch config.protocolOptions.underscoresAction {
        case .allow:
            return nil
        case .dropHeader:
            head.remove { name, _ in
                guard hasUnderscore(name) else { return false }
                stats.dropped.add()
                return true
            }
            return nil
        case .rejectRequest:
            var found = false
            head.forEach { name, _ in if hasUnderscore(name) { found = true } }
            guard found else { return nil }
            stats.rejected.add()
            if stream.info.httpVersion != .http2 { settings.stats.downstreamCxProtocolError.add() }
            return .unexpectedUnderscore
        }
    }

    /// Gives the URL of an internal redirect the one spelling that policy knows; false where that cannot be.
    func normalizeRedirected(_ stream: HTTPStream, _ head: HeaderMap) -> Bool {
        guard normalizePath(stream, head) == nil else {
            stream.settings.routerStats.passthroughInternalRedirectBadLocation.add()
            return false
        }
        HostHeader.normalize(head, config, listenerPort: stream.info.connection.localAddress.port)
        return true
    }

    private func normalizePath(_ stream: HTTPStream, _ head: HeaderMap) -> LocalReply? {
        switch paths.apply(head) {
        case .proceed:
            return nil
        case .reject:
            stream.settings.stats.downstreamRqFailedPathNormalization.add()
            return .pathNormalizationFailed
        case .redirect:
            stream.settings.stats.downstreamRqRedirectedWithNormalizedPath.add()
            return LocalReply(
                status: 307,
                detailsText: "path_normalization_failed",
                location: head.string(.path) ?? "/"
            )
        }
    }

    /// A protocol change that neither the connection manager nor the route allows
    /// (envoy: upgrade_configs).
    private func checkUpgrade(
        _ stream: HTTPStream,
        _ head: HeaderMap,
        isConnect: Bool
    ) -> LocalReply? {
        let wanted: Bytes
        if isConnect {
            let connect: StaticString = "connect"
            wanted = Bytes(start: connect.utf8Start, count: connect.utf8CodeUnitCount)
        } else if let upgrade = head[.upgrade], head.hasConnectionToken("upgrade") {
            wanted = upgrade
        } else {
            return nil
        }
        if case .route(let selection) = stream.decision,
            case .forward(let action) = selection.route.action,
            let own = action.allowsUpgrade(wanted)
        {
            if own.isEnabled { return upgraded(stream) }
        } else if upgrades.contains(where: { $0.isEnabled && wanted.equalsLowered($0.type) }) {
            return upgraded(stream)
        }
        stream.settings.stats.downstreamRqWsOnNonWsRoute.add()
        return .upgradeFailed
    }

    private func upgraded(_ stream: HTTPStream) -> LocalReply? {
        stream.isUpgrade = true
        stream.settings.upgradeAllowed()
        return nil
    }
}

extension UnsafeRawBufferPointer {
    /// - Parameter text: in lower case.
    fileprivate func equalsLowered(_ text: String) -> Bool {
        text.utf8.count == count
            && zip(self, text.utf8).allSatisfy { ($0 &- 0x41 < 26 ? $0 | 0x20 : $0) == $1 }
    }
}

extension HeaderMap {
    /// Whether `connection` names this option (RFC 9110 §7.6.1).
    ///
    /// - Parameter token: in lower case.
    func hasConnectionToken(_ token: StaticString) -> Bool {
        guard let value = self[.connection] else { return false }
        return value.split(separator: UInt8(ascii: ",")).contains { part in
            var part = part
            while let first = part.first, first == 0x20 || first == 0x09 { part = part.dropFirst() }
            while let last = part.last, last == 0x20 || last == 0x09 { part = part.dropLast() }
            return Bytes(rebasing: part).equalsIgnoringCase(token)
        }
    }
}
