/// A number a runtime key may override (envoy: core.v3.RuntimeUInt32).
package struct RuntimeUInt32: Hashable, Sendable {
    package let defaultValue: UInt32
    /// Empty where there is none.
    package let runtimeKey: String

    package init(_ defaultValue: UInt32, runtimeKey: String = "") {
        self.defaultValue = defaultValue
        self.runtimeKey = runtimeKey
    }

    package init(_ object: ConfigObject) {
        defaultValue = object.uint32("default_value", default: 0)
        runtimeKey = object.runtimeKey("runtime_key")
    }
}

/// A number a runtime key may override (envoy: core.v3.RuntimeDouble).
package struct RuntimeDouble: Hashable, Sendable {
    package let defaultValue: Double
    /// Empty where there is none.
    package let runtimeKey: String

    package init(_ object: ConfigObject) {
        defaultValue = object.double("default_value", default: 0)
        runtimeKey = object.runtimeKey("runtime_key")
    }
}

/// A switch a runtime key may override (envoy: core.v3.RuntimeFeatureFlag).
package struct RuntimeFeatureFlag: Hashable, Sendable {
    package let defaultValue: Bool
    /// Empty where there is none.
    package let runtimeKey: String

    package init(_ object: ConfigObject) {
        if !object.isPresent("default_value") { object.error("default_value is required") }
        defaultValue = object.bool("default_value", default: false)
        runtimeKey = object.runtimeKey("runtime_key")
    }
}

/// A percentage, 0 to 100 (envoy: type.v3.Percent).
package struct Percent: Hashable, Sendable {
    package let value: Double

    package init(_ value: Double) { self.value = value }

    package init(_ object: ConfigObject) {
        value = object.double("value", in: 0...100) ?? 0
    }
}

/// Values by dotted name, in layers of which later ones win (envoy: bootstrap.v3.LayeredRuntime).
package struct RuntimeConfig: Hashable, Sendable {
    /// A layer of the file, or the one POST /runtime_modify writes to.
    package enum Layer: Hashable, Sendable {
        case fixed(name: String, values: [Value])
        case admin(name: String, values: [Value])

        package var name: String {
            switch self {
            case .fixed(let name, _), .admin(let name, _): name
            }
        }

        fileprivate var values: [Value] {
            switch self {
            case .fixed(_, let values), .admin(_, let values): values
            }
        }
    }

    /// One flattened entry: `{"a": {"b": 1}}` is the key `a.b`.
    package struct Value: Hashable, Sendable {
        package let key: String
        package let value: ConfigValue
    }

    package let layers: [Layer]

    package init() { layers = [] }

    private init(layers: [Layer]) { self.layers = layers }

    package var hasAdminLayer: Bool {
        layers.contains { if case .admin = $0 { true } else { false } }
    }

    /// The same layers with these texts as the admin layer's values. A text is a number, true or false,
    /// a fractional percent as JSON or `numerator: 5`, or else a string.
    package func replacingAdminLayer(with texts: [(key: String, value: String)]) -> RuntimeConfig {
        RuntimeConfig(
            layers: layers.map { layer in
                guard case .admin(let name, _) = layer else { return layer }
                let values = texts.map { Value(key: $0.key, value: Self.value(of: $0.value)) }
                return .admin(name: name, values: values)
            }
        )
    }

    /// What a text given to POST /runtime_modify means.
    package static func value(of text: String) -> ConfigValue {
        if text == "true" || text == "false" { return .bool(text == "true") }
        let isNumeric = text.utf8.allSatisfy {
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || "+-.eE".utf8.contains($0)
        }
        if isNumeric, let number = Double(text), number.isFinite { return .number(number) }
        if case .object(let fields)? = ConfigDocument.value(
            Array(text.utf8),
            fileName: "value.yaml"
        ) {
            return .object(fields)
        }
        return .string(text)
    }

    package init(_ object: ConfigObject) {
        var names: Set<String> = []
        layers = object.objects("layers").compactMap { layer in
            let name = layer.requiredString("name")
            layer.unsupported(
                "disk_layer",
                "runtime values are read from this file only; use static_layer or admin_layer"
            )
            layer.unsupported(
                "rtds_layer",
                "runtime values are read from this file only; use static_layer or admin_layer"
            )
            if !name.isEmpty, !names.insert(name).inserted {
                layer.error("\(ConfigNode.quoted(name)) is the name of another layer", at: "name")
            }
            switch layer.exactlyOne(
                of: "static_layer",
                "admin_layer",
                "disk_layer",
                "rtds_layer"
            )
            {
            case "static_layer":
                return .fixed(name: name, values: Self.flatten(layer))
            case "admin_layer":
                _ = layer.object("admin_layer")
                return .admin(name: name, values: [])
            default: break
            }
            return nil
        }
        let admins = layers.count { if case .admin = $0 { true } else { false } }
        if admins > 1 { object.error("there may be only one admin_layer", at: "layers") }
    }

    /// A struct whose members are `numerator` and `denominator` is one value, a fractional percent.
    private static func flatten(_ layer: ConfigObject) -> [Value] {
        var values: [Value] = []
        func visit(_ prefix: String, _ fields: [(key: String, value: ConfigValue)]) {
            for (name, value) in fields {
                let key = prefix.isEmpty ? name : "\(prefix).\(name)"
                switch value {
                case .object(let inner)
                where inner["numerator"] == nil && inner["denominator"] == nil:
                    visit(key, inner.map { ($0.key, $0.value) })
                case .null, .list:
                    layer.error(
                        "\(ConfigNode.quoted(key)) must be a number, a string, true or false, or a"
                            + " fractional percent",
                        at: "static_layer"
                    )
                case .object, .number, .string, .bool:
                    values.append(Value(key: key, value: value))
                }
            }
        }
        visit("", layer.entries("static_layer"))
        return values
    }

    /// How many names have a value.
    package var keyCount: Int {
        var keys: Set<String> = []
        for layer in layers { keys.formUnion(layer.values.map(\.key)) }
        return keys.count
    }

    /// The value of `key` in the last layer that has it.
    package subscript(key: String) -> ConfigValue? {
        for layer in layers.reversed() {
            if let match = layer.values.last(where: { $0.key == key }) { return match.value }
        }
        return nil
    }
}
