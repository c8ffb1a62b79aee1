import Glibc
import MeshNet
import Testing

@Suite struct FileWatcherTests {
    private final class Observer: FileWatcherDelegate {
        var changes = 0
        func filesChanged() { changes += 1 }
    }

    /// Ends a wait that would not end: a change that is not seen.
    private final class Alarm: TimerTarget {
        var hasRung = false
        func timerFired(_ kind: UInt8) { hasRung = true }
    }

    private let directory: String
    private let loop: EventLoop
    private let observer = Observer()
    private let watcher: FileWatcher

    init() throws {
        var template = Array("/tmp/file-watcher-XXXXXX".utf8CString)
        directory = String(cString: mkdtemp(&template))
        loop = EventLoop(system: try LinuxSystem())
        watcher = try FileWatcher(loop: loop, delegate: observer)
    }

    private func write(_ name: String, _ text: String) {
        let file = open("\(directory)/\(name)", O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        _ = Glibc.write(file, text, text.utf8.count)
        close(file)
    }

    /// Runs the loop until a change was told, or for half a second.
    private func wait() -> Bool {
        let before = observer.changes
        let alarm = Alarm()
        var timer = loop.arm(alarm, after: .milliseconds(500))
        while observer.changes == before, !alarm.hasRung { loop.runOnce() }
        loop.cancel(&timer)
        return observer.changes > before
    }

    private func finish() {
        watcher.stop()
        _ = system("rm -rf '\(directory)'")
    }

    @Test func `writing in place, renaming over and creating are seen, neighbours are not`() {
        write("a", "1")
        watcher.watch([.file("\(directory)/a")])
        write("a", "2")
        #expect(wait())
        write("new", "3")
        rename("\(directory)/new", "\(directory)/a")
        #expect(wait())
        unlink("\(directory)/a")
        write("a", "4")
        #expect(wait())
        write("neighbour", "5")
        #expect(!wait())
        finish()
    }

    @Test func `a swapped link on the way is seen, again and again`() {
        // As Kubernetes does it: a -> ..data/a, ..data -> ..1.
        for generation in 1...3 {
            mkdir("\(directory)/..\(generation)", 0o700)
            write("..\(generation)/a", "\(generation)")
        }
        symlink("..1", "\(directory)/..data")
        symlink("..data/a", "\(directory)/a")
        watcher.watch([.file("\(directory)/a")])
        for generation in 2...3 {
            symlink("..\(generation)", "\(directory)/..tmp")
            rename("\(directory)/..tmp", "\(directory)/..data")
            #expect(wait())
        }
        write("..3/a", "in place")
        #expect(wait())
        write("..1/a", "no longer ours")
        #expect(!wait())
        finish()
    }

    @Test func `every change in a watched directory is seen`() {
        watcher.watch([.directory(directory)])
        write("anything", "1")
        #expect(wait())
        finish()
    }

    @Test func `a directory that is replaced is watched anew`() {
        mkdir("\(directory)/d", 0o700)
        write("d/a", "1")
        watcher.watch([.file("\(directory)/d/a")])
        mkdir("\(directory)/e", 0o700)
        write("e/a", "2")
        rename("\(directory)/d", "\(directory)/old")
        rename("\(directory)/e", "\(directory)/d")
        #expect(wait())
        write("d/a", "3")
        #expect(wait())
        finish()
    }
}
