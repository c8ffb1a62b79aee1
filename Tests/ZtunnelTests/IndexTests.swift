import MeshNet
import Testing

@testable import Ztunnel

struct IndexTests {
    static let lookups: [(address: String, places: [Int32])] = [
        ("10.1.2.3", [3, 7]), ("10.1.9.9", [2]), ("10.9.9.9", [1]), ("11.0.0.1", [0]),
        ("fd00::1", [5]), ("fd01::1", [4]), ("2001:db8::1", []),
    ]

    @Test(arguments: lookups)
    func `the longest range that covers an address is found, family by family`(
        address: String,
        places: [Int32]
    ) throws {
        var index = IndexByRange()
        let ranges = [
            "0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "fc00::/7", "fd00::/16",
            "10.1.2.3/32", "10.1.2.0/24",
        ]
        for (place, range) in ranges.enumerated() {
            let parts = range.split(separator: "/").map(String.init)
            let cidr = CIDR(
                try #require(IPAddress(parts[0])),
                prefixLength: try #require(Int(parts[1]))
            )
            index.insert(Int32(place), for: try #require(cidr))
        }
        // The longest of all is somebody else's.
        let found = index.first(covering: try #require(IPAddress(address))) {
            $0.filter { $0 != 6 }
        }
        #expect(found == places)
    }
}
