import MeshConfig
import MeshNet
import Testing

private func decode<T>(_ json: String, _ make: (ConfigObject) -> T) -> (value: T, errors: [String])
{
    let diagnostics = ConfigDiagnostics()
    guard let object = ConfigDocument.parse(json: json, diagnostics: diagnostics) else {
        fatalError("not JSON: \(json)")
    }
    let value = make(object)
    object.finish()
    return (value, diagnostics.errors.map(\.message))
}

private func with<R>(_ text: String, _ body: (Bytes) -> R) -> R {
    var text = text
    return text.withUTF8 { body(Bytes($0)) }
}

struct StringMatchTests {
    @Test(arguments: [
        (#"{"exact":"abc"}"#, ["abc"], ["ABC", "ab", "abcd", ""]),
        (#"{"exact":""}"#, [""], ["a"]),
        (#"{"exact":"aBc","ignore_case":true}"#, ["abc", "ABC"], ["ab"]),
        (#"{"prefix":"/api"}"#, ["/api", "/api/x"], ["/ap", "x/api", "/API"]),
        (#"{"prefix":"/api","ignoreCase":true}"#, ["/API/x"], ["/ap"]),
        (#"{"suffix":".com"}"#, ["a.com", ".com"], ["a.comm", "com", ".COM"]),
        (#"{"suffix":".COM","ignore_case":true}"#, ["a.com"], ["a.net"]),
        (#"{"contains":"ana"}"#, ["banana", "ana"], ["an", "bnn", ""]),
        (#"{"contains":"anab"}"#, ["anaanab"], ["anaana"]),
        (#"{"contains":"ANA","ignore_case":true}"#, ["Banana"], ["bnn"]),
        (#"{"safe_regex":{"regex":"a+b"}}"#, ["aab"], ["aabc", "xaab"]),
        (#"{"safe_regex":{"google_re2":{},"regex":"a+"}}"#, ["aa"], ["b"]),
    ])
    func `a text matches as its kind asks`(json: String, matching: [String], other: [String]) {
        let (match, errors) = decode(json) { StringMatch($0) }
        #expect(errors.isEmpty)
        for text in matching { #expect(match.matches(text), "\(match) should match \(text)") }
        for text in other { #expect(!match.matches(text), "\(match) should not match \(text)") }
    }

    @Test(arguments: [
        "{}", #"{"exact":"a","prefix":"b"}"#, #"{"prefix":""}"#, #"{"suffix":""}"#,
        #"{"contains":""}"#, #"{"safe_regex":{"regex":"("}}"#, #"{"safe_regex":{}}"#,
        #"{"custom":{"name":"x"}}"#, #"{"regex":"x"}"#,
    ])
    func `a matcher that Envoy refuses is refused`(json: String) {
        #expect(!decode(json) { StringMatch($0) }.errors.isEmpty)
    }

    @Test func `bytes that are no UTF-8 are compared as bytes`() {
        let bytes: [UInt8] = [0xFF, 0x61]
        #expect(bytes.withUnsafeBytes { StringMatch.suffix("a").matches($0) })
        #expect(!bytes.withUnsafeBytes { StringMatch.exact("a").matches($0) })
    }

    @Test func `a description repeats the configuration's words`() {
        #expect(StringMatch.prefix("/a").description == #"prefix "/a""#)
        #expect(StringMatch.exact("a", ignoresCase: true).description == #"exact "a" in any case"#)
    }
}

struct MatcherConfigTests {
    @Test(arguments: [
        (#"{"name":"X-A"}"#, "header x-a present"),
        (#"{"name":"a","present_match":false}"#, "header a absent"),
        (
            #"{"name":"a","string_match":{"exact":"v"},"invert_match":true}"#,
            #"header a not exact "v""#
        ),
        (#"{"name":"a","exact_match":"v"}"#, #"header a exact "v""#),
        (#"{"name":":path","prefix_match":"/x"}"#, #"header :path prefix "/x""#),
        (#"{"name":"a","suffix_match":"v"}"#, #"header a suffix "v""#),
        (#"{"name":"a","contains_match":"v"}"#, #"header a contains "v""#),
        (#"{"name":"a","safe_regex_match":{"regex":"v.*"}}"#, #"header a safe_regex "v.*""#),
        (#"{"name":"a","range_match":{"start":"-1","end":10}}"#, "header a a number in -1..<10"),
    ])
    func `every form of a header matcher is read`(json: String, expected: String) {
        let (match, errors) = decode(json) { HeaderMatchConfig($0) }
        #expect(errors.isEmpty)
        #expect(match.description == expected)
    }

    @Test(arguments: [
        "{}", #"{"name":""}"#, #"{"name":"a b"}"#, #"{"name":"a:"}"#,
        #"{"name":"a","exact_match":"v","prefix_match":"w"}"#, #"{"name":"a","prefix_match":""}"#,
        #"{"name":"a","regex_match":"v"}"#,
    ])
    func `a header matcher that makes no sense is refused`(json: String) {
        #expect(!decode(json) { HeaderMatchConfig($0) }.errors.isEmpty)
    }

    @Test(arguments: [
        (#"{"name":"a"}"#, ["a=1", "a", "b&a=", "a=1&a=2"], ["", "b=1", "ab=1", "b=a"]),
        (#"{"name":"a","present_match":false}"#, ["", "b=1"], ["a"]),
        (
            #"{"name":"a","string_match":{"exact":"1"}}"#, ["a=1", "x=y&a=1&a=2"],
            ["a=2&a=1", "a", ""]
        ),
        (#"{"name":"a","string_match":{"exact":""}}"#, ["a", "a="], ["", "a=1"]),
        (#"{"name":"a","string_match":{"prefix":"x="}}"#, ["a=x=y"], ["a=x"]),
    ])
    func `a query parameter matches by its first value`(
        json: String,
        matching: [String],
        other: [String]
    ) {
        let (match, errors) = decode(json) { QueryParameterMatchConfig($0) }
        #expect(errors.isEmpty)
        for query in matching { #expect(with(query) { match.matches(query: $0) }, "\(query)") }
        for query in other { #expect(!with(query) { match.matches(query: $0) }, "\(query)") }
    }

    @Test(arguments: [
        ("/a", true), ("/a?x=1", true), ("/a#f", true), ("/a?x#f", true), ("/a#f?x", true),
        ("/a/", false), ("/ab", false), ("", false),
    ])
    func `a path is matched without query and fragment`(path: String, expected: Bool) {
        let (match, errors) = decode(#"{"path":{"exact":"/a"}}"#) { PathMatch($0) }
        #expect(errors.isEmpty)
        #expect(with(path) { match.matches($0) } == expected)
    }

    @Test(arguments: [
        (#"{"address_prefix":"10.1.2.3","prefix_len":8}"#, "10.0.0.0/8"),
        (#"{"address_prefix":"10.1.2.3"}"#, "0.0.0.0/0"),
        (#"{"address_prefix":"fe80::1","prefix_len":"10"}"#, "fe80::/10"),
        (#"{"address_prefix":"::ffff:10.0.0.0","prefix_len":104}"#, "10.0.0.0/8"),
    ])
    func `an address range is read`(json: String, expected: String) {
        let (range, errors) = decode(json) { CIDR.decode($0) }
        #expect(errors.isEmpty)
        #expect(range?.description == expected)
    }

    @Test(arguments: [
        "{}", #"{"address_prefix":"10.0.0"}"#, #"{"address_prefix":"10.0.0.0","prefix_len":33}"#,
        #"{"address_prefix":"::1","prefix_len":129}"#, #"{"address_prefix":"host","prefix_len":8}"#,
    ])
    func `an address range that is none is refused`(json: String) {
        let (range, errors) = decode(json) { CIDR.decode($0) }
        #expect(range == nil)
        #expect(!errors.isEmpty)
    }

    @Test func `a fractional percent takes its share of the random numbers`() {
        let (share, errors) = decode(#"{"numerator":25,"denominator":"TEN_THOUSAND"}"#) {
            FractionalPercent($0)
        }
        #expect(errors.isEmpty)
        #expect((UInt64(0)..<10_000).count { share.contains(random: $0) } == 25)
        #expect(!FractionalPercent(0).contains(random: 0))
        #expect(FractionalPercent(100).contains(random: .max))
    }

    @Test func `a runtime fraction needs its default`() {
        #expect(!decode("{}") { RuntimeFractionalPercent($0) }.errors.isEmpty)
        let (share, errors) = decode(#"{"default_value":{"numerator":5},"runtime_key":"k"}"#) {
            RuntimeFractionalPercent($0)
        }
        #expect(errors.isEmpty)
        #expect(share == RuntimeFractionalPercent(FractionalPercent(5), runtimeKey: "k"))
    }
}

struct MetadataMatchConfigTests {
    @Test(arguments: [
        (#"{"null_match":{}}"#, "null"), (#"{"double_match":{"exact":1.5}}"#, "1.5"),
        (#"{"double_match":{"range":{"start":1,"end":2}}}"#, "a number in 1.0..<2.0"),
        (#"{"string_match":{"exact":"a"}}"#, #"exact "a""#), (#"{"bool_match":true}"#, "true"),
        (#"{"present_match":true}"#, "present"),
        (
            #"{"list_match":{"one_of":{"string_match":{"prefix":"a"}}}}"#,
            #"a list with an element prefix "a""#
        ),
        (
            #"{"or_match":{"value_matchers":[{"bool_match":true},{"null_match":{}}]}}"#,
            "true or null"
        ),
    ])
    func `every form of a value matcher is read`(json: String, expected: String) {
        let (match, errors) = decode(json) { ValueMatch($0) }
        #expect(errors.isEmpty)
        #expect(match.description == expected)
    }

    @Test(arguments: [
        "{}", #"{"filter":"f","value":{"present_match":true}}"#,
        #"{"filter":"f","path":[{"key":"a"}]}"#,
        #"{"path":[{"key":"a"}],"value":{"bool_match":true}}"#,
        #"{"filter":"f","path":[{}],"value":{"bool_match":true}}"#,
        #"{"filter":"f","path":[{"key":"a"}],"value":{}}"#,
        #"{"filter":"f","path":[{"key":"a"}],"value":{"or_match":{"value_matchers":[{"bool_match":true}]}}}"#,
    ])
    func `a metadata matcher that is incomplete is refused`(json: String) {
        #expect(!decode(json) { MetadataMatchConfig($0) }.errors.isEmpty)
    }

    @Test func `a filter state matcher compares text or addresses`() {
        let (text, errors) = decode(#"{"key":"k","string_match":{"exact":"v"}}"#) {
            FilterStateMatchConfig($0)
        }
        #expect(errors.isEmpty)
        #expect(text == FilterStateMatchConfig(key: "k", .string(.exact("v"))))
        let (address, more) = decode(
            #"{"key":"k","address_match":{"ranges":[{"address_prefix":"10.0.0.0","prefix_len":8}]}}"#
        ) { FilterStateMatchConfig($0) }
        #expect(more.isEmpty)
        #expect(address.description == "filter state k in 10.0.0.0/8")
    }
}
