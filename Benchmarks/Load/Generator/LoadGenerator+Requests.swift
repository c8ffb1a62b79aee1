import MeshNet

/// Requests: when they begin, and what becomes of them.
extension LoadGenerator {
    /// When the next request of an open loop is due; nil where none will be.
    package var nextDue: Instant? {
        guard phase == .warming || phase == .counting, mayIssue, let next = schedule?.next,
            scheduledEnd.map({ next < $0 }) ?? true
        else { return nil }
        return next
    }

    /// Sends what is due by now. Cheap to repeat.
    package func advance() {
        var now = loop.system.now()
        while let due = nextDue, due <= now {
            schedule?.advance()
            if sendNow(due, now) {
                now = loop.system.now()
            } else if !waiting.append(due) {
                issued += 1
                tally.count(.dropped)
            }
        }
    }

    /// False where no connection is free.
    private func sendNow(_ due: Instant, _ now: Instant) -> Bool {
        guard waiting.isEmpty else { return false }
        while let slot = freeSlots.take() {
            guard begin(slot, due: due, now: now) else { continue }
            if phase == .counting { tally.countLateness(now - due) }
            return true
        }
        return false
    }

    /// Requests that wait will be issued too.
    private var mayIssue: Bool {
        guard let limit = plan.requests else { return true }
        return issued + waiting.count < limit
    }

    /// A slot can take a request: it gets one at once, or waits for one to be due.
    func offer(_ slot: RequestSlot) {
        guard !slot.isReady, !slot.isUnderWay, phase != .done else { return }
        slot.isReady = true
        if isIdle {
            if !slot.isStanding { _ = begin(slot, due: nil, now: loop.system.now()) }
        } else if isScheduled {
            guard let due = waiting.take() else { return freeSlots.append(slot) }
            if !begin(slot, due: due, now: loop.system.now()) { waiting.putBack(due) }
        } else if phase == .establishing {
            freeSlots.append(slot)
        } else if phase != .draining, mayIssue {
            _ = begin(slot, due: nil, now: loop.system.now())
        }
    }

    /// False where the slot could not take it after all; then it is not ready any more.
    ///
    /// - Parameter due: nil in a closed loop.
    func begin(_ slot: RequestSlot, due: Instant?, now: Instant) -> Bool {
        if due == nil, !mayIssue { return false }
        slot.isReady = false
        slot.isUnderWay = true
        slot.due = due ?? now
        slot.sent = now
        issued += 1
        underWay += 1
        if slot.lane.begin(slot) { return true }
        slot.isUnderWay = false
        issued -= 1
        underWay -= 1
        return false
    }

    /// The last byte of an answer has come, and it was right.
    func answered(_ slot: RequestSlot) {
        guard slot.isUnderWay else { return }
        let now = loop.system.now()
        slot.isUnderWay = false
        underWay -= 1
        lastNews = now
        tally.answers &+= 1
        tally.countRecent(slot, at: now)
        if isIdle {
            tally.count(slot, at: now, isScheduled: false)
            return stood(slot)
        }
        // In an open loop a request belongs to the window in which it was due.
        if isScheduled
            ? slot.due >= windowStart && (phase == .counting || phase == .draining)
            : phase == .counting
        {
            tally.count(slot, at: now, isScheduled: isScheduled)
        }
        if phase == .draining || plan.requests != nil { endIfSettled() }
    }

    /// The answer was wrong, or there will be none.
    func failed(_ slot: RequestSlot, _ fault: LoadFault) {
        guard slot.isUnderWay else { return }
        slot.isUnderWay = false
        underWay -= 1
        count(fault)
        if phase == .draining || plan.requests != nil { endIfSettled() }
    }

    /// Counts what went wrong; not what our own end brings about.
    func count(_ fault: LoadFault) {
        if phase != .done { tally.count(fault) }
    }

    private func stood(_ slot: RequestSlot) {
        slot.isStanding = true
        standing += 1
        if standing == slotCount, phase == .establishing { stand() }
    }

    /// A connection ended that was to stand.
    func fell(_ slot: RequestSlot) {
        guard slot.isStanding else { return }
        slot.isStanding = false
        standing -= 1
    }
}

/// Slots that could take a request, the longest free first: requests go round all connections.
struct FreeSlots {
    private var slots: [RequestSlot] = []
    private var head = 0

    mutating func append(_ slot: RequestSlot) {
        guard !slot.isListed else { return }
        slot.isListed = true
        if head > 1024, head > slots.count / 2 {
            slots.removeFirst(head)
            head = 0
        }
        slots.append(slot)
    }

    mutating func take() -> RequestSlot? {
        while head < slots.count {
            let slot = slots[head]
            head += 1
            if head == slots.count {
                slots.removeAll(keepingCapacity: true)
                head = 0
            }
            slot.isListed = false
            if slot.isReady { return slot }
        }
        return nil
    }
}
