import Testing

@testable import MeshConfig

private func errors(_ bytes: [UInt8], _ limits: JSONParser.Limits = .init()) -> [String] {
    let diagnostics = ConfigDiagnostics()
    _ = JSONParser.parse(bytes, limits: limits, diagnostics: diagnostics)
    return diagnostics.errors.map(\.description)
}

private func value(_ text: String) -> ConfigValue? {
    JSONParser.parse(Array(text.utf8), diagnostics: ConfigDiagnostics()).map { ConfigValue($0) }
}

@Suite struct JSONParserTests {
    @Test(arguments: [
        ("{}", "{}"), (" [ ] ", "[]"), ("\u{FEFF}null", "null"), ("true", "true"),
        (#"{"a":[1,-2.5,1e2,"x"],"b":{"c":false}}"#, #"{"a":[1,-2.5,100,"x"],"b":{"c":false}}"#),
        (#""\u0041\n\"\\\/\t""#, #""A\n\"\\/\t""#),
        (#""\ud83d\ude00""#, "\"\u{1F600}\""), ("\"é😀\"", "\"é😀\""),
    ]) func `valid JSON is read`(text: String, canonical: String) {
        #expect(value(text)?.description == canonical)
    }

    @Test(arguments: [
        ("", "1:1: expected a value, got the end of the file"),
        ("{", "1:2: expected a key in double quotes, got the end of the file"),
        ("{\n  \"a\": 1,\n}", #"3:1: expected a key in double quotes after the comma, got "}""#),
        ("[1,]", #"1:4: expected a value, got "]""#),
        ("[1 2]", #"1:4: expected "," or "]" after an element, got "2""#),
        ("{\"a\" 1}", #"1:6: expected ":" after the key "a", got "1""#),
        ("{'a':1}", #"1:2: expected a key in double quotes, got "'""#),
        ("01", "1:1: a number must not begin with a zero"),
        ("1.", #"1:3: expected a digit after ".", got the end of the file"#),
        ("-", #"1:2: expected a digit after "-", got the end of the file"#),
        ("1e", "1:3: expected an exponent, got the end of the file"),
        ("[1e999]", "1:2: the number 1e999 is too large"),
        ("+1", #"1:1: expected a value, got "+""#),
        ("nul", #"1:1: expected a value, got "n""#),
        ("{} x", #"1:4: expected the end of the file after the value, got "x""#),
        ("\"a", "1:1: this string has no closing quote"),
        ("\"a\tb\"", "1:3: a string holds an unescaped control character, the byte 0x09"),
        (#""\x""#, #"1:2: unknown escape: "\" before "x""#),
        (#""\u12g4""#, #"1:2: "\u" needs four hex digits"#),
        (#""\ud800""#, "1:2: an unpaired surrogate is no character"),
        (#""\ud800\u0041""#, "1:2: an unpaired surrogate is no character"),
        (#""\udc00""#, "1:2: an unpaired surrogate is no character"),
        ("// note\n{}", #"1:1: expected a value, got "/""#),
        ("{\"é\": x}", #"1:7: expected a value, got "x""#),
    ]) func `a syntax error names its place`(text: String, message: String) {
        #expect(errors(Array(text.utf8)) == [message])
    }

    @Test(
        arguments: [
            [0xFF], [0xC0, 0x80], [0xE0, 0x80, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80],
            [0xC3], [0xF0, 0x9F, 0x98],
        ] as [[UInt8]]
    ) func `text that is not UTF-8 is refused`(bytes: [UInt8]) {
        let found = errors([0x22] + bytes + [0x22])
        #expect(found.count == 1)
        #expect(found.first?.hasPrefix("1:2: the text is not UTF-8") == true)
    }

    @Test func `a duplicate key is an error and the rest is still read`() {
        let diagnostics = ConfigDiagnostics()
        let node = JSONParser.parse(
            Array(#"{"a": 1, "a": 2, "b": 3, "b": 4}"#.utf8),
            diagnostics: diagnostics
        )
        #expect(node != nil)
        #expect(
            diagnostics.errors.map(\.description) == [
                #"1:10: the key "a" appears twice in one object, first at 1:2"#,
                #"1:26: the key "b" appears twice in one object, first at 1:18"#,
            ]
        )
    }

    @Test func `depth and size have limits`() {
        var limits = JSONParser.Limits()
        limits.depth = 3
        #expect(errors(Array("[[[1]]]".utf8), limits) == [])
        #expect(
            errors(Array("[[[[1]]]]".utf8), limits)
                == ["1:5: nested deeper than the limit of 3 levels"]
        )
        limits.bytes = 4
        #expect(errors(Array("[1,2]".utf8), limits).count == 1)
        #expect(errors(Array(repeating: UInt8(ascii: "["), count: 100_000)).count == 1)
    }

    @Test func `positions count characters`() {
        let node = JSONParser.parse(
            Array("{\"é😀\": 1,\n \"b\": [2]}".utf8),
            diagnostics: ConfigDiagnostics()
        )
        guard case .object(let members) = node?.content else {
            Issue.record("no object")
            return
        }
        #expect(members[0].node.position == ConfigPosition(line: 1, column: 8))
        #expect(members[1].keyPosition == ConfigPosition(line: 2, column: 2))
    }
}
