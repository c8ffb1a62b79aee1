import MeshHTTP
import Testing

@testable import Ztunnel

struct HBONEHeaderTests {
    @Test(
        arguments: [
            ("for=\"10.0.0.1:54321\";host=echo.app", "echo.app"),
            ("host=echo.app;for=10.0.0.1", "echo.app"), ("host=\"echo.app\"", "echo.app"),
            ("for=\"10.0.0.1:54321\"", nil), ("for=x;host=", nil), ("host=\"\"", nil),
            ("hostess=echo.app;host", nil), (";;", nil), ("", nil),
        ] as [(String, String?)]
    )
    func `the service that a client meant is read from forwarded`(field: String, host: String?) {
        let head = HeaderMap()
        head.append(HBONEHeaders.forwardedName, field)
        #expect(HBONEHeaders.forwardedHost(head) == host)
    }

    @Test func `a request without forwarded names no service`() {
        #expect(HBONEHeaders.forwardedHost(HeaderMap()) == nil)
    }
}
