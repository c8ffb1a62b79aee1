import MeshConfig
import MeshHTTP
import MeshNet
import Testing

@testable import MeshRuntime

private func headers(_ fields: [(String, String)]) -> HeaderMap {
    let map = HeaderMap()
    for (name, value) in fields { map.append(HeaderName(name), value) }
    return map
}

struct HeaderMatcherTests {
    struct Case: Sendable {
        let match: HeaderMatchConfig
        let matching: [[(String, String)]]
        let other: [[(String, String)]]
    }

    static let cases = [
        Case(
            match: HeaderMatchConfig(name: "x-a", .present(true)),
            matching: [[("X-A", "")], [("x-a", "1")]],
            other: [[], [("x-b", "1")]]
        ),
        Case(
            match: HeaderMatchConfig(name: "x-a", .present(false)),
            matching: [[]],
            other: [[("x-a", "")]]
        ),
        Case(
            match: HeaderMatchConfig(name: "x-a", .present(true), isInverted: true),
            matching: [[]],
            other: [[("x-a", "")]]
        ),
        Case(
            match: HeaderMatchConfig(name: "x-a", .present(false), isInverted: true),
            matching: [[("x-a", "")]],
            other: [[]]
        ),
        Case(
            match: HeaderMatchConfig(name: "x-a", .value(.exact("v"))),
            matching: [[("x-a", "v")]],
            other: [[], [("x-a", "V")], [("x-a", "")]]
        ),
        Case(
            match: HeaderMatchConfig(name: "x-a", .value(.exact("v")), isInverted: true),
            matching: [[("x-a", "w")], [("x-a", "")]],
            other: [[], [("x-a", "v")]]
        ),
        Case(
            match: HeaderMatchConfig(
                name: "x-a",
                .value(.exact("v")),
                isInverted: true,
                treatsMissingAsEmpty: true
            ),
            matching: [[], [("x-a", "w")]],
            other: [[("x-a", "v")]]
        ),
        Case(
            match: HeaderMatchConfig(name: "x-a", .value(.exact("")), treatsMissingAsEmpty: true),
            matching: [[], [("x-a", "")]],
            other: [[("x-a", "v")]]
        ),
        Case(
            match: HeaderMatchConfig(name: "x-a", .value(.exact("a"))),
            matching: [[("x-a", "a"), ("x-a", "b")], [("x-a", "b"), ("q", ""), ("x-a", "a")]],
            other: [[("x-a", "a,b")], [("x-a", "b"), ("x-a", "c")]]
        ),
        Case(
            match: HeaderMatchConfig(name: "x-a", .value(.exact("a")), isInverted: true),
            matching: [[("x-a", "b"), ("x-a", "c")]],
            other: [[("x-a", "b"), ("x-a", "a")], [("x-a", "a"), ("x-a", "b")]]
        ),
        Case(
            match: HeaderMatchConfig(name: "accept", .value(.exact("a,b"))),
            matching: [[("accept", "a"), ("accept", "b")], [("accept", "a,b")]],
            other: [
                [("accept", "b"), ("accept", "a")],
                [("accept", "a"), ("accept", "b"), ("accept", "")],
            ]
        ),
        Case(
            match: HeaderMatchConfig(name: "accept", .value(.exact(",,"))),
            matching: [[("accept", ""), ("accept", ""), ("accept", "")]],
            other: [[("accept", ""), ("accept", "")]]
        ),
        Case(
            match: HeaderMatchConfig(name: "accept", .value(.contains("json"))),
            matching: [[("accept", "a/b"), ("accept", "text/json")]],
            other: [[("accept", "text/html")]]
        ),
        Case(
            match: HeaderMatchConfig(name: ":method", .value(.exact("GET"))),
            matching: [[(":method", "GET")]],
            other: [[(":method", "POST")]]
        ),
        Case(
            match: HeaderMatchConfig(name: "Host", .value(.exact("a.com", ignoresCase: true))),
            matching: [[("host", "A.com")], [(":authority", "a.com")]],
            other: [[("host", "a.com:80")]]
        ),
        Case(
            match: HeaderMatchConfig(name: "x-n", .range(Int64Range(-10, 0))),
            matching: [[("x-n", "-1")], [("x-n", "-10")], [("x-n", " -2 ")]],
            other: [
                [("x-n", "0")], [("x-n", "-11")], [("x-n", "-1a")], [("x-n", "")], [("x-n", "-")],
                [],
                [("x-n", "99999999999999999999")],
            ]
        ),
        Case(
            match: HeaderMatchConfig(name: "x-n", .range(Int64Range(0, 10)), isInverted: true),
            matching: [[("x-n", "10")], [("x-n", "x")]],
            other: [[("x-n", "+9")], []]
        ),
    ]

