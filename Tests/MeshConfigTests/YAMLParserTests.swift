import Testing

@testable import MeshConfig

private func parse(
    _ text: String,
    _ limits: YAMLParser.Limits = .init()
) -> (value: String?, errors: [String]) {
    let diagnostics = ConfigDiagnostics()
    let node = YAMLParser.parse(Array(text.utf8), limits: limits, diagnostics: diagnostics)
    return (node.map { ConfigValue($0).description }, diagnostics.errors.map(\.description))
}

@Suite struct YAMLParserTests {
    @Test(arguments: [
        ("a: 1", #"{"a":1}"#), ("a: '1'", #"{"a":"1"}"#), (#"a: "x\ty""#, #"{"a":"x\ty"}"#),
        ("- 1\n- 2", "[1,2]"), ("{a: [1, {b: c}]}", #"{"a":[1,{"b":"c"}]}"#),
        ("a: yes", #"{"a":"yes"}"#), ("a: on", #"{"a":"on"}"#), ("a: True", #"{"a":true}"#),
        ("a: ~", #"{"a":null}"#), ("a:", #"{"a":null}"#), ("a: 10.0.0.1", #"{"a":"10.0.0.1"}"#),
        ("a: 0x1F", #"{"a":31}"#), ("a: 0o17", #"{"a":15}"#), ("a: 017", #"{"a":17}"#),
        ("a: +5", #"{"a":5}"#), ("a: -.5e1", #"{"a":-5}"#), ("a: 1.", #"{"a":1}"#),
        ("a: .inf", #"{"a":"Infinity"}"#), ("a: .NaN", #"{"a":"NaN"}"#), ("a: .", #"{"a":"."}"#),
        ("a: 1e", #"{"a":"1e"}"#), ("a: 0x", #"{"a":"0x"}"#), ("a: 1s", #"{"a":"1s"}"#),
        ("a: 2001-01-01", #"{"a":"2001-01-01"}"#), ("a: 1_000", #"{"a":"1_000"}"#),
        ("a: !!str 5", #"{"a":"5"}"#), ("a: !!int \"5\"", #"{"a":5}"#), ("1: x", #"{"1":"x"}"#),
        ("a: |\n  one\n  two\n", #"{"a":"one\ntwo\n"}"#), ("%YAML 1.2\n---\na: b", #"{"a":"b"}"#),
        ("a: &x {b: 1}\nc: *x", #"{"a":{"b":1},"c":{"b":1}}"#),
        ("!ignore t: &x [1]\nc: *x", #"{"c":[1]}"#), ("a: é😀", #"{"a":"é😀"}"#),
    ]) func `YAML is read by the core schema`(text: String, json: String) {
        let (value, errors) = parse(text)
        #expect(errors == [])
        #expect(value == json)
    }

    @Test(arguments: [
        ("a: [1", "2:1: while parsing a flow sequence: did not find expected ',' or ']'"),
        ("a: 1\n b: 2", "2:3: mapping values are not allowed in this context"),
        ("a: *nope", "1:4: the alias *nope names no anchor before it"),
        ("a: &x [*x]", "1:8: the alias *x names no anchor before it"),
        ("<<: {a: 1}", "1:1: the merge key << is not part of YAML 1.2; repeat the members"),
        ("? [a]\n: 1", "1:3: a key must be a string"),
        ("", "1:1: the file holds no document"),
        ("a: 1\n---\nb: 2", "2:1: a second document begins here; one is allowed"),
        ("a: !!int x", #"1:4: "x" does not have the type of its tag "tag:yaml.org,2002:int""#),
        ("a: !custom {}", #"1:4: the tag "!custom" is not known for this value"#),
        ("a: \"\\q\"", "1:4: while parsing a quoted scalar: found unknown escape character"),
    ]) func `broken YAML is refused with its place`(text: String, message: String) {
        let errors = parse(text).errors
        #expect(errors.count == 1)
        let place = message.prefix { $0 != " " }
        let expected = message.dropFirst(place.count)
        #expect(errors.first?.hasSuffix(expected) == true, "\(errors)")
        if !message.contains("while parsing") {
            #expect(errors.first?.hasPrefix(place) == true, "\(errors)")
        }
    }

    @Test func `a duplicate key is an error and the rest is still read`() {
        let (value, errors) = parse("a: 1\nb: 2\na: 3\n")
        #expect(value == #"{"a":1,"b":2}"#)
        #expect(errors == [#"3:1: the key "a" appears twice in one object, first at 1:1"#])
    }

    @Test func `aliases cannot blow a file up`() {
        var text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        for level in 1...9 {
            let aliases = Array(repeating: "*a\(level - 1)", count: 10).joined(separator: ", ")
            text += "a\(level): &a\(level) [\(aliases)]\n"
        }
        let (value, errors) = parse(text)
        #expect(value == nil)
        #expect(errors.count == 1)
        #expect(errors.first?.contains("more than 1048576 values") == true)
    }

    @Test func `depth and bytes have limits`() {
        var limits = YAMLParser.Limits()
        limits.depth = 3
        #expect(parse("[[[1]]]", limits).errors == [])
        #expect(
            parse("[[[[1]]]]", limits).errors == ["1:5: nested deeper than the limit of 3 levels"]
        )
        limits.bytes = 3
        #expect(parse("a: 1", limits).errors.count == 1)
    }

    @Test func `bytes that are not UTF-8 are refused`() {
        let diagnostics = ConfigDiagnostics()
        let bytes: [UInt8] = Array("a: \"".utf8) + [0xFF] + Array("\"".utf8)
        #expect(YAMLParser.parse(bytes, diagnostics: diagnostics) == nil)
        #expect(diagnostics.errors.count == 1)
    }

    @Test func `places are those of the text`() {
        let diagnostics = ConfigDiagnostics()
        let object = ConfigDocument.parse(
            Array("outer:\n  inner:\n  - count: many\n  - conut: 1\n".utf8),
            fileName: "a.yaml",
            diagnostics: diagnostics
        )
        for child in object?.object("outer")?.objects("inner") ?? [] { _ = child.uint32("count") }
        object?.finish()
        #expect(
            diagnostics.errors.map(\.description) == [
                #"3:12: outer.inner[0].count: expected a whole number, got "many""#,
                #"4:5: outer.inner[1]: unknown field "conut"; did you mean "count"?"#,
            ]
        )
    }
}
