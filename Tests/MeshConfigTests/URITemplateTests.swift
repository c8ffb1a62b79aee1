import MeshConfig
import MeshNet
import Testing

struct URITemplateTests {
    private func matches(_ template: URITemplate, _ path: String) -> Bool {
        var path = path
        return path.withUTF8 { template.matches(Bytes($0)) }
    }

    // Verdicts observed with Envoy 1.40.
    @Test(arguments: [
        (
            "/*", ["/x", "/.html", "/a=b", "/a*b", "/a%2Fb", "/x~y", "/x:y@z", "/a?q=/b"],
            ["/", "/a/", "/a/x"]
        ),
        ("/**", ["/", "/x", "/a/", "/a/x/y/b", "/a//b"], ["/a\"b"]),
        ("/a/*/b", ["/a/x/b"], ["/a/x/y/b", "/a//b", "/a/b"]),
        ("/**/x", ["/a/x", "/x/y/x"], ["/x", "/a/xx"]),
        ("/*/**", ["/a/", "/a/x", "/a//b"], ["/", "/a"]),
        ("/{name}", ["/x", "/a.c"], ["/", "/a/x"]),
        ("/{name=*}", ["/x"], ["/a/x"]),
        ("/{a=b/*/c}", ["/b/x/c"], ["/b/c", "/b/x/y/c"]),
        ("/{a=**}/x", ["/a/x", "/x/y/x"], ["/x"]),
        ("/{a}.html", ["/x.html", "/x.html?q"], ["/.html", "/x.htm"]),
        ("/{a}.h/x", ["/x.h/x"], ["/x/x"]),
        ("/**x", ["/x", "/a/x", "/xx"], ["/xy"]),
        ("/a/", ["/a/"], ["/a"]), ("/", ["/"], ["/a"]), ("/a=b", ["/a=b"], []),
        ("/a.c", ["/a.c"], ["/abc"]), ("/%20", ["/%20"], ["/ "]),
    ])
    func `a path matches its template`(template: String, matching: [String], other: [String]) throws
    {
        let template = try URITemplate(template)
        for path in matching {
            #expect(matches(template, path), "\(template) should match \(path)")
        }
        for path in other {
            #expect(!matches(template, path), "\(template) should not match \(path)")
        }
    }

    @Test(arguments: [
        "", "a", "//", "/a//b", "/{*}", "/{**}", "/**/*", "/{a=**}/{b}", "/{a}/{a}", "/{a}{b}",
        "/{abcdefghijklmnopq}", "/{a=/x}", "/{a=x/}", "/{a=}", "/{1a}", "/{a", "/{a={b}}", "/a b",
        "/a?b",
        "/é", "/{a}/{b}/{c}/{d}/{e}/{f}", "/{a=*x}", "/a*",
    ])
    func `a template that makes no sense is refused`(template: String) {
        #expect(throws: URITemplate.Failure.self) { try URITemplate(template) }
    }

    @Test func `braces around a wildcard get a hint`() {
        #expect {
            _ = try URITemplate("/{**}")
        } throws: {
            "\($0)".contains("write ** without braces")
        }
    }
}
