import MeshConfig
import MeshHTTP
import Testing

@testable import MeshProxy

private typealias Action = HTTPConnectionManagerConfig.EscapedSlashesAction

/// The path afterwards, or what becomes of the request.
private func normalized(
    _ path: String,
    _ slashes: Action = .keepUnchanged,
    normalizes: Bool = true,
    merges: Bool = false
) -> String {
    let head = HeaderMap.request(path)
    let normalization = PathNormalization(
        normalizes: normalizes,
        mergesSlashes: merges,
        escapedSlashes: slashes
    )
    switch normalization.apply(head) {
    case .proceed: return head.string(.path) ?? ""
    case .redirect: return "307 " + (head.string(.path) ?? "")
    case .reject: return "400"
    }
}

@Suite struct PathNormalizationTests {
    // Paths on the right are those of Envoy 1.40.
    @Test(arguments: [
        ("/", "/"), ("//", "//"), ("/.", "/"), ("/..", "/"), ("/./", "/"), ("/../", "/"),
        ("/a/.", "/a/"), ("/a/..", "/"), ("/a/b/../c", "/a/c"), ("/a//../b", "/a/b"),
        ("/a/%2e", "/a/"), ("/a/%2e%2E/b", "/b"), ("/a/.%2E/b", "/b"), ("/a/..b", "/a/..b"),
        ("/a/...", "/a/..."), ("/a/b/..?x=/../y", "/a/?x=/../y"), ("/a?b=../c", "/a?b=../c"),
        ("/%", "/%"), ("/%4", "/%4"), ("/%zz", "/%zz"), ("/a\\b", "/a/b"), ("/a\\..\\b", "/b"),
        ("/a;x/../b", "/b"), ("/a/%2f/../b", "/a/b"), ("/a%5c..%5cb", "/a%5c..%5cb"),
        ("/%c3%a9", "/%c3%a9"), ("/%00", "400"), ("/a%20b", "/a%20b"), ("/../../x", "/x"),
        ("/.a", "/.a"), ("/%41%7e%2D", "/A~-"), ("/a\"<>^`{|}b", "/a%22%3C%3E%5E%60%7B%7C%7Db"),
        ("/a#b", "400"), ("/??", "/??"), ("/%252e%252e/a", "/%252e%252e/a"),
        ("/a/..;/b", "/b"), ("/a/..;x=1/b", "/b"), ("/a/.;/b", "/a/b"), ("/a/..;?q", "/?q"),
        ("/a/..%3b/b", "/a/..%3b/b"), ("/a/...;/b", "/a/...;/b"), ("/a/..;\\b", "/"),
        ("/a/;../b", "/a/;../b"),
    ])
    func `a path gets the one spelling that it has in Envoy`(path: String, wanted: String) {
        #expect(normalized(path) == wanted)
    }

    // Envoy 1.40 leaves these as dot segments for the upstream to resolve.
    @Test(arguments: [
        ("/a/%2e%2e;/b", "/b"), ("/a/.%2e;/b", "/b"), ("/a/%2e;/b", "/a/b"),
    ])
    func `an escaped dot segment with parameters is one too`(path: String, wanted: String) {
        #expect(normalized(path) == wanted)
    }

    @Test func `a normalized path is normal`() {
        let parts = ["a", ".", "..", "%2e", "", "%41", "%2f", "\\", "..;", ".;p", "%2e%2e;x", "{"]
        for first in parts {
            for second in parts {
                for third in parts {
                    let once = normalized("/\(first)/\(second)/\(third)", merges: true)
                    if once == "400" { continue }
                    #expect(normalized(once, merges: true) == once)
                }
            }
        }
    }

    @Test(arguments: [
        (Action.keepUnchanged, "/a%2Fb", "/a%2Fb"), (.rejectRequest, "/a%2fb", "400"),
        (.rejectRequest, "/a%5Cb", "400"), (.rejectRequest, "/a?b=%2f", "/a?b=%2f"),
        (.unescapeAndForward, "/a%2F..%2Fb?x=%2F", "/b?x=%2F"),
        (.unescapeAndForward, "/a%5cb", "/a/b"), (.unescapeAndForward, "/a%252fb", "/a%252fb"),
        (.unescapeAndRedirect, "/a%2fb", "307 /a/b"), (.unescapeAndRedirect, "/a", "/a"),
        (.implementationSpecificDefault, "/a%2Fb", "/a%2Fb"),
    ])
    fileprivate func `escaped slashes are kept, refused or unescaped`(
        action: Action,
        path: String,
        wanted: String
    ) {
        #expect(normalized(path, action) == wanted)
    }

    @Test func `slashes are merged in the path only`() {
        #expect(normalized("/a//b///c?d=//e", merges: true) == "/a/b/c?d=//e")
        #expect(normalized("/a//", merges: true) == "/a/")
        #expect(normalized("//a", normalizes: false, merges: true) == "/a")
        // Envoy 1.40 keeps this one as it is.
        #expect(normalized("//", normalizes: false, merges: true) == "/")
    }

    @Test func `without any option only a fragment matters`() {
        #expect(normalized("/a/../b//%41", normalizes: false) == "/a/../b//%41")
        #expect(normalized("/a#", normalizes: false) == "400")
    }
}
