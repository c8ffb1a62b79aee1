import Testing

@testable import MeshConfig

private enum Colour: Int, ConfigEnum {
    case red = 0
    case darkBlue = 1
}

/// Decodes `json` with `body` and returns what was reported.
private func decode(_ json: String, _ body: (ConfigObject) -> Void) -> [String] {
    let diagnostics = ConfigDiagnostics()
    if let object = ConfigDocument.parse(json: json, diagnostics: diagnostics) {
        body(object)
        object.finish()
    }
    return diagnostics.errors.map(\.description)
}

private func expect(
    _ json: String,
    _ errors: [String],
    location: SourceLocation = #_sourceLocation,
    _ body: (ConfigObject) -> Void
) {
    let found = decode(json, body)
    #expect(found == errors, sourceLocation: location)
}

@Suite struct ConfigObjectTests {
    @Test func `both spellings of a key are read and giving both is an error`() {
        expect(#"{"connect_timeout": "1s"}"#, []) {
            #expect($0.duration("connect_timeout") == .seconds(1))
        }
        expect(#"{"connectTimeout": "1s"}"#, []) {
            #expect($0.duration("connect_timeout") == .seconds(1))
        }
        expect(
            #"{"connectTimeout": "1s", "connect_timeout": "2s"}"#,
            [
                #"1:26: connect_timeout: "connect_timeout" is given twice, the other time as "connectTimeout""#
            ]
        ) { _ = $0.duration("connect_timeout") }
    }

