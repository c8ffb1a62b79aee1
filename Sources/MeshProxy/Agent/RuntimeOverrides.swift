import MeshConfig

/// What `POST /runtime_modify` laid over the file's runtime values. Belongs to the control thread.
final class RuntimeOverrides {
    private let file: RuntimeConfig
    private let publish: (RuntimeConfig, _ overrides: Int) -> Void
    /// In the order they were first set.
    private(set) var values: [(key: String, value: String)] = []

    /// - Parameters:
    ///   - file: the configuration's layers.
    ///   - publish: puts new values in force.
    init(_ file: RuntimeConfig, publish: @escaping (RuntimeConfig, _ overrides: Int) -> Void) {
        self.file = file
        self.publish = publish
    }

    /// Lays values over the file's; an empty one takes an earlier one back. Returns why nothing was
    /// changed, in Envoy's words where it has some, or nil.
    func modify(_ changes: [(key: String, value: String)]) -> String? {
        guard file.hasAdminLayer else { return "No admin layer specified" }
        for (key, value) in changes where !value.isEmpty {
            if let problem = RuntimeKeys.problem(key, RuntimeConfig.value(of: value)) {
                return problem
            }
        }
        for (key, value) in changes {
            let at = values.firstIndex { $0.key == key }
            switch (at, value.isEmpty) {
            case (let at?, true): values.remove(at: at)
            case (let at?, false): values[at].value = value
            case (nil, true): break
            case (nil, false): values.append((key, value))
            }
        }
        publish(file.replacingAdminLayer(with: values), values.count)
        return nil
    }
}

/// Holds what was compiled from runtime values, and compiles it anew when they change. What is under way
/// keeps what it began with.
protocol RuntimeUser: AnyObject {
    func apply(_ runtime: RuntimeConfig)
}
