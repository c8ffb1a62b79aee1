import MeshLoad
import MeshNet
import Testing

@Suite struct LoadAddressTests {
    @Test(arguments: ["127.0.0.1:8080", "[::1]:9"])
    func `an address is read as it is written`(text: String) throws {
        #expect(try SocketAddress(parsing: text).description == text)
    }

    @Test(arguments: ["", "127.0.0.1", "::1:9", "[127.0.0.1]:9", "127.0.0.1:99999", "host:80"])
    func `what is not an address and a port is refused`(text: String) {
        #expect(throws: LoadError.self) { try SocketAddress(parsing: text) }
    }
}
