import MeshNet
import MeshRuntime

/// What the administration port counts of itself, by event (envoy: `listener.admin.`, `http.admin.`).
final class AdminServerStats: ControlServerAccounts {
    private let listener: ListenerStats
    private let thread: ListenerWorkerStats
    private let http: HTTPConnectionManagerStats
    private let responses: ListenerHTTPStats

    init(_ stats: WorkerStats) {
        listener = ListenerStats(stats, listener: "admin", isAdmin: true)
        thread = ListenerWorkerStats(stats, listener: "admin")
        http = HTTPConnectionManagerStats(stats, statPrefix: "admin", isAdmin: true)
        responses = ListenerHTTPStats(stats, listener: "admin", statPrefix: "admin")
    }

    func connectionOpened() {
        listener.downstreamCxTotal.add()
        listener.downstreamCxActive.add()
        thread.downstreamCxTotal.add()
        thread.downstreamCxActive.add()
        http.downstreamCxTotal.add()
        http.downstreamCxActive.add()
        http.downstreamCxHttp1Total.add()
        http.downstreamCxHttp1Active.add()
    }

    func connectionClosed(byUs: Bool, hasRequest: Bool, age: Nanoseconds) {
        let milliseconds = UInt64(max(0, age.milliseconds))
        listener.downstreamCxDestroy.add()
        listener.downstreamCxActive.subtract()
        listener.downstreamCxLengthMs.record(milliseconds)
        thread.downstreamCxActive.subtract()
        http.downstreamCxDestroy.add()
        http.downstreamCxActive.subtract()
        http.downstreamCxHttp1Active.subtract()
        http.downstreamCxLengthMs.record(milliseconds)
        (byUs ? http.downstreamCxDestroyLocal : http.downstreamCxDestroyRemote).add()
        guard hasRequest else { return }
        http.downstreamCxDestroyActiveRq.add()
        (byUs ? http.downstreamCxDestroyLocalActiveRq : http.downstreamCxDestroyRemoteActiveRq)
            .add()
    }

    func transferred(received: UInt64, sent: UInt64) {
        http.downstreamCxRxBytesTotal.add(received)
        http.downstreamCxTxBytesTotal.add(sent)
    }

    func requestBegan() {
        http.downstreamRqTotal.add()
        http.downstreamRqHttp1Total.add()
        http.downstreamRqActive.add()
    }

    func responseBegan(_ status: Int) {
        http.countResponse(status)
        responses.countResponse(status)
    }

    func requestEnded(took: Nanoseconds, isReset: Bool) {
        http.downstreamRqActive.subtract()
        http.downstreamRqTime.record(UInt64(max(0, took.milliseconds)))
        if isReset { http.downstreamRqRxReset.add() }
    }
}
