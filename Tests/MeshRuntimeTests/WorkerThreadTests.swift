import Glibc
import MeshNet
import MeshRuntime
import Testing

struct WorkerThreadTests {
    @Test func `a thread that has ended is joined`() throws {
        let thread = try WorkerThread(name: "short") {}
        let hasEnded = thread.join(within: .seconds(60))
        #expect(hasEnded)
    }

    @Test func `a thread that does not end is waited for only so long`() throws {
        var ends: [Int32] = [-1, -1]
        try #require(pipe(&ends) == 0)
        let (reading, writing) = (ends[0], ends[1])
        let thread = try WorkerThread(name: "stuck") {
            var byte: UInt8 = 0
            _ = read(reading, &byte, 1)
            close(reading)
        }
        let hasEnded = thread.join(within: .milliseconds(5))
        #expect(!hasEnded)
        close(writing)
    }
}
