import Testing

/// Files stay readable. The ratchet may only be tightened: a listed file may shrink, not grow.
struct FileLengthTests {
    private static let linesMax = 500
    private static let ratchet = [String: Int]()

    @Test func `no source file outgrows its readers`() {
        for file in Repository.sources {
            let limit = Self.ratchet[file.path] ?? Self.linesMax
            #expect(
                file.lines.count <= limit,
                "\(file.path) has \(file.lines.count) lines, more than \(limit): find the second noun"
            )
        }
    }

    @Test func `the ratchet lists only files that need it`() {
        for (path, limit) in Self.ratchet {
            let lines = Repository.sources.first { $0.path == path }?.lines.count ?? 0
            #expect(
                lines > Self.linesMax && limit - lines < 20,
                "tighten or remove \(path): \(lines) lines"
            )
        }
    }
}
