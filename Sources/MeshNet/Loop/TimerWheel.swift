/// Names an armed timer. Stale names are harmless: they no longer match and cancel nothing.
package struct TimerID: Sendable {
    fileprivate var index: UInt32
    fileprivate var generation: UInt32

    /// No timer.
    package static let none = TimerID(index: .max, generation: 0)
    package var isNone: Bool { index == .max }
}

/// Hears of its timers. `kind` tells one object's timers apart.
package protocol TimerTarget: AnyObject {
    func timerFired(_ kind: UInt8)
}

/// Timers by deadline in a hierarchy of wheels: arming and cancelling are O(1).
///
/// Time is cut into ticks of about a millisecond. A timer never fires early, and at most one tick late
/// as far as the wheel is concerned. An armed timer retains its target.
package final class TimerWheel {
    /// 2^20 ns, 1.05 ms: finer than any configured timeout, and a shift instead of a division.
    private static let tickShift: UInt64 = 20
    private static let slotBits: UInt64 = 6
    private static let slots = 64
    /// 64^6 ticks are 2.2 years; longer deadlines fire then, which no process will see.
    private static let levels = 6
    private static let ticksMax = (UInt64(1) << (slotBits * UInt64(levels))) - 1
    private static let none = UInt32.max

    private struct Node {
        var deadline: UInt64
        var next: UInt32
        var previous: UInt32
        var generation: UInt32
        /// Which list it is in, as level * 64 + slot; `UInt16.max` where free or about to fire.
        var list: UInt16
        var kind: UInt8
    }

    // Plain memory: every request arms and cancels, and an array would first ask who else has it.
    private var nodes: UnsafeMutablePointer<Node>
    private var targets: UnsafeMutablePointer<(any TimerTarget)?>
    private var capacity = TimerWheel.capacityMin
    private var used = 0
    private var firstFree = TimerWheel.none
    private let heads: UnsafeMutablePointer<UInt32>
    /// One bit per slot that holds timers, by level.
    private let occupied: UnsafeMutablePointer<UInt64>
    private var tick: UInt64
    package private(set) var count = 0

    private static let capacityMin = 64

    package init(now: Instant) {
        tick = now.nanoseconds >> Self.tickShift
        nodes = .allocate(capacity: Self.capacityMin)
        targets = .allocate(capacity: Self.capacityMin)
        heads = .allocate(capacity: Self.levels * Self.slots)
        heads.initialize(repeating: Self.none, count: Self.levels * Self.slots)
        occupied = .allocate(capacity: Self.levels)
        occupied.initialize(repeating: 0, count: Self.levels)
    }

    deinit {
        targets.deinitialize(count: used)
        targets.deallocate()
        nodes.deallocate()
        heads.deallocate()
        occupied.deallocate()
    }

    package func arm(
        _ target: any TimerTarget,
        _ kind: UInt8,
        at deadline: Instant
    ) -> TimerID {
        // Round up, so that it never fires early.
        let (rounded, overflow) = deadline.nanoseconds.addingReportingOverflow(
            (1 << Self.tickShift) - 1
        )
        let wanted = (overflow ? UInt64.max : rounded) >> Self.tickShift
        // Never in the current tick, which may be firing: a target that arms "at once" must not spin.
        let at = min(max(wanted, tick + 1), tick | Self.ticksMax)
        let index: UInt32
        if firstFree != Self.none {
            index = firstFree
            firstFree = nodes[Int(index)].next
        } else {
            index = UInt32(used)
            addNode()
        }
        nodes[Int(index)].deadline = at
        nodes[Int(index)].kind = kind
        targets[Int(index)] = target
        count += 1
        link(index)
        return TimerID(index: index, generation: nodes[Int(index)].generation)
    }

    /// Cancels and forgets the timer; a timer that has fired, or none, is left as it is.
    @inline(__always)
    package func cancel(_ timer: inout TimerID) {
        if !timer.isNone { cancelArmed(&timer) }
    }

    private func cancelArmed(_ timer: inout TimerID) {
        defer { timer = .none }
        guard nodes[Int(timer.index)].generation == timer.generation else { return }
        unlink(timer.index)
        free(timer.index)
    }

    /// The moment of the next deadline, or a little before it; nil where nothing is armed.
    package var nextDeadline: Instant? {
        guard let next = nextTick() else { return nil }
        return Instant(nanoseconds: next << Self.tickShift)
    }

    /// Calls every target whose deadline has come, in order of deadline. Targets may arm and cancel.
    package func advance(to now: Instant, _ fire: (any TimerTarget, UInt8) -> Void) {
        let target = now.nanoseconds >> Self.tickShift
        while let next = nextTick(), next <= target {
            tick = next
            cascade()
            let list = Int(tick) & (Self.slots - 1)
            var index = heads[list]
            heads[list] = Self.none
            occupied[0] &= ~(1 << UInt64(list))
            while index != Self.none {
                let kind = nodes[Int(index)].kind
                let following = nodes[Int(index)].next
                // Detach the rest first: firing may cancel any of it.
                if following != Self.none { nodes[Int(following)].previous = Self.none }
                heads[list] = following
                if following != Self.none { occupied[0] |= 1 << UInt64(list) }
                let owner = targets[Int(index)]
                free(index)
                if let owner { fire(owner, kind) }
                index = heads[list]
                if heads[list] == Self.none { occupied[0] &= ~(1 << UInt64(list)) }
            }
        }
        tick = max(tick, target)
    }

    // MARK: Lists

    private func addNode() {
        if used == capacity {
            let moreNodes = UnsafeMutablePointer<Node>.allocate(capacity: capacity * 2)
            moreNodes.moveInitialize(from: nodes, count: used)
            nodes.deallocate()
            nodes = moreNodes
            let moreTargets = UnsafeMutablePointer<(any TimerTarget)?>.allocate(
                capacity: capacity * 2
            )
            moreTargets.moveInitialize(from: targets, count: used)
            targets.deallocate()
            targets = moreTargets
            capacity *= 2
        }
        (nodes + used).initialize(
            to: Node(
                deadline: 0,
                next: Self.none,
                previous: Self.none,
                generation: 0,
                list: .max,
                kind: 0
            )
        )
        (targets + used).initialize(to: nil)
        used += 1
    }

    private func link(_ index: UInt32) {
        let deadline = nodes[Int(index)].deadline
        let difference = deadline ^ tick
        let level =
            difference == 0 ? 0 : Int(UInt64(63 - difference.leadingZeroBitCount) / Self.slotBits)
        let slot = Int(deadline >> (Self.slotBits * UInt64(level))) & (Self.slots - 1)
        let list = level * Self.slots + slot
        let head = heads[list]
        nodes[Int(index)].next = head
        nodes[Int(index)].previous = Self.none
        nodes[Int(index)].list = UInt16(list)
        if head != Self.none { nodes[Int(head)].previous = index }
        heads[list] = index
        occupied[level] |= 1 << UInt64(slot)
    }

    private func unlink(_ index: UInt32) {
        let node = nodes[Int(index)]
        let list = Int(node.list)
        if node.previous != Self.none {
            nodes[Int(node.previous)].next = node.next
        } else {
            heads[list] = node.next
            if node.next == Self.none {
                occupied[list / Self.slots] &= ~(1 << UInt64(list % Self.slots))
            }
        }
        if node.next != Self.none { nodes[Int(node.next)].previous = node.previous }
    }

    private func free(_ index: UInt32) {
        nodes[Int(index)].generation &+= 1
        nodes[Int(index)].list = .max
        nodes[Int(index)].next = firstFree
        firstFree = index
        targets[Int(index)] = nil
        count -= 1
    }

    /// The tick at which something is to do: a deadline, or the start of a coarser slot.
    private func nextTick() -> UInt64? {
        for level in 0..<Self.levels {
            let shift = Self.slotBits * UInt64(level)
            let position = (tick >> shift) & UInt64(Self.slots - 1)
            // At level 0 the current slot counts; above it, the current slot has been cascaded.
            let skipped = level == 0 ? position : position + 1
            let ahead = (occupied[level] >> skipped) << skipped
            guard ahead != 0 else { continue }
            let window = (tick >> (shift + Self.slotBits)) << (shift + Self.slotBits)
            return window | (UInt64(ahead.trailingZeroBitCount) << shift)
        }
        return nil
    }

    /// Spreads the coarser slots that begin at this tick over the finer levels.
    private func cascade() {
        var level = Self.levels - 1
        while level > 0 {
            let shift = Self.slotBits * UInt64(level)
            if tick & ((1 << shift) - 1) == 0 {
                let slot = Int(tick >> shift) & (Self.slots - 1)
                var index = heads[level * Self.slots + slot]
                heads[level * Self.slots + slot] = Self.none
                occupied[level] &= ~(1 << UInt64(slot))
                while index != Self.none {
                    let next = nodes[Int(index)].next
                    link(index)
                    index = next
                }
            }
            level -= 1
        }
    }
}
