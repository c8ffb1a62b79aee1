import MeshHTTP
import MeshNet
import Testing

@Suite struct HeaderMapTests {
    private func borrow<Result>(_ text: String, _ body: (Bytes) -> Result) -> Result {
        bytes(text).withUnsafeBytes { body($0) }
    }

    @Test func `the count of known headers is that of their list`() {
        #expect(Int(KnownHeader.count) == KnownHeader.allCases.count)
    }

    @Test(arguments: KnownHeader.allCases)
    func `a known header is found by its name`(_ header: KnownHeader) {
        #expect(borrow(header.name.description) { KnownHeader(name: $0) } == header)
        #expect(borrow(header.name.description + "x") { KnownHeader(name: $0) } == nil)
        #expect(
            borrow(String(header.name.description.dropLast())) { KnownHeader(name: $0) } != header
        )
    }

    @Test func `fields keep their order and their repetitions`() {
        let map = headerMap(["a": "1", "Set-Cookie": "x", "b": "2", "set-cookie": "y"])
        #expect(describe(map) == "a: 1 | set-cookie: x | b: 2 | set-cookie: y")
        #expect(map.count == 4)
        #expect(map.byteSize == 2 + 11 + 2 + 11)
        #expect(map.occurrences(.setCookie) == 2)
        #expect(map.string(.setCookie) == "x")
        #expect(map.joined(HeaderName("Set-Cookie")) == "x,y")
        #expect(map.string(HeaderName("B")) == "2")
        #expect(map.string(HeaderName("c")) == nil)
    }

    @Test func `Host and :authority are one field`() {
        let map = HeaderMap()
        borrow("HOST") { name in borrow("a") { map.append(wireName: name, value: $0) } }
        #expect(describe(map) == ":authority: a")
        #expect(map.string(HeaderName("host")) == "a")
        #expect(map.string(.authority) == "a")
        #expect(!map.contains(.host))
    }

    @Test func `setting replaces in place and removes repetitions`() {
        let map = headerMap(["accept": "1", "x": "2", "accept": "3"])
        map.set(.accept, "long enough not to fit where the old one was")
        #expect(describe(map) == "accept: long enough not to fit where the old one was | x: 2")
        map.set(.accept, "s")
        #expect(describe(map) == "accept: s | x: 2")
        map.set(.accept, "")
        #expect(describe(map) == "accept:  | x: 2")
        #expect(map.byteSize == 6 + 2)
        map.set(.userAgent, "new")
        #expect(describe(map) == "accept:  | x: 2 | user-agent: new")
    }

    @Test func `setting an unknown name moves it to the end`() {
        let map = headerMap(["x": "1", "y": "2", "x": "3"])
        map.set(HeaderName("x"), "4")
        #expect(describe(map) == "y: 2 | x: 4")
    }

    @Test func `a value may be set to one that lies in the map`() throws {
        let map = headerMap(["x": "the value", "accept": "-"])
        let value = try #require(map.first(HeaderName("x")))
        map.set(.accept, value)
        #expect(describe(map) == "x: the value | accept: the value")
        let own = try #require(map.first(HeaderName("x")))
        map.set(HeaderName("x"), Bytes(rebasing: own.dropFirst(4)))
        #expect(describe(map) == "accept: the value | x: value")
        let part = try #require(map[.accept])
        map.set(.accept, Bytes(rebasing: part.dropFirst(4)))
        #expect(describe(map) == "accept: value | x: value")
    }

    @Test func `a value from the map survives the map's growth`() throws {
        let map = headerMap(["x": String(repeating: "v", count: 1000)])
        for _ in 0..<20 {
            let value = try #require(map.first(HeaderName("x")))
            map.append(HeaderName("y"), value)
        }
        map.forEach { _, value in #expect(text(value) == String(repeating: "v", count: 1000)) }
        #expect(map.count == 21)
    }

    @Test func `removing finds the next of the name`() {
        let map = headerMap(["accept": "1", "x": "2", "accept": "3"])
        map.remove { _, value in text(value) == "1" }
        #expect(map.string(.accept) == "3")
        #expect(map.occurrences(.accept) == 1)
        let wasThere = map.remove(.accept)
        let isThere = map.remove(.accept)
        #expect(wasThere && !isThere)
        #expect(describe(map) == "x: 2")
        #expect(borrow("x") { map.remove($0) })
        #expect(!borrow("x") { map.remove($0) })
        #expect(map.count == 0)
        #expect(map.byteSize == 0)
        map.append(.accept, "4")
        #expect(map.string(.accept) == "4")
    }

    @Test func `an emptied map is as new`() {
        let map = HeaderMap()
        for round in 0..<3 {
            for at in 0..<100 { map.append(HeaderName("n\(at)"), "value \(round)") }
            map.append(.accept, String(repeating: "x", count: 20_000))
            #expect(map.count == 101)
            map.removeAll()
            #expect(map.count == 0 && map.byteSize == 0)
            #expect(!map.contains(.accept))
            #expect(describe(map).isEmpty)
        }
    }

    @Test func `a copy is independent`() {
        let map = headerMap(["accept": "1", "gone": "2", "x": "3"])
        map.remove(HeaderName("gone"))
        map.set(.accept, "longer than before")
        let copy = headerMap(["other": "0", "user-agent": "u"])
        copy.copy(from: map)
        #expect(describe(copy) == "accept: longer than before | x: 3")
        #expect(!copy.contains(.userAgent))
        copy.set(.accept, "9")
        #expect(map.string(.accept) == "longer than before")
        copy.copy(from: copy)
        #expect(copy.string(.accept) == "9")
    }

    @Test func `a large map can be copied into a small one`() {
        let map = HeaderMap()
        for at in 0..<200 { map.append(HeaderName("n\(at)"), String(repeating: "v", count: 100)) }
        let copy = HeaderMap()
        copy.copy(from: map)
        #expect(describe(copy) == describe(map))
    }

    @Test func `swapping exchanges everything`() {
        let one = headerMap(["accept": "1"])
        let two = headerMap(["user-agent": "2", "x": "3"])
        one.swap(with: two)
        #expect(describe(one) == "user-agent: 2 | x: 3")
        #expect(one.string(.userAgent) == "2")
        #expect(!one.contains(.accept))
        #expect(describe(two) == "accept: 1")
        #expect(two.byteSize == 7)
    }

    @Test(arguments: [0, 7, 10, 4_294_967_296, -1])
    func `numbers are written in decimal`(_ number: Int) {
        let map = HeaderMap()
        map.set(.contentLength, decimal: number)
        #expect(map.string(.contentLength) == String(number.magnitude))
    }

    @Test func `maps return to their pool empty`() {
        let pool = HeaderMapPool()
        let one = pool.take()
        one.takeUnretainedValue().append(.accept, "1")
        pool.give(one)
        let two = pool.take()
        #expect(two.takeUnretainedValue().count == 0)
        two.release()
    }

    @Test func `a pool keeps a bounded number`() {
        let pool = HeaderMapPool()
        let maps = (0..<100).map { _ in pool.take() }
        for map in maps { pool.give(map) }
        for _ in 0..<100 { pool.take().release() }
    }
}
