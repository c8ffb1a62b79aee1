import MeshConfig
import Testing

private let file = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"

private func decode(_ json: String) -> (log: AccessLogConfig?, errors: [String]) {
    let diagnostics = ConfigDiagnostics()
    let object = ConfigDocument.parse(json: json, diagnostics: diagnostics)
    let log = object.map { AccessLogConfig($0) }
    object?.finish()
    return (log, diagnostics.errors.map(\.message))
}

private func logger(_ fields: String, filter: String = "null") -> String {
    #"{"name": "x", "filter": \#(filter), "typed_config": {"@type": "\#(file)", \#(fields)}}"#
}

struct AccessLogConfigTests {
    @Test func `without a format Envoy's default is logged`() throws {
        let (log, errors) = decode(logger(#""path": "/dev/null""#))
        #expect(errors == [])
        #expect(log?.sink == .file(path: "/dev/null"))
        #expect(log?.format == AccessLogConfig.defaultFormat)
        guard case .text(let format) = log?.format.body else {
            Issue.record("not a text")
            return
        }
        #expect(format.parts.last == .literal("\"\n"))
    }

    @Test(arguments: [
        #""log_format": {"text_format_source": {"inline_string": "%PROTOCOL%"}}"#,
        #""log_format": {"text_format": "%PROTOCOL%"}"#,
        #""format": "%PROTOCOL%""#,
    ])
    func `a text format is read wherever Envoy takes it`(fields: String) {
        let (log, errors) = decode(logger(#""path": "/l", "# + fields))
        #expect(errors == [])
        #expect(log?.format.body == .text(FormatStringConfig(parts: [.field(.proto)])))
    }

    @Test func `a JSON format keeps types and nesting and is sorted by key`() {
        let (log, errors) = decode(
            logger(
                #"""
                "path": "/l", "log_format": {"omit_empty_values": true, "json_format":
                {"b": 1, "a": {"x": "%DURATION%"}, "c": [true, null]}}
                """#
            )
        )
        #expect(errors == [])
        #expect(log?.format.omitsEmptyValues == true)
        #expect(
            log?.format.body
                == .json(
                    .object([
                        .init(
                            key: "a",
                            value: .object([
                                .init(
                                    key: "x",
                                    value: .text(FormatStringConfig(parts: [.field(.duration)]))
                                )
                            ])
                        ),
                        .init(key: "b", value: .number(1)),
                        .init(key: "c", value: .list([.bool(true), .null])),
                    ])
                )
        )
    }

    @Test func `filters nest`() {
        let (log, errors) = decode(
            logger(
                #""path": "/l""#,
                filter: #"""
                    {"and_filter": {"filters": [
                      {"status_code_filter": {"comparison": {"op": "GE", "value":
                        {"default_value": 500, "runtime_key": "k"}}}},
                      {"or_filter": {"filters": [{"response_flag_filter": {"flags": ["UF"]}},
                        {"not_health_check_filter": {}}]}}]}}
                    """#
            )
        )
        #expect(errors == [])
        guard case .and(let operands) = log?.filter else {
            Issue.record("not a conjunction")
            return
        }
        #expect(
            operands[0]
                == .statusCode(
                    .init(operation: .atLeast, value: RuntimeUInt32(500, runtimeKey: "k"))
                )
        )
        #expect(operands[1] == .or([.responseFlags(["UF"]), .always]))
    }

    @Test(arguments: [
        logger(#""path": "/l", "format": "%NOPE%""#),
        logger(#""path": "/l", "colour": "red""#),
        logger(#""path": """#),
        logger(#""path": "/l""#, filter: #"{"traceable_filter": {}}"#),
        logger(#""path": "/l""#, filter: #"{"response_flag_filter": {"flags": ["XX"]}}"#),
        logger(#""path": "/l""#, filter: "{}"),
        logger(
            #""path": "/l""#,
            filter: #"{"and_filter": {"filters": [{"duration_filter": {}}]}}"#
        ),
        #"{"name": "x", "typed_config": {"@type": "type.googleapis.com/a.Grpc", "x": 1}}"#,
    ])
    func `what cannot be honoured is refused`(json: String) {
        #expect(!decode(json).errors.isEmpty)
    }
}
