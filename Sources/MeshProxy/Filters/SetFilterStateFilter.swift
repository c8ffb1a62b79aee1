import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// Values for the filter state, compiled for one worker.
struct FilterStateValues {
    private let values: [(config: FilterStateValueConfig, format: BodyFormat)]

    init(_ config: SetFilterStateConfig, _ formats: FormatEnvironment) {
        values = config.values.map { ($0, BodyFormat($0.format, formats)) }
    }

    /// Leaves the values in the stream's state; the later ones may ask for the earlier. A text that is no
    /// such object leaves what was there. What the connection has is not a stream's to replace.
    func set(in stream: StreamInfo, _ context: FormatContext) {
        for (config, format) in values {
            guard stream.connection.filterState[config.key] == nil,
                stream.filterState[config.key]?.isReadOnly != true,
                let object = object(config, format, context)
            else { continue }
            stream.filterState[config.key] = object
        }
    }

    /// Leaves the values in the state of the context's connection.
    func setInConnection(_ context: FormatContext) {
        let connection = context.stream.connection
        for (config, format) in values {
            guard connection.filterState[config.key]?.isReadOnly != true,
                let object = object(config, format, context)
            else { continue }
            connection.filterState[config.key] = object
        }
    }

    private func object(
        _ config: FilterStateValueConfig,
        _ format: BodyFormat,
        _ context: FormatContext
    ) -> FilterStateObject? {
        var text = ByteBuffer()
        format.append(to: &text, context)
        if text.isEmpty, config.skipsEmpty { return nil }
        return FilterStateObject(String(bytes: text.bytes), config)
    }
}

/// Leaves values in the stream's filter state (envoy.filters.http.set_filter_state). Has no state of one
/// stream, so that it is its own factory.
final class SetFilterStateFilter: HTTPFilterFactory, HTTPFilter {
    let name: String
    let isDisabled: Bool
    private let values: FilterStateValues

    init(
        _ config: SetFilterStateConfig,
        name: String,
        isDisabled: Bool,
        formats: FormatEnvironment
    ) {
        self.name = name
        self.isDisabled = isDisabled
        values = FilterStateValues(config, formats)
    }

    func filter(for stream: HTTPStream) -> (any HTTPFilter)? { self }

    func setting(_ override: FilterOverridesConfig.Override) -> FilterSetting {
        if case .enabled(false) = override { .disabled } else { .enabled }
    }

    func requestHead(
        _ head: HeaderMap,
        endStream: Bool,
        of stream: HTTPStream
    ) -> FilterVerdict {
        values.set(in: stream.info, stream.formatContext())
        return .proceed
    }

    /// Decides nothing, but later filters may look at what it leaves.
    func explain(
        _ head: HeaderMap,
        _ stream: StreamInfo,
        _ setting: FilterSetting
    ) -> Explanation.Filter? {
        guard !isSkipped(setting) else { return nil }
        let context = FormatContext(
            stream,
            requestHead: head,
            now: stream.start,
            wallNow: stream.startWall
        )
        values.set(in: stream, context)
        return nil
    }
}
