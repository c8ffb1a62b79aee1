import Testing

@testable import Ztunnel

struct SPIFFEIDTests {
    @Test func `an identity is read and written the same`() throws {
        let id = try #require(SPIFFEID("spiffe://cluster.local/ns/default/sa/sleep"))
        #expect(id.trustDomain == "cluster.local")
        #expect(id.namespace == "default")
        #expect(id.serviceAccount == "sleep")
        #expect(id.description == "spiffe://cluster.local/ns/default/sa/sleep")
        #expect(id.principal == "cluster.local/ns/default/sa/sleep")
    }

    @Test(
        arguments: [
            "", "spiffe://", "https://td/ns/a/sa/b", "spiffe://td/ns/a/sa",
            "spiffe://td/ns/a/sa/b/c",
            "spiffe://td/sa/a/ns/b", "spiffe:///ns/a/sa/b", "spiffe://td/ns//sa/b",
            "spiffe://td/ns/a/sa/", "SPIFFE://td/ns/a/sa/b",
        ]
    ) func `any other form is none`(_ text: String) {
        #expect(SPIFFEID(text) == nil)
    }
}
