import MeshNet
import MeshRuntime
import Testing

struct JSONWriterTests {
    private func written(indentation: Int = 0, _ body: (inout JSONWriter) -> Void) -> String {
        var writer = JSONWriter(indentation: indentation)
        body(&writer)
        let buffer = writer.finish()
        return String(bytes: buffer.bytes)
    }

    @Test func `objects, arrays and values are separated as JSON asks`() {
        let text = written {
            $0.beginObject()
            $0.member("a", 1)
            $0.member("b", "x")
            $0.key("c")
            $0.beginArray()
            $0.bool(true)
            $0.null()
            $0.beginObject()
            $0.endObject()
            $0.number(-7)
            $0.endArray()
            $0.key("d")
            $0.beginObject()
            $0.member("e", false)
            $0.endObject()
            $0.member("f", 1.5)
            $0.endObject()
        }
        #expect(text == #"{"a":1,"b":"x","c":[true,null,{},-7],"d":{"e":false},"f":1.5}"#)
    }

    @Test func `indentation puts each member on its line and keeps empty ones short`() {
        let text = written(indentation: 1) {
            $0.beginObject()
            $0.key("a")
            $0.beginArray()
            $0.endArray()
            $0.key("b")
            $0.beginArray()
            $0.number(1)
            $0.number(2)
            $0.endArray()
            $0.endObject()
        }
        #expect(text == "{\n \"a\": [],\n \"b\": [\n  1,\n  2\n ]\n}")
    }

    @Test(arguments: [
        (Array("plain".utf8), "plain"), (Array("q\" b\\ /".utf8), #"q\" b\\ /"#),
        ([8, 9, 10, 12, 13], #"\b\t\n\f\r"#), ([0, 0x1F, 0x7F], "\\u0000\\u001f\u{7F}"),
        (Array("é€😀".utf8), "é€😀"), ([0x61, 0xFF, 0x62], "a\u{FFFD}b"), ([0xC3], "\u{FFFD}"),
        ([0xE2, 0x82], "\u{FFFD}\u{FFFD}"), ([0xED, 0xA0, 0x80], "\u{FFFD}\u{FFFD}\u{FFFD}"),
        ([0xC0, 0xAF], "\u{FFFD}\u{FFFD}"),
        ([0xF4, 0x90, 0x80, 0x80], "\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}"),
        ([], ""),
    ])
    func `text is escaped and always well-formed`(bytes: [UInt8], expected: String) {
        let text = written { writer in bytes.withUnsafeBytes { writer.string($0) } }
        #expect(text == "\"\(expected)\"")
    }

    @Test(arguments: [
        (0.0, "0"), (1e15, "1000000000000000"), (0.25, "0.25"), (1e300, "1e+300"), (-2.0, "-2"),
        (Double.nan, "null"), (Double.infinity, "null"),
    ])
    func `numbers are JSON numbers`(value: Double, expected: String) {
        #expect(written { $0.number(value) } == expected)
    }
}
