import MeshNet
import Synchronization

/// A count that only grows (Envoy's `Counter`): a pointer to one worker's cell.
///
/// One thread writes, any thread reads; `add` is a relaxed load and store, no locked instruction.
/// `@unchecked Sendable`: the cell lives as long as the process and is an atomic.
package struct Counter: @unchecked Sendable {
    fileprivate let cell: StatsCell

    @inline(__always)
    package func add(_ n: UInt64 = 1) {
        cell.pointee.store(cell.pointee.load(ordering: .relaxed) &+ n, ordering: .relaxed)
    }

    /// This worker's part of the count; the scrape sums over workers.
    package var value: UInt64 { cell.pointee.load(ordering: .relaxed) }
}

/// A level that rises and falls (Envoy's `Gauge`): one worker's part of it.
///
/// The cell keeps the level shifted by one; the lowest bit says that it was ever touched, which is
/// what `usedonly` asks for. A worker's part may be negative, the sum over workers is the level.
package struct Gauge: @unchecked Sendable {
    fileprivate let cell: StatsCell

    @inline(__always)
    package func add(_ n: UInt64 = 1) { shift(by: Int64(bitPattern: n)) }

    @inline(__always)
    package func subtract(_ n: UInt64 = 1) { shift(by: 0 &- Int64(bitPattern: n)) }

    /// For gauges with a single writer in the whole process: other workers' parts stay zero.
    package func set(_ level: UInt64) { cell.pointee.store(level << 1 | 1, ordering: .relaxed) }

    /// This worker's part of the level.
    package var value: Int64 {
        Int64(bitPattern: cell.pointee.load(ordering: .relaxed)) >> 1
    }

    @inline(__always)
    private func shift(by n: Int64) {
        let old = Int64(bitPattern: cell.pointee.load(ordering: .relaxed))
        cell.pointee.store(UInt64(bitPattern: (old &+ n &<< 1) | 1), ordering: .relaxed)
    }
}

/// What a metric is, and so which `type=` of the admin's `/stats` lists it.
package enum StatKind: UInt8, Sendable {
    case counter, gauge
}

/// Which metrics are kept and how they are named apart (envoy: bootstrap `stats_config`).
package struct StatsOptions: Sendable {
    /// False for names that `stats_matcher` rejects: their handles count into nowhere.
    package var keeps: @Sendable (_ name: String) -> Bool
    /// Upper bounds of a histogram's cumulative buckets, where `histogram_bucket_settings` names it.
    package var buckets: @Sendable (_ name: String) -> [Double]?
    package var tags: StatsTagExtractor

    package init(
        keeps: @escaping @Sendable (_ name: String) -> Bool = { _ in true },
        buckets: @escaping @Sendable (_ name: String) -> [Double]? = { _ in nil },
        tags: StatsTagExtractor = StatsTagExtractor()
    ) {
        self.keeps = keeps
        self.buckets = buckets
        self.tags = tags
    }
}

