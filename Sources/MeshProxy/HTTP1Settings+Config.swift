import MeshConfig
import MeshHTTP
import MeshRuntime

extension HTTP1Settings {
    /// What a connection manager's clients may send and how its responses are written.
    init(downstream config: HTTPConnectionManagerConfig, runtime: RuntimeConfig) {
        self.init()
        leniency = HTTP1Leniency(runtime, .downstream)
        maxHeadersKB = UInt32(config.requestHeadersKilobytesMax)
        maxHeadersCount = config.protocolOptions.maxHeadersCount ?? 100
        acceptHTTP10 = config.http1.acceptsHTTP10
        defaultHostForHTTP10 = config.http1.defaultHostForHTTP10
        allowAbsoluteURL = config.http1.allowsAbsoluteURL
        enableTrailers = config.http1.enablesTrailers
        allowChunkedLength = config.http1.allowsChunkedLength
        allowCustomMethods = config.http1.allowsCustomMethods
        let ignored = config.http1.ignoredUpgrades.map { $0.workerCopy() }
        if !ignored.isEmpty {
            ignoresUpgrade = { name in ignored.contains { $0.matches(name) } }
        }
        headerKeyFormat =
            switch config.http1.headerKeyFormat {
            case .lowerCase: .lowerCase
            case .properCase: .properCase
            case .preserveCase: .preserveCase
            }
    }
}