    @Test func `an unknown field is an error with the near name`() {
        let errors = decode(#"{"conect_timeout": "1s", "zzz": 1, "a": {"tpyo": 1}}"#) {
            _ = $0.duration("connect_timeout")
            _ = $0.object("a")?.string("typo")
        }
        #expect(
            errors == [
                #"1:2: unknown field "conect_timeout"; did you mean "connect_timeout"?"#,
                #"1:26: unknown field "zzz""#,
                #"1:42: a: unknown field "tpyo"; did you mean "typo"?"#,
            ]
        )
    }

    @Test(arguments: [
        ("conect_timeout", "connect_timeout"), ("timeout", "connect_timeout"),
        ("lb_plocy", "lb_policy"), ("load", "load_assignment"), ("xyz", nil), ("name", nil),
    ]) func `a near word is one with few edits or a part of the right one`(
        word: String,
        near: String?
    ) {
        let candidates = ["connect_timeout", "lb_policy", "load_assignment", "type"]
        #expect(Suggestion.nearest(to: word, among: candidates) == near)
    }

    @Test func `null is unset and number forms follow ProtoJSON`() {
        let errors = decode(
            #"{"n": null, "s": "42", "e": 1e3, "d": 1.0, "big": "18446744073709551615", "neg": -5}"#
        ) {
            #expect($0.uint32("n") == nil)
            #expect($0.uint32("s") == 42)
            #expect($0.uint32("e") == 1000)
            #expect($0.uint32("d") == 1)
            #expect($0.uint64("big") == .max)
            #expect($0.int32("neg") == -5)
        }
        #expect(errors == [])
    }

    @Test(arguments: [
        ("-1", "expected a number from 0 to 4294967295, got -1"),
        ("4294967296", "expected a number from 0 to 4294967295, got 4294967296"),
        ("1.5", "expected a whole number, got 1.5"),
        (#""+5""#, #"expected a whole number, got "+5""#),
        (#""0x10""#, #"expected a whole number, got "0x10""#),
        (#""""#, #"expected a whole number, got """#),
        ("true", "expected a whole number, got true"),
        ("1e99", "expected a number from 0 to 4294967295, got 1e99"),
        ("[]", "expected a whole number, got an empty list"),
    ]) func `a wrong number is refused`(value: String, message: String) {
        let errors = decode("{\"n\": \(value)}") { #expect($0.uint32("n") == nil) }
        #expect(errors == ["1:7: n: " + message])
    }

    @Test(arguments: [
        ("1s", Duration.seconds(1)), ("0.25s", .milliseconds(250)), ("0s", .zero),
        ("1.000000001s", .seconds(1) + .nanoseconds(1)), ("3600s", .seconds(3600)),
    ]) func `a duration is decimal seconds`(text: String, value: Duration) {
        #expect(Duration(protoJSON: text) == value)
        #expect(value.protoJSON == text)
    }

    @Test(arguments: [
        "1", "s", "1m", "1.s", ".5s", "1.0000000001s", "1e3s", "--1s", "9223372036s", "1s ",
    ])
    func `what is no duration is refused`(text: String) {
        #expect(Duration(protoJSON: text) == nil)
        #expect(!decode("{\"d\": \"\(text)\"}") { _ = $0.duration("d") }.isEmpty)
    }

    @Test func `a negative duration is refused`() {
        expect(
            #"{"d": "-1s"}"#,
            [#"1:7: d: expected a duration that is not negative, got "-1s""#]
        ) { #expect($0.duration("d") == nil) }
    }

    @Test func `a single value is a list of one`() {
        expect(#"{"s": "a", "o": {"s": "b"}}"#, []) {
            #expect($0.strings("s") == ["a"])
            #expect($0.objects("o").map { $0.string("s") } == ["b"])
        }
        expect(#"{"o": 5}"#, ["1:7: o[0]: expected an object, got 5"]) { _ = $0.objects("o") }
    }

    @Test func `a boolean may be in quotes`() {
        expect(#"{"a": "true", "b": "false"}"#, []) {
            #expect($0.bool("a") == true)
            #expect($0.bool("b") == false)
        }
        expect(#"{"a": "yes"}"#, [#"1:7: a: expected true or false, got "yes""#]) {
            #expect($0.bool("a") == nil)
        }
    }

    @Test func `an enum is read by name or number and a near name is suggested`() {
        expect(#"{"c": "DARK_BLUE"}"#, []) {
            #expect($0.enumeration("c", Colour.self) == .darkBlue)
        }
        expect(#"{"c": "Dark_Blue"}"#, []) {
            #expect($0.enumeration("c", Colour.self) == .darkBlue)
        }
        expect(#"{"c": 1}"#, []) { #expect($0.enumeration("c", Colour.self) == .darkBlue) }
        expect(
            #"{"c": "DARKBLUE"}"#,
            [#"1:7: c: expected one of RED, DARK_BLUE, got "DARKBLUE"; did you mean "DARK_BLUE"?"#]
        ) { #expect($0.enumeration("c", Colour.self) == nil) }
        expect(#"{"c": 7}"#, ["1:7: c: expected one of RED, DARK_BLUE, got 7"]) {
            _ = $0.enumeration("c", Colour.self)
        }
    }

    @Test(arguments: [
        ("", ""), ("TQ==", "M"), ("TQ", "M"), ("TWE=", "Ma"), ("TWFu", "Man"), ("_-8", "\u{0}"),
    ]) func `base64 is read with both alphabets`(text: String, plain: String) {
        if text == "_-8" {
            #expect(Base64.decode(text) == [0xFF, 0xEF])
        } else {
            #expect(Base64.decode(text) == Array(plain.utf8))
        }
    }

    @Test(arguments: ["T", "T===", "TQ=", "TQ==TQ==", "T!==", "TWFu="])
    func `broken base64 is refused`(text: String) { #expect(Base64.decode(text) == nil) }

    @Test func `oneof rules are held`() {
        expect(#"{"x": 1, "y": 2}"#, ["1:15: y: only one of x, y may be given"]) {
            #expect($0.exactlyOne(of: "x", "y") == "x")
        }
        expect("{}", ["1:1: one of x, y is required"]) {
            #expect($0.exactlyOne(of: "x", "y") == nil)
        }
    }

    @Test func `an Any is opened and so is a TypedStruct`() {
        let json = #"""
            {"typed_config": {"@type": "type.googleapis.com/a.b.C", "f": 1},
             "other": {"@type": "type.googleapis.com/xds.type.v3.TypedStruct",
                       "typeUrl": "type.googleapis.com/d.E", "value": {"g": 2}},
             "bad": {"f": 1}}
            """#
        let errors = decode(json) { object in
            let first = object.typedConfig()
            #expect(first?.type == "a.b.C")
            #expect(first?.object.uint32("f") == 1)
            let second = object.typedConfig("other")
            #expect(second?.type == "d.E")
            #expect(second?.object.uint32("g") == 2)
            #expect(object.typedConfig("bad") == nil)
        }
        #expect(errors.count == 1)
        #expect(errors.first?.hasPrefix(#"4:9: bad: "@type" is required"#) == true)
    }

    @Test func `a refused field passes with its default value`() {
        expect(#"{"t": false, "u": [], "v": 0}"#, []) { object in
            for key in ["t", "u", "v"] { object.unsupported(key, "not here") }
        }
        expect(#"{"t": true}"#, ["1:7: t: t is not supported: not here"]) {
            $0.unsupported("t", "not here")
        }
    }

    @Test func `data sources keep one of four forms`() {
        func source(_ json: String) -> (DataSource?, [String]) {
            var result: DataSource?
            let errors = decode(json) { result = DataSource($0) }
            return (result, errors)
        }
        #expect(source(#"{"filename": "/a"}"#).0?.source == .file("/a"))
        #expect(source(#"{"inline_bytes": "TQ=="}"#).0?.source == .inlineBytes([77]))
        #expect(source(#"{"inlineString": "x"}"#).0?.source == .inlineString("x"))
        #expect(source(#"{"environment_variable": "V"}"#).0?.source == .environment("V"))
        #expect(source("{}").1.count == 1)
        #expect(
            source(#"{"inline_string": "x", "watched_directory": {"path": "/d"}}"#).1.count == 1
        )
    }
}
