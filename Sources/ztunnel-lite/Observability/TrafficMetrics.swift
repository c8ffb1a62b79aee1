import MeshNet
import Synchronization

/// The `istio_tcp_*` metrics of all workers.
///
/// A worker asks here for its cells when it meets labels that it does not know, which takes a lock; it
/// counts without one. A scrape sums the cells of all workers.
///
/// The number of series has a limit, since a peer's `baggage` and a long file can name any number of
/// workloads: beyond it connections count as of unknown peers, and a metric says how many did.
/// A series whose workload has left the file leaves too, once it has been idle for a while; see
/// ``sweep(now:isKnown:)``.
package final class TrafficMetrics: Sendable {
    /// Each takes some 2 KiB of memory, and some 5 KiB of the text.
    package static let seriesMax = 4096
    /// Of these, how many may be told apart by what sources say of themselves, as one part in so many: a
    /// peer that says something new each time leaves room for those that the file names.
    static let claimedShare = 4

    /// The least that a series of a workload that is gone stays: three times what a Prometheus server
    /// looks back for a value (5 minutes), so that its last value has long been taken and, should the
    /// workload return, the series begins anew behind a gap, which `rate()` reads as a restart.
    static let idleMin = Nanoseconds.seconds(15 * 60)

    private let seriesMax: Int
    private let state = Mutex(State())

    struct Series {
        let labels: TrafficLabels
        /// The text before and after the value of `response_flags`.
        let before: [UInt8]
        let after: [UInt8]
        /// One for each worker that has met the labels.
        var workers: [(worker: Int, cells: TrafficCells)] = []
        /// What the last sweep saw, and since when it is so.
        fileprivate var seen: TrafficCells.Totals?
        fileprivate var idleSince = Instant(nanoseconds: 0)

        init(_ labels: TrafficLabels) {
            self.labels = labels
            (before, after) = labels.text
        }
    }

    fileprivate struct State {
        var series: [Series] = []
        /// Indices into ``series``.
        var indices: [TrafficLabels: Int] = [:]
        /// Series of unknown peers, which may stand for others; they do not count against the limit.
        var foldedSeries = 0
        /// Series of sources that are what they say.
        var claimedSeries = 0
        var workers: [WorkerCounts] = []
    }

    package init(seriesMax: Int = TrafficMetrics.seriesMax) { self.seriesMax = seriesMax }

    // MARK: Workers

    /// Gives a worker its number and its counts of what has no labels of peers.
    func addWorker() -> (number: Int, counts: WorkerCounts) {
        let counts = WorkerCounts()
        let number = state.withLock { state in
            state.workers.append(counts)
            return state.workers.count - 1
        }
        return (number, counts)
    }

    /// A worker's cells for these labels, or for less of them where there are too many series.
    func cells(
        _ labels: TrafficLabels,
        worker: Int
    ) -> (cells: TrafficCells, isFolded: Bool) {
        state.withLock { state in
            let fitting = fitting(labels, state)
            return (state.cells(state.index(of: fitting), worker: worker), fitting != labels)
        }
    }

    private func fitting(_ labels: TrafficLabels, _ state: State) -> TrafficLabels {
        if state.indices[labels] != nil { return labels }
        if labels.isClaimed, state.claimedSeries >= seriesMax / Self.claimedShare {
            return fitting(labels.unclaimed, state)
        }
        if state.series.count - state.foldedSeries < seriesMax { return labels }
        return TrafficLabels(unknownPeers: labels.direction, isMutualTLS: labels.isMutualTLS)
    }

    // MARK: The control thread

    /// All series at this moment, in the order they came. Their cells are read later, without the lock.
    var series: [Series] { state.withLock { $0.series } }

    /// The sum of what has no labels of peers.
    var counts: WorkerCounts.Totals { WorkerCounts.Totals(state.withLock { $0.workers }) }

    /// Lets go of series that no open connection uses, that have not changed for ``idleMin`` and one
    /// of whose peers is known no more. To be called at each scrape, behind it: a series has then been
    /// shown with its last value at least once before it leaves.
    ///
    /// - Parameter isKnown: whether the file still names a workload.
    /// - Returns: what the series that have left had counted.
    @discardableResult
    func sweep(
        now: Instant,
        isKnown: (_ namespace: String, _ workload: String) -> Bool
    ) -> [TrafficCells.Totals] {
        state.withLock { state in
            var left: [TrafficCells.Totals] = []
            var kept: [Series] = []
            kept.reserveCapacity(state.series.count)
            for series in state.series {
                var series = series
                let totals = TrafficCells.Totals(series.workers.map(\.cells))
                if series.seen != totals {
                    series.seen = totals
                    series.idleSince = now
                } else if now - series.idleSince >= Self.idleMin,
                    !series.labels.peersAreKnown(isKnown),
                    series.retire()
                {
                    left.append(totals)
                    continue
                }
                kept.append(series)
            }
            state.series = kept
            if !left.isEmpty { state.index() }
            return left
        }
    }
}

extension TrafficMetrics.State {
    fileprivate mutating func index(of labels: TrafficLabels) -> Int {
        if let known = indices[labels] { return known }
        series.append(TrafficMetrics.Series(labels))
        note(labels, series.count - 1)
        return series.count - 1
    }

    private mutating func note(_ labels: TrafficLabels, _ index: Int) {
        indices[labels] = index
        if labels.isClaimed { claimedSeries += 1 }
        if labels.isWithoutPeers { foldedSeries += 1 }
    }

    fileprivate mutating func cells(_ index: Int, worker: Int) -> TrafficCells {
        if let known = series[index].workers.first(where: { $0.worker == worker }) {
            return known.cells
        }
        let cells = TrafficCells()
        series[index].workers.append((worker, cells))
        return cells
    }

    fileprivate mutating func index() {
        indices.removeAll(keepingCapacity: true)
        claimedSeries = 0
        foldedSeries = 0
        for (index, series) in series.enumerated() { note(series.labels, index) }
    }
}

extension TrafficMetrics.Series {
    /// False, and nothing has happened, where a worker uses it again or still.
    fileprivate func retire() -> Bool {
        for worker in workers { worker.cells.retire(true) }
        let totals = TrafficCells.Totals(workers.map(\.cells))
        if totals == seen, totals.isIdle { return true }
        for worker in workers { worker.cells.retire(false) }
        return false
    }
}

extension TrafficLabels {
    fileprivate var isWithoutPeers: Bool {
        self == TrafficLabels(unknownPeers: direction, isMutualTLS: isMutualTLS)
    }

    /// An unknown peer never becomes less known.
    fileprivate func peersAreKnown(_ isKnown: (String, String) -> Bool) -> Bool {
        [source, destination].allSatisfy { peer in
            peer.workload.isEmpty || isKnown(peer.namespace, peer.workload)
        }
    }
}