/// Every metric of the process by name. The same name gives the same metric.
///
/// Registration is for cold paths and takes a lock; the handles it gives out do not. Each worker, the
/// control thread and the log writer's thread have cells of their own in arenas that never move; a
/// scrape sums them.
package final class StatsRegistry: Sendable {
    /// Data-path threads.
    package let workers: Int
    /// Index of the control thread's cells.
    package var controlIndex: Int { workers }
    /// Index of the cells of the thread that writes log files.
    package var logWriterIndex: Int { workers + 1 }
    private var shards: Int { workers + 2 }
    package let options: StatsOptions
    private let state: Mutex<State>

    package init(workers: Int, options: StatsOptions = StatsOptions()) {
        self.workers = workers
        self.options = options
        state = Mutex(State(shards: workers + 2))
    }

    private struct State: ~Copyable {
        /// Arenas of cells, by shard. A chunk is added to all shards at once.
        var chunks: [[StatsCell]]
        /// Cells that count into nowhere, one per shard: a rejected metric's.
        let discarded: [StatsCell]
        var cellCount = 0
        var metrics: [StatsMetric] = []
        /// Indices into ``metrics``, by name; the last ones are missing until somebody looks.
        var sorted: [Int32] = []
        var indexByName: [String: Int32] = [:]
        /// By name, once somebody has looked.
        var histograms: [HistogramMetric] = []
        var histogramsAreSorted = true
        var histogramByName: [String: HistogramMetric] = [:]
        var generation: UInt64 = 0

        init(shards: Int) {
            chunks = Array(repeating: [], count: shards)
            discarded = (0..<shards).map { _ in StatsArena.makeCells(8) }
        }

        mutating func addCell() -> Int {
            if cellCount == chunks[0].count * StatsArena.chunkSize {
                for shard in chunks.indices {
                    chunks[shard].append(StatsArena.makeCells(StatsArena.chunkSize))
                }
            }
            defer { cellCount += 1 }
            return cellCount
        }

        func cell(_ index: Int, shard: Int) -> StatsCell {
            chunks[shard][index / StatsArena.chunkSize] + index % StatsArena.chunkSize
        }

        mutating func add(_ metric: StatsMetric) {
            let index = Int32(metrics.count)
            metrics.append(metric)
            indexByName[metric.name] = index
            generation += 1
        }

        /// Puts what has come since in its place. A worker adds a hundred metrics for each of maybe ten thousand
        /// clusters: to find the place of each at once would take minutes.
        mutating func sort() {
            if sorted.count < metrics.count {
                let fresh = (Int32(sorted.count)..<Int32(metrics.count)).sorted {
                    metrics[Int($0)].name < metrics[Int($1)].name
                }
                var merged: [Int32] = []
                merged.reserveCapacity(metrics.count)
                var rest = fresh[...]
                for index in sorted {
                    while let next = rest.first, metrics[Int(next)].name < metrics[Int(index)].name
                    {
                        merged.append(next)
                        rest.removeFirst()
                    }
                    merged.append(index)
                }
                sorted = merged + rest
            }
            if !histogramsAreSorted {
                histograms.sort { $0.name < $1.name }
                histogramsAreSorted = true
            }
        }
    }

    fileprivate func cell(_ name: String, _ kind: StatKind, shard: Int) -> StatsCell {
        state.withLock { state in
            if let index = state.indexByName[name] {
                let metric = state.metrics[Int(index)]
                // Two kinds under one name is a mistake of ours: keep the first, lose the second.
                guard metric.kind == kind, let cell = metric.cell else {
                    assertionFailure("stat \(name) is registered with two kinds")
                    return state.discarded[shard]
                }
                return state.cell(cell, shard: shard)
            }
            guard options.keeps(name) else { return state.discarded[shard] }
            let cell = state.addCell()
            state.add(StatsMetric(name: name, kind: kind, cell: cell, read: nil))
            return state.cell(cell, shard: shard)
        }
    }

    fileprivate func histogram(_ name: String, unit: HistogramUnit, shard: Int) -> Histogram {
        state.withLock { state in
            if let known = state.histogramByName[name] { return known.handle(shard: shard) }
            let isKept = options.keeps(name)
            let metric = HistogramMetric(
                name: name,
                unit: unit,
                shards: shards,
                bounds: options.buckets(name) ?? HistogramMetric.bounds(unit)
            )
            state.histogramByName[name] = metric
            if isKept {
                state.histograms.append(metric)
                state.histogramsAreSorted = false
                state.generation += 1
            }
            return metric.handle(shard: shard)
        }
    }

    /// A metric that some other part of the process already holds: read at each scrape, from the
    /// scraping thread. Nil means "never touched".
    package func computed(
        _ name: String,
        _ kind: StatKind = .gauge,
        _ read: @escaping @Sendable () -> UInt64?
    ) {
        guard options.keeps(name) else { return }
        state.withLock { state in
            guard state.indexByName[name] == nil else { return }
            state.add(StatsMetric(name: name, kind: kind, cell: nil, read: read))
        }
    }

    /// All metrics as they are known now. Values are read later, without the lock.
    package func view() -> StatsView {
        state.withLock { state in
            state.sort()
            return StatsView(
                metrics: state.metrics,
                sorted: state.sorted,
                histograms: state.histograms,
                chunks: state.chunks,
                generation: state.generation
            )
        }
    }

    /// Starts counters again at zero, for readers only: cells go on counting
    /// (envoy: POST /reset_counters).
    package func resetCounters() {
        let view = view()
        state.withLock { state in
            for (index, metric) in view.metrics.enumerated() where metric.kind == .counter {
                state.metrics[index].baseline = view.total(metric)
            }
        }
    }

    /// Ends one interval of every histogram. Call it each `stats_flush_interval`.
    package func endHistogramInterval() {
        for histogram in view().histograms { histogram.endInterval() }
    }
}

