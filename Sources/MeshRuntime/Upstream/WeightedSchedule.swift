/// Picks items in proportion to their weights, spread as evenly as may be: earliest deadline first.
///
/// Each item is due again 1/weight after it was picked. Equal deadlines keep their order, so equal
/// weights go round. A pick costs O(log n) and allocates nothing (envoy: EdfScheduler).
struct WeightedSchedule {
    private struct Entry {
        var deadline: Double
        var order: UInt64
        var item: Int
    }

    /// A binary heap, the earliest first.
    private var heap: [Entry] = []
    private var now = 0.0
    private var order: UInt64 = 0

    init(weights: [Double]) {
        heap.reserveCapacity(weights.count)
        for (item, weight) in weights.enumerated() {
            heap.append(Entry(deadline: 1 / weight, order: order, item: item))
            order += 1
            siftUp(heap.count - 1)
        }
    }

    /// The item due first. Its next turn is set by `weight`, asked for now, since weights may depend
    /// on load. Nil where there are no items.
    mutating func pick(weight: (Int) -> Double) -> Int? {
        guard let first = heap.first else { return nil }
        now = first.deadline
        heap[0].deadline = now + 1 / weight(first.item)
        heap[0].order = order
        order &+= 1
        siftDown()
        return first.item
    }

    private func isBefore(_ left: Entry, _ right: Entry) -> Bool {
        left.deadline < right.deadline
            || (left.deadline == right.deadline && left.order < right.order)
    }

    private mutating func siftUp(_ start: Int) {
        var child = start
        while child > 0 {
            let parent = (child - 1) / 2
            guard isBefore(heap[child], heap[parent]) else { return }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    private mutating func siftDown() {
        var parent = 0
        while true {
            var child = 2 * parent + 1
            guard child < heap.count else { return }
            if child + 1 < heap.count, isBefore(heap[child + 1], heap[child]) { child += 1 }
            guard isBefore(heap[child], heap[parent]) else { return }
            heap.swapAt(child, parent)
            parent = child
        }
    }
}
