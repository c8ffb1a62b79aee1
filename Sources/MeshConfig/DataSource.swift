import MeshNet

/// A file or variable that could not be read.
package struct ConfigFileError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The file's path, or the variable's name.
    package let subject: String
    package let reason: String

    package init(_ subject: String, _ reason: String) {
        self.subject = subject
        self.reason = reason
    }

    package var description: String { "\(subject): \(reason)" }
}

/// What configuration may read of the world; only the control thread calls it.
package protocol ConfigFiles {
    /// The whole content of the file at `path`.
    func read(_ path: String) throws(ConfigFileError) -> [UInt8]
    /// The environment variable `name`; nil where it is not set.
    func environment(_ name: String) -> [UInt8]?
}

/// Bytes that a configuration gives in place or names (envoy: core.v3.DataSource).
package struct DataSource: Hashable, Sendable {
    package enum Source: Hashable, Sendable {
        case file(String)
        case inlineBytes([UInt8])
        case inlineString(String)
        case environment(String)
    }

    package let source: Source
    /// A directory whose move-into events mean "read the file again" (envoy: watched_directory).
    package let watchedDirectory: String?

    package init(_ source: Source, watchedDirectory: String? = nil) {
        self.source = source
        self.watchedDirectory = watchedDirectory
    }

    package init(_ object: ConfigObject) {
        let kinds = ["filename", "inline_bytes", "inline_string", "environment_variable"]
        switch object.exactlyOne(of: kinds) {
        case "filename": source = .file(object.requiredString("filename"))
        case "inline_bytes": source = .inlineBytes(object.bytes("inline_bytes") ?? [])
        case "environment_variable":
            source = .environment(object.requiredString("environment_variable"))
        default: source = .inlineString(object.string("inline_string", default: ""))
        }
        watchedDirectory = object.watchedDirectory()
        if watchedDirectory != nil, path == nil {
            object.error("only a file can be watched", at: "watched_directory")
        }
    }

    /// The file's path, if it is a file.
    package var path: String? {
        if case .file(let path) = source { path } else { nil }
    }

    package func load(_ files: any ConfigFiles) throws(ConfigFileError) -> [UInt8] {
        switch source {
        case .file(let path): return try files.read(path)
        case .inlineBytes(let bytes): return bytes
        case .inlineString(let text): return Array(text.utf8)
        case .environment(let name):
            guard let bytes = files.environment(name) else {
                throw ConfigFileError(name, "this environment variable is not set")
            }
            return bytes
        }
    }
}

extension ConfigObject {
    /// The directory whose move-into events mean "read the file again" (envoy:
    /// core.v3.WatchedDirectory).
    package func watchedDirectory() -> String? {
        guard let child = object("watched_directory") else { return nil }
        // Files written in place are seen in any case.
        child.inert("watch_modify")
        return child.requiredString("path")
    }
}
