import Foundation
import Testing

@testable import MeshBench

@Suite struct PeerAdapterTests {
    /// A folder with one peer called `thing`.
    private func folder(_ adapter: String, files: [String: String] = [:]) throws -> String {
        let root = NSTemporaryDirectory() + "mesh-bench-tests-\(UUID().uuidString)"
        let place = root + "/thing"
        try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
        for (name, text) in files.merging(["peer.json": adapter], uniquingKeysWith: { $1 }) {
            try text.write(toFile: "\(place)/\(name)", atomically: false, encoding: .utf8)
        }
        return root
    }

    private func error(_ body: () throws -> Void) -> String {
        do {
            try body()
            return ""
        } catch {
            return "\(error)"
        }
    }

    @Test func `an adapter that is no JSON, or lacks a member, is refused by its path`() throws {
        let broken = try folder("{")
        #expect(
            error { _ = try PeerDirectory(folders: [broken]) }
                == "bad adapter: \(broken)/thing/peer.json: this is no JSON"
        )
        let short = try folder(#"{"program": {"names": ["true"]}}"#)
        #expect(
            error { _ = try PeerDirectory(folders: [short]) }
                == "bad adapter: \(short)/thing/peer.json: arguments is missing"
        )
    }

    @Test func `a member that does not exist is named, with those that do`() throws {
        let root = try folder(#"{"program": {}, "arguments": [], "comand": "x"}"#)
        let said = error { _ = try PeerDirectory(folders: [root]) }
        #expect(
            said.hasPrefix(
                "bad adapter: \(root)/thing/peer.json: unknown: comand; there are arguments, "
            )
        )
    }

    @Test func `a program that is not there leaves its peer out, and says what was looked for`()
        throws
    {
        let root = try folder(
            #"{"program": {"environment": "THING", "names": ["no-such-program"], "places": ["/no/such*"]}, "arguments": []}"#
        )
        let directory = try PeerDirectory(folders: [root], environment: [:])
        #expect(directory.found.map(\.name) == ["direct"])
        #expect(
            directory.missing.map(\.reason)
                == ["not found: looked for $THING, no-such-program in PATH, /no/such*"]
        )
        let named = try PeerDirectory(folders: [root], environment: ["THING": "/no/where"])
        #expect(named.missing.map(\.reason) == ["$THING is /no/where, which is no program"])
        #expect(
            error { _ = try directory.chosen(["thing"]) }.hasPrefix(
                "no such peer: thing: not found"
            )
        )
        #expect(
            error { _ = try directory.chosen(["other"]) } == "no such peer: other: there are direct"
        )
    }

    @Test func `a role is there when its template is, and what it needs`() throws {
        let root = try folder(
            """
            {"program": {"places": ["/bin/sh"]}, "arguments": [], "extension": "cfg",
             "roles": {"h2": {"template": "h1"}, "tcp": {"template": "h1", "needs": "/no/such/module"}}}
            """,
            files: ["h1.cfg": "listen @LISTEN@ @ELSE@"]
        )
        let peer = try #require(PeerDirectory(folders: [root]).found.last)
        #expect(peer.plays(["h1", "h2"]))
        #expect(!peer.plays(["h1", "mtls-in"]))
        #expect(!peer.plays(["tcp"]))
        #expect(
            error { _ = try peer.configuration("h1", values: ["LISTEN": "a", "UPSTREAM": "b"]) }
                == "unknown placeholder: \(root)/thing/./h1.cfg: @ELSE@; there are LISTEN, UPSTREAM"
                .replacingOccurrences(of: "/./", with: "/")
        )
        #expect(
            try peer.configuration("h1", values: ["LISTEN": "a", "ELSE": "b@c"]) == "listen a b@c"
        )
    }

    @Test func `another build is added under its name`() throws {
        let root = try folder(#"{"program": {"places": ["/bin/sh"]}, "arguments": []}"#)
        let directory = try PeerDirectory(folders: [root], added: ["other=thing:/bin/cat"])
        #expect(directory.found.map(\.name) == ["direct", "thing", "other"])
        #expect(directory.found.last?.program == "/bin/cat")
        for (text, reason) in [
            ("other", "NAME=PATH or NAME=ADAPTER:PATH is expected"),
            ("other=/bin/cat", "there is no adapter meshproxy"),
            ("other=thing:/no/such", "/no/such is no program"),
            ("thing=thing:/bin/cat", "there is a peer thing already"),
        ] {
            #expect(
                error { _ = try PeerDirectory(folders: [root], added: [text]) }
                    == "bad --add: \(text): \(reason)"
            )
        }
    }

    @Test func `a version is the first line that says something, without the program's path`() {
        #expect(
            Peer.versionLine("\n/opt/envoy  version: 1.40\n", program: "/opt/envoy")
                == "version: 1.40"
        )
        #expect(Peer.versionLine("", program: "/opt/envoy") == "")
    }
}