/// One thread's way to its cells of a ``StatsRegistry``.
package final class WorkerStats {
    package let registry: StatsRegistry
    /// Worker index, or ``StatsRegistry/controlIndex`` or ``StatsRegistry/logWriterIndex``.
    package let index: Int

    package init(_ registry: StatsRegistry, index: Int) {
        precondition((0...registry.logWriterIndex).contains(index))
        self.registry = registry
        self.index = index
    }

    package func counter(_ name: String) -> Counter {
        Counter(cell: registry.cell(name, .counter, shard: index))
    }

    package func gauge(_ name: String) -> Gauge {
        Gauge(cell: registry.cell(name, .gauge, shard: index))
    }

    package func histogram(_ name: String, unit: HistogramUnit = .milliseconds) -> Histogram {
        registry.histogram(name, unit: unit, shard: index)
    }
}

typealias StatsCell = UnsafeMutablePointer<Atomic<UInt64>>

enum StatsArena {
    /// Cells per chunk: 4 KiB, one page per worker for each 512 metrics.
    static let chunkSize = 512

    /// Zeroed cells on cache lines of their own, never freed.
    static func makeCells(_ count: Int) -> StatsCell {
        let raw = UnsafeMutableRawPointer.allocate(
            byteCount: count * MemoryLayout<Atomic<UInt64>>.stride,
            alignment: 64
        )
        let cells = raw.bindMemory(to: Atomic<UInt64>.self, capacity: count)
        for at in 0..<count { (cells + at).initialize(to: Atomic(0)) }
        return cells
    }
}

struct StatsMetric {
    let name: String
    let kind: StatKind
    /// Index of its cell in every shard; nil where ``read`` gives the value.
    let cell: Int?
    let read: (@Sendable () -> UInt64?)?
    /// What a counter had reached when it was last reset.
    var baseline: UInt64 = 0
}

/// The metrics at one moment, by name. Reading values takes no lock.
///
/// `@unchecked Sendable`: it holds pointers to cells that never move and are atomics.
package struct StatsView: @unchecked Sendable {
    let metrics: [StatsMetric]
    let sorted: [Int32]
    package let histograms: [HistogramMetric]
    fileprivate let chunks: [[StatsCell]]
    /// Grows with each new metric: what was rendered for one generation holds for it.
    package let generation: UInt64

    package struct Sample {
        package let name: String
        package let kind: StatKind
        package let value: UInt64
        /// Whether it was ever touched (envoy: `usedonly`).
        package let isUsed: Bool
    }

    package var count: Int { metrics.count }

    /// Calls `body` with each counter and gauge, by name.
    package func forEach(_ body: (Sample) -> Void) {
        for index in sorted { body(sample(Int(index))) }
    }

    package func value(_ name: String) -> UInt64? {
        metrics.firstIndex { $0.name == name }.map { sample($0).value }
    }

    func sample(_ index: Int) -> Sample {
        let metric = metrics[index]
        guard let cell = metric.cell else {
            let value = metric.read?()
            return Sample(
                name: metric.name,
                kind: metric.kind,
                value: (value ?? 0) &- metric.baseline,
                isUsed: value != nil
            )
        }
        let sum = sum(cell)
        switch metric.kind {
        case .counter:
            return Sample(
                name: metric.name,
                kind: .counter,
                value: sum.total &- metric.baseline,
                isUsed: sum.total != 0
            )
        case .gauge:
            // Workers publish apart: a level moved from one to another may be seen as below zero.
            return Sample(
                name: metric.name,
                kind: .gauge,
                value: UInt64(max(0, sum.level)),
                isUsed: sum.isTouched
            )
        }
    }

    fileprivate func total(_ metric: StatsMetric) -> UInt64 {
        metric.cell.map { sum($0).total } ?? metric.read?() ?? 0
    }

    private func sum(_ cell: Int) -> (total: UInt64, level: Int64, isTouched: Bool) {
        let chunk = cell / StatsArena.chunkSize
        let offset = cell % StatsArena.chunkSize
        var total: UInt64 = 0
        var level: Int64 = 0
        var touched: UInt64 = 0
        for shard in chunks {
            let value = shard[chunk][offset].load(ordering: .relaxed)
            total &+= value
            level &+= Int64(bitPattern: value) >> 1
            touched |= value
        }
        return (total, level, touched & 1 == 1)
    }
}
