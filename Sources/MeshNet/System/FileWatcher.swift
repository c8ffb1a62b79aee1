import CLinux
import Glibc

/// A file, or a directory whose every change matters.
package enum WatchedPath: Hashable, Sendable {
    case file(String)
    case directory(String)
}

/// Hears that something it watches may have changed.
package protocol FileWatcherDelegate: AnyObject {
    func filesChanged()
}

/// Tells when files change: by writing in place, by renaming over them, or by swapping a symbolic
/// link anywhere on their way, as Kubernetes does with `..data`.
///
/// It watches directories, not files: a replaced file is another inode. Every component of a path
/// is looked up, links are followed, and each directory passed is watched for the name that was
/// looked up in it. Changes are told once they have been quiet for ``settleTime``, at latest after
/// ``settleTimeMax``: whoever writes a certificate writes its key next.
package final class FileWatcher: ReadinessHandler, TimerTarget {
    /// How long nothing must have changed before we look.
    package static let settleTime = Nanoseconds.milliseconds(50)
    /// A file that never rests is read nevertheless.
    package static let settleTimeMax = Nanoseconds.milliseconds(1000)
    /// Links followed on one path, as the kernel's own limit.
    private static let linksMax = 40

    private let loop: EventLoop
    private weak var delegate: (any FileWatcherDelegate)?
    private let inotify: Int32
    private var registration: EventLoop.Registration?
    /// Names that matter by directory; nil: every name.
    private var names: [String: Set<String>?] = [:]
    private var directories: [Int32: String] = [:]
    private var timer = TimerID.none
    private var firstChange: Instant?
    private var paths: Set<WatchedPath> = []

    /// Fails where the system has no more watches (`fs.inotify.max_user_instances`).
    package init(loop: EventLoop, delegate: any FileWatcherDelegate) throws(SystemError) {
        self.loop = loop
        self.delegate = delegate
        inotify = inotify_init1(Int32(IN_NONBLOCK) | Int32(IN_CLOEXEC))
        if inotify < 0 { throw SystemError(code: errno, call: "inotify_init1") }
        registration = try loop.register(self, for: MeshNet.Socket(descriptor: inotify))
    }

    /// Stops watching. The loop retains the watcher until then.
    package func stop() {
        loop.cancel(&timer)
        guard let registration else { return }
        loop.deregister(registration)
        self.registration = nil
        close(inotify)
    }

    /// Watches exactly these from now on.
    package func watch(_ paths: Set<WatchedPath>) {
        self.paths = paths
        refreshWatches()
    }

    // MARK: Events

    package func becameReady(_ readiness: Readiness) {
        var matters = false
        withUnsafeTemporaryAllocation(byteCount: 16_384, alignment: 8) { buffer in
            while true {
                let count = read(inotify, buffer.baseAddress, buffer.count)
                guard count > 0 else { return }
                if scan(Bytes(rebasing: Bytes(buffer)[..<count])) { matters = true }
            }
        }
        if matters { changed() }
    }

    private func scan(_ events: Bytes) -> Bool {
        let headBytes = MemoryLayout<inotify_event>.size
        var matters = false
        var at = 0
        while at + headBytes <= events.count {
            let event = events.loadUnaligned(fromByteOffset: at, as: inotify_event.self)
            let length = Int(event.len)
            let name = Bytes(rebasing: events[(at + headBytes)..<(at + headBytes + length)])
            // The name is padded with zeros.
            if isRelevant(event, String(bytes: Bytes(rebasing: name.prefix { $0 != 0 }))) {
                matters = true
            }
            at += headBytes + length
        }
        return matters
    }

    private func isRelevant(_ event: inotify_event, _ name: String) -> Bool {
        // Lost events may have been ours.
        if event.mask & UInt32(IN_Q_OVERFLOW) != 0 { return true }
        guard let directory = directories[event.wd], let wanted = names[directory] else {
            return false
        }
        if event.mask & UInt32(IN_DELETE_SELF | IN_MOVE_SELF) != 0 { return true }
        guard let wanted else { return true }
        return wanted.contains(name)
    }

    private func changed() {
        let first = firstChange ?? loop.now
        firstChange = first
        loop.cancel(&timer)
        let left = first + Self.settleTimeMax - loop.now
        timer = loop.arm(self, after: max(.zero, min(Self.settleTime, left)))
    }

    package func timerFired(_ kind: UInt8) {
        timer = .none
        firstChange = nil
        // Before looking, so that what changes meanwhile is heard of.
        refreshWatches()
        delegate?.filesChanged()
    }

    // MARK: Watches

    private static let mask = UInt32(
        IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_DELETE_SELF
            | IN_MOVE_SELF | IN_ONLYDIR
    )

    private func refreshWatches() {
        var wanted: [String: Set<String>?] = [:]
        for path in paths {
            switch path {
            case .file(let path):
                for step in Self.steps(path) {
                    guard let known = wanted[step.directory] else {
                        wanted[step.directory] = [step.name]
                        continue
                    }
                    if var known {
                        known.insert(step.name)
                        wanted[step.directory] = known
                    }
                }
            case .directory(let path):
                wanted[path] = .some(nil)
                for step in Self.steps(path) where wanted[step.directory] == nil {
                    wanted[step.directory] = [step.name]
                }
            }
        }
        var kept: [Int32: String] = [:]
        for directory in wanted.keys.sorted() {
            // The same inode under two names has one watch: all names of it matter then.
            let watch = inotify_add_watch(inotify, directory, Self.mask)
            guard watch >= 0 else { continue }
            if let other = kept[watch], other != directory { wanted[other] = .some(nil) }
            kept[watch] = kept[watch] ?? directory
        }
        for watch in directories.keys where kept[watch] == nil {
            _ = inotify_rm_watch(inotify, watch)
        }
        directories = kept
        names = wanted
    }

    /// Each directory passed on the way to `path` and the name looked up there.
    static func steps(_ path: String) -> [(directory: String, name: String)] {
        var steps: [(directory: String, name: String)] = []
        var rest = path.split(separator: "/").map(String.init)
        var directory = path.hasPrefix("/") ? "/" : "."
        var links = 0
        while !rest.isEmpty {
            let name = rest.removeFirst()
            if name == "." { continue }
            let full = directory == "/" ? "/\(name)" : "\(directory)/\(name)"
            if name == ".." {
                directory = full
                continue
            }
            steps.append((directory, name))
            if links < linksMax, let target = linkTarget(full) {
                links += 1
                rest = target.split(separator: "/").map(String.init) + rest
                if target.hasPrefix("/") { directory = "/" }
            } else {
                directory = full
            }
        }
        return steps
    }

    private static func linkTarget(_ path: String) -> String? {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(PATH_MAX)) { buffer in
            guard let base = buffer.baseAddress else { return nil }
            let count = readlink(path, base, buffer.count)
            guard count >= 0 else { return nil }
            return String(bytes: Bytes(rebasing: Bytes(buffer)[..<count]))
        }
    }
}
