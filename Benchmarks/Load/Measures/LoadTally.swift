import MeshNet

/// What is counted while a generator runs.
struct LoadTally {
    private(set) var latency = LatencyRecorder()
    private(set) var serviceTime = LatencyRecorder()
    private(set) var lateness = LatencyRecorder()
    /// Since the last report of progress.
    private var recent: LatencyRecorder?
    private var recentBytes = 0
    private(set) var requests = 0
    private(set) var faults: [LoadFault: Int] = [:]
    private(set) var faultCount = 0
    /// In the whole run.
    var answers = 0
    var connectionsOpened = 0
    var sessionsResumed = 0

    /// - Parameter reportsProgress: costs a second recording of each latency.
    init(reportsProgress: Bool) {
        if reportsProgress { recent = LatencyRecorder() }
    }

    /// An answer of the window.
    mutating func count(_ slot: RequestSlot, at now: Instant, isScheduled: Bool) {
        requests &+= 1
        latency.record((now - slot.due).nanoseconds)
        if isScheduled { serviceTime.record((now - slot.sent).nanoseconds) }
    }

    /// Any answer.
    mutating func countRecent(_ slot: RequestSlot, at now: Instant) {
        recent?.record((now - slot.due).nanoseconds)
    }

    mutating func countLateness(_ late: Nanoseconds) { lateness.record(late.nanoseconds) }

    mutating func count(_ fault: LoadFault, times: Int = 1) {
        guard times > 0 else { return }
        faults[fault, default: 0] += times
        faultCount += times
    }

    var errors: [String: Int] {
        // Faults that differ for us may have the same words.
        Dictionary(faults.map { ($0.key.text, $0.value) }, uniquingKeysWith: +)
    }

    /// - Parameter bytes: moved in the whole run.
    mutating func takeProgress(bytes: Int) -> LoadProgress? {
        guard let recent else { return nil }
        defer {
            self.recent?.reset()
            recentBytes = bytes
        }
        return LoadProgress(
            answers: recent.count,
            bytes: bytes - recentBytes,
            p50: recent.value(at: 50),
            p99: recent.value(at: 99),
            errors: faultCount
        )
    }
}

/// The last second, for the terminal.
package struct LoadProgress: Sendable {
    package var answers: Int
    /// Both ways.
    package var bytes: Int
    /// Nanoseconds.
    package var p50: UInt64
    package var p99: UInt64
    /// Since the run began.
    package var errors: Int
}

extension Nanoseconds {
    /// For histograms; negative spans are none.
    fileprivate var nanoseconds: UInt64 { UInt64(max(0, count)) }
}
