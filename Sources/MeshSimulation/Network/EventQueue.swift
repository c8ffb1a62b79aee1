import MeshNet

/// Something that will happen on the simulated wire.
struct NetworkEvent {
    enum Kind {
        /// The next segment from this endpoint reaches its peer.
        case arrival(SimulatedEndpoint)
        case opened(SimulatedEndpoint)
        case refused(SimulatedEndpoint)
        /// Readiness is announced again.
        case edge(Int32)
    }

    let time: Instant
    /// Ties are broken by age, so that a run depends on the seed alone.
    let number: UInt64
    let kind: Kind

    func precedes(_ other: NetworkEvent) -> Bool {
        time != other.time ? time < other.time : number < other.number
    }
}

/// Events by time: a binary heap.
struct EventQueue {
    private var heap: [NetworkEvent] = []
    private var inserted: UInt64 = 0

    var first: NetworkEvent? { heap.first }

    mutating func insert(at time: Instant, _ kind: NetworkEvent.Kind) {
        inserted += 1
        heap.append(NetworkEvent(time: time, number: inserted, kind: kind))
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard heap[child].precedes(heap[parent]) else { break }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    mutating func removeFirst() {
        let last = heap.removeLast()
        guard !heap.isEmpty else { return }
        heap[0] = last
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count {
                if heap[child].precedes(heap[least]) { least = child }
            }
            guard least != parent else { return }
            heap.swapAt(least, parent)
            parent = least
        }
    }
}
