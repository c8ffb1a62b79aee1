/// A text or JSON with operators in it (envoy: core.v3.SubstitutionFormatString).
package struct SubstitutionFormatConfig: Hashable, Sendable {
    package enum Body: Hashable, Sendable {
        case text(FormatStringConfig)
        /// A text that a file or an environment variable holds; see ``resolved(_:)``.
        case source(DataSource)
        case json(FormatTemplate)
    }

    package let body: Body
    /// Leave out what has no value, instead of `-` in a text and null in JSON.
    package let omitsEmptyValues: Bool
    /// For local replies; nil asks for the usual one of the body's kind.
    package let contentType: String?

    package init(_ body: Body, omitsEmptyValues: Bool = false, contentType: String? = nil) {
        self.body = body
        self.omitsEmptyValues = omitsEmptyValues
        self.contentType = contentType
    }

    package init(_ object: ConfigObject) {
        omitsEmptyValues = object.bool("omit_empty_values", default: false)
        let contentType = object.string("content_type", default: "")
        self.contentType = contentType.isEmpty ? nil : contentType
        Self.checkFormatters(object)
        // Properties are always sorted, so both values are honoured.
        _ = object.object("json_format_options")?.bool("sort_properties")
        switch object.exactlyOne(of: "text_format", "text_format_source", "json_format") {
        case "text_format":
            body = .text(
                FormatStringConfig.decode(
                    object.requiredString("text_format"),
                    in: object,
                    at: "text_format"
                )
            )
        case "text_format_source":
            guard let source = object.object("text_format_source") else { fallthrough }
            let data = DataSource(source)
            if case .inlineString(let text) = data.source {
                body = .text(FormatStringConfig.decode(text, in: source, at: "inline_string"))
            } else {
                body = .source(data)
            }
        default:
            body = .json(FormatTemplate.decode(object.value("json_format"), object, "json_format"))
        }
    }

    /// The same with the text read and parsed that ``Body/source(_:)`` only names.
    package func resolved(
        _ files: any ConfigFiles
    ) throws(ConfigFileError) -> SubstitutionFormatConfig {
        guard case .source(let source) = body else { return self }
        let text = String(decoding: try source.load(files), as: UTF8.self)
        do throws(FormatError) {
            return SubstitutionFormatConfig(
                .text(try FormatStringConfig.parse(text)),
                omitsEmptyValues: omitsEmptyValues,
                contentType: contentType
            )
        } catch {
            throw ConfigFileError(source.path ?? "text_format_source", error.description)
        }
    }

    /// Operators of these two are built in; others would bring operators we do not know.
    private static func checkFormatters(_ object: ConfigObject) {
        for formatter in object.objects("formatters") {
            _ = formatter.string("name")
            guard let (type, config) = formatter.typedConfig() else { continue }
            switch type {
            case "envoy.extensions.formatter.metadata.v3.Metadata",
                "envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery":
                break
            default:
                config.skip()
                formatter.error("the formatter \(type) is not supported", at: "typed_config")
            }
        }
    }
}

/// JSON whose strings are format strings.
package indirect enum FormatTemplate: Hashable, Sendable {
    package struct Member: Hashable, Sendable {
        package let key: String
        package let value: FormatTemplate

        package init(key: String, value: FormatTemplate) {
            self.key = key
            self.value = value
        }
    }

    case null
    case bool(Bool)
    case number(Double)
    case text(FormatStringConfig)
    case list([FormatTemplate])
    /// By key: a protobuf map has no order of its own.
    case object([Member])

    static func decode(
        _ value: ConfigValue?,
        _ object: ConfigObject,
        _ key: String
    ) -> FormatTemplate {
        switch value {
        case nil, .null: return .null
        case .bool(let value): return .bool(value)
        case .number(let value): return .number(value)
        case .string(let text): return .text(FormatStringConfig.decode(text, in: object, at: key))
        case .list(let values): return .list(values.map { decode($0, object, key) })
        case .object(let fields):
            return .object(
                fields.sorted { $0.key < $1.key }.map {
                    Member(key: $0.key, value: decode($0.value, object, key))
                }
            )
        }
    }
}
