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
    let isDisabled: Bool
    private let logic: RBACFilterLogic

    init(
        _ config: RBACFilterConfig,
        name: String,
        position: Int,
        isDisabled: Bool,
        managerStatPrefix: String,
        stats: WorkerStats
    ) {
        self.name = name
        self.config = config
        self.position = position
        self.isDisabled = isDisabled
        self.stats = stats
        statPrefix = "http.\(managerStatPrefix)."
        logic = RBACFilterLogic(config, statPrefix: statPrefix, stats: stats)
    }

    func filter(for stream: HTTPStream) -> (any HTTPFilter)? { self }

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

    /// What holds on a route.
    private func logic(_ setting: FilterSetting) -> RBACFilterLogic {
        if case .own(let own) = setting, let logic = own as? RBACFilterLogic { return logic }
        return logic
    }

    func requestHead(
        _ head: HeaderMap,
        endStream: Bool,
        of stream: HTTPStream
    ) -> FilterVerdict {
        switch logic(stream.filterSetting(at: position)).decide(head, stream.info) {
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

    func explain(
        _ head: HeaderMap,
        _ stream: StreamInfo,
        _ setting: FilterSetting
    ) -> Explanation.Filter? {
        let logic = isSkipped(setting) ? nil : logic(setting)
        let source: Explanation.Filter.Source =
            logic == nil ? .disabled : logic === self.logic ? .chain : .route
        let enforced = logic?.enforced?.engine
        return Explanation.Filter(
            name: name,
            source: source,
            enforced: enforced?.explain(head, stream),
            shadow: logic?.shadow?.engine.explain(head, stream),
            details: enforced.flatMap { engine in
                let decision = engine.decide(head, stream)
                return decision.isAllowed ? nil : engine.deniedDetails(decision)
            }
        )
    }
}
