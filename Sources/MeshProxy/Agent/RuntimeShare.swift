import MeshConfig

extension RuntimeConfig {
    /// What the runtime makes of a share it may override: a number is a percentage of 100, a struct is
    /// a fraction of its own (envoy: Runtime::Snapshot::featureEnabled).
    func share(_ configured: RuntimeFractionalPercent) -> FractionalPercent {
        guard !configured.runtimeKey.isEmpty, let value = self[configured.runtimeKey] else {
            return configured.defaultValue
        }
        if let number = value.numberValue {
            guard number >= 0, number == number.rounded() else { return configured.defaultValue }
            return FractionalPercent(UInt32(min(100, number)))
        }
        guard case .object(let fields) = value, let numerator = fields["numerator"]?.numberValue
        else { return configured.defaultValue }
        return FractionalPercent(
            UInt32(max(0, min(Double(UInt32.max), numerator))),
            Self.denominator(fields["denominator"])
        )
    }

    private static func denominator(_ value: ConfigValue?) -> FractionalPercent.Denominator {
        let all = FractionalPercent.Denominator.allCases
        if let number = value?.numberValue {
            return all.first { Double($0.rawValue) == number } ?? .hundred
        }
        if case .string(let name)? = value { return all.first { $0.name == name } ?? .hundred }
        return .hundred
    }
}