    @Test(arguments: cases.indices)
    func `a header matches as Envoy's matcher does`(index: Int) {
        let test = Self.cases[index]
        let matcher = HeaderMatcher(test.match)
        for fields in test.matching {
            #expect(matcher.matches(headers(fields)), "\(test.match) should match \(fields)")
        }
        for fields in test.other {
            #expect(!matcher.matches(headers(fields)), "\(test.match) should not match \(fields)")
        }
    }

    @Test func `removed fields do not count`() {
        let map = headers([("x-a", "1"), ("x-b", "2")])
        map.remove(HeaderName("x-a"))
        #expect(!HeaderMatcher(HeaderMatchConfig(name: "x-a", .present(true))).matches(map))
    }

    @Test func `a list of conditions holds when all do`() {
        let map = headers([("a", "1"), ("b", "2")])
        let a = HeaderMatcher(HeaderMatchConfig(name: "a", .value(.exact("1"))))
        let b = HeaderMatcher(HeaderMatchConfig(name: "b", .value(.exact("1"))))
        #expect(HeaderMatcher.all([], match: map))
        #expect(HeaderMatcher.all([a], match: map))
        #expect(!HeaderMatcher.all([a, b], match: map))
    }
}

struct MetadataMatcherTests {
    static let metadata: [String: [String: MetadataValue]] = [
        "f": [
            "text": .string("abc"), "number": .number(5), "yes": .bool(true), "nothing": .null,
            "list": .list([.string("x"), .number(1)]),
            "deep": .structure(["er": .structure(["est": .string("d")])]),
        ]
    ]

    @Test(arguments: [
        (["text"], ValueMatch.string(.prefix("a")), true), (["text"], .string(.exact("x")), false),
        (["text"], .present(true), true), (["text"], .present(false), false),
        (["none"], .present(true), false), (["none"], .present(false), false),
        (["number"], .exactNumber(5), true), (["number"], .numberRange(start: 5, end: 6), true),
        (["number"], .numberRange(start: 4, end: 5), false),
        (["number"], .string(.exact("5")), false),
        (["yes"], .bool(true), true), (["yes"], .bool(false), false), (["nothing"], .null, true),
        (["text"], .null, false), (["list"], .anyElement(.string(.exact("x"))), true),
        (["list"], .anyElement(.bool(true)), false), (["text"], .anyElement(.present(true)), false),
        (["deep", "er", "est"], .string(.exact("d")), true),
        (["deep", "er"], .present(true), true),
        (["deep", "er", "est", "more"], .present(true), false),
        (["deep", "no"], .present(true), false),
        (["text"], .anyOf([.null, .string(.suffix("c"))]), true),
        (["text"], .anyOf([.null, .bool(true)]), false),
    ])
    func `a value is found by its path and compared by its kind`(
        path: [String],
        value: ValueMatch,
        expected: Bool
    ) {
        let plain = MetadataMatchConfig(filter: "f", path: path, value: value)
        #expect(plain.matches(Self.metadata) == expected)
        let inverted = MetadataMatchConfig(filter: "f", path: path, value: value, isInverted: true)
        #expect(inverted.matches(Self.metadata) == !expected)
    }

    @Test func `another namespace holds nothing`() {
        let match = MetadataMatchConfig(filter: "g", path: ["text"], value: .present(true))
        #expect(!match.matches(Self.metadata))
    }

    @Test func `filter state is compared as text or as an address`() throws {
        let range = try #require(IPAddress("10.0.0.0").flatMap { CIDR($0, prefixLength: 8) })
        let state: [String: FilterStateObject] = ["k": "v", "ip": "10.1.1.1", "far": "11.1.1.1"]
        #expect(FilterStateMatchConfig(key: "k", .string(.exact("v"))).matches(state["k"]))
        #expect(!FilterStateMatchConfig(key: "none", .string(.exact(""))).matches(state["none"]))
        #expect(
            FilterStateMatchConfig(key: "ip", .address([range], isInverted: false)).matches(
                state["ip"]
            )
        )
        #expect(
            !FilterStateMatchConfig(key: "far", .address([range], isInverted: false)).matches(
                state["far"]
            )
        )
        #expect(
            FilterStateMatchConfig(key: "far", .address([range], isInverted: true)).matches(
                state["far"]
            )
        )
        #expect(
            !FilterStateMatchConfig(key: "k", .address([range], isInverted: true)).matches(
                state["k"]
            )
        )
    }
}
