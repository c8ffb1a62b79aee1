import MeshBench
import Testing

@Suite struct CallgrindProfileTests {
    private static let dump = """
        # callgrind format
        version: 1
        positions: line
        events: Ir sysCount sysTime
        summary: 175 3 9

        ob=(1) /usr/bin/program
        fl=(1) main.c
        fn=(1) serve
        16 20
        cob=(2) libc.so.6
        cfn=(2) malloc
        calls=3 50
        17 90
        cfn=(3) recv
        calls=2 60
        * 45 3 9
        +1 10

        fn=(2)
        50 90

        fn=(3)
        60 40
        * 5 3 9

        fn=(1)
        +2 10
        cfn=(2)
        calls=1 50
        * 0
        """

    @Test func `a function's instructions are its own, a call counts where it leads`() throws {
        let profile = try CallgrindProfile(parsing: Self.dump, subject: "dump")
        #expect(profile.instructions == ["serve": 40, "malloc": 90, "recv": 45])
        #expect(profile.calls == ["malloc": 4, "recv": 2])
        #expect(profile.kernelEntries == 3)
        #expect(profile.allInstructions == 175)
        #expect(profile.calls(of: ["malloc", "calloc"]) == 4)
    }

    @Test func `a difference of two dumps is what the longer one did more`() throws {
        let short = try CallgrindProfile(parsing: Self.dump, subject: "dump")
        let long = try CallgrindProfile(
            parsing: Self.dump.replacing("16 20", with: "16 25").replacing("=3", with: "=5"),
            subject: "dump"
        )
        let difference = long - short
        #expect(difference.allInstructions == 5)
        #expect(difference.calls["malloc"] == 2)
        #expect(difference.kernelEntries == 0)
        #expect((short + short).allInstructions == 350)
    }

    @Test func `what is no dump is refused by name`() {
        let error = #expect(throws: BenchError.self) {
            try CallgrindProfile(parsing: "hello\n", subject: "x.out")
        }
        #expect(error?.description.contains("x.out") == true)
    }
}
