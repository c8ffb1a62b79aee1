import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// The HTTP authorization filter: asks ``RBACFilterLogic`` and answers 403 where it denies
/// (envoy.filters.http.rbac). Has no state of one stream, so that it is its own factory.
final class RBACFilter: HTTPFilterFactory, HTTPFilter {
    let name: String
    private let config: RBACFilterConfig
    private let statPrefix: String
    private let stats: WorkerStats
    /// Where the filter stands in its chain; a route's settings are found by it.
    private let position: Int
    let logic: RBACFilterLogic

    init(
        _ config: RBACFilterConfig,
        name: String,
        position: Int,
        managerStatPrefix: String,
        stats: WorkerStats
    ) {
        self.name = name
        self.config = config
        self.position = position
        self.stats = stats
        statPrefix = "http.\(managerStatPrefix)."
        logic = RBACFilterLogic(config, statPrefix: statPrefix, stats: stats)
    }

    func filter(for stream: HTTPStream) -> any HTTPFilter { self }

    func setting(_ override: FilterOverridesConfig.Override) -> FilterSetting {
        switch override {
        case .enabled(let isEnabled):
            return isEnabled ? .enabled : .disabled
        case .rbac(let route):
            // Settings without rules allow everything (envoy: RBACPerRoute).
            return .own(
                RBACFilterLogic(route.rbac, statPrefix: statPrefix, stats: stats, chain: config)
            )
        }
    }

    /// What holds on the stream's route.
    func logic(for stream: HTTPStream) -> RBACFilterLogic {
        if case .own(let own) = stream.filterSetting(at: position),
            let logic = own as? RBACFilterLogic
        {
            return logic
        }
        return logic
    }

    func requestHead(
        _ head: HeaderMap,
        endStream: Bool,
        of stream: HTTPStream
    ) -> FilterVerdict {
        switch logic(for: stream).decide(head, stream.info) {
        case .allowed:
            return .proceed
        case .denied(let details):
            stream.worker.log.debug(.rbac, "request denied: \(details)")
            stream.sendLocalReply(
                LocalReply(
                    status: 403,
                    body: RBACVerdict.deniedBody.description,
                    detailsText: details
                )
            )
            return .suspend
        }
    }
}
