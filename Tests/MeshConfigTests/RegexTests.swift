import MeshConfig
import MeshNet
import Testing

struct RegexTests {
    private func with<R>(_ text: String, _ body: (Bytes) -> R) -> R {
        var text = text
        return text.withUTF8 { body(Bytes($0)) }
    }

    @Test(arguments: [
        ("/api/v[0-9]+", "/api/v12", true), ("/api/v[0-9]+", "/api/v12/x", false),
        ("/api/v[0-9]+", "x/api/v1", false), (".*", "", true), ("a|ab", "ab", true),
        ("(?i)abc", "ABC", true), ("\\d{3}", "123", true), (".+", "", false),
        ("spiffe://.+/ns/(a|b)/sa/.*", "spiffe://td/ns/b/sa/x", true),
    ])
    func `a full match covers the whole text`(pattern: String, text: String, expected: Bool) throws
    {
        let regex = try Regex(pattern)
        #expect(with(text) { regex.fullMatch($0) } == expected)
    }

    @Test func `a partial match may lie anywhere`() throws {
        let regex = try Regex("b+")
        #expect(with("abbc") { regex.partialMatch($0) })
        #expect(!with("ac") { regex.partialMatch($0) })
    }

    @Test func `an empty buffer without storage is an empty text`() throws {
        #expect(try Regex("a*").fullMatch(Bytes(start: nil, count: 0)))
        #expect(try !Regex("a+").partialMatch(Bytes(start: nil, count: 0)))
    }

    @Test(arguments: ["(unclosed", "a**", "(?=look)", "[z-a]", "\\1"])
    func `an expression that RE2 does not know is refused with its reason`(pattern: String) {
        #expect {
            _ = try Regex(pattern)
        } throws: {
            ($0 as? RegexError)?.description.isEmpty == false
        }
    }

    @Test func `a program larger than its limit is refused`() throws {
        #expect(throws: RegexError.self) { try Regex("a{100}", programSizeMax: 10) }
        _ = try Regex("a", programSizeMax: 100)
    }

    @Test(arguments: [
        (
            "^/service/([^/]+)(/.*)$", "/service/foo/v1/api", "\\2/instance/\\1",
            "/v1/api/instance/foo"
        ),
        ("one", "/xxx/one/yyy/one/zzz", "two", "/xxx/two/yyy/two/zzz"),
        ("^(.*?)one(.*)$", "/xxx/one/yyy/one/zzz", "\\1two\\2", "/xxx/two/yyy/one/zzz"),
        ("(?i)/xxx/", "/aaa/XxX/bbb", "/yyy/", "/aaa/yyy/bbb"), ("x", "abc", "y", "abc"),
        ("b", "abc", "", "ac"),
    ])
    func `a rewrite replaces every match`(
        pattern: String,
        text: String,
        rewrite: String,
        expected: String
    ) throws {
        let regex = try Regex(pattern)
        let result = with(text) { text in with(rewrite) { regex.replaceAll(in: text, with: $0) } }
        #expect(String(decoding: result, as: UTF8.self) == expected)
    }

    @Test func `a rewrite that names a missing group is refused`() throws {
        let regex = try Regex("a(b)")
        try regex.check(rewrite: "\\1")
        #expect(throws: RegexError.self) { try regex.check(rewrite: "\\2") }
        #expect(throws: RegexError.self) { try regex.check(rewrite: "\\x") }
    }
}
