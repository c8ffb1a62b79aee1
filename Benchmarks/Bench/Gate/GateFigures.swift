/// What one request costs, in things that can be counted: the same on every run, however busy the machine.
package struct GateFigures: Codable, Equatable, Sendable {
    /// Of the workers, as callgrind counts them, without the allocator's own: these depend on what the heap has
    /// come to look like, and are told by ``allocations``.
    package var instructions: Double
    /// Calls of malloc and its kin.
    package var allocations: Double
    /// Calls of free, also those that free nothing.
    package var frees: Double
    /// Without those that the kernel answers in user space (vDSO).
    package var systemCalls: Double

    package init(
        instructions: Double,
        allocations: Double,
        frees: Double,
        systemCalls: Double
    ) {
        self.instructions = instructions
        self.allocations = allocations
        self.frees = frees
        self.systemCalls = systemCalls
    }

    private static let allocators = [
        "malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign",
    ]
    /// Where glibc's allocator does its work.
    private static let allocatorWork = [
        "_int_malloc", "_int_free", "_int_realloc", "_int_memalign", "malloc_consolidate",
        "unlink_chunk.constprop.0", "unlink_chunk.isra.0", "unlink_chunk", "sysmalloc", "systrim",
        "systrim.constprop.0", "tcache_init.part.0",
    ]
    /// Valgrind hides the vDSO, so that these enter the kernel under it, and nowhere else.
    private static let clocks = ["clock_gettime", "gettimeofday", "time", "getcpu"]

    /// - Parameter profile: of that many requests.
    package init(_ profile: CallgrindProfile, requests: Int) {
        let requests = Double(requests)
        let allocating = Self.allocatorWork.reduce(0) { $0 + (profile.instructions[$1] ?? 0) }
        instructions = (Double(profile.allInstructions - allocating) / requests).rounded()
        func each(_ count: Int) -> Double { (Double(count) / requests * 100).rounded() / 100 }
        allocations = each(profile.calls(of: Self.allocators))
        frees = each(profile.calls(of: ["free"]))
        systemCalls = each(profile.kernelEntries - profile.calls(of: Self.clocks))
    }

    /// The figures, in the order of the table.
    package enum Kind: String, CaseIterable, Sendable {
        case instructions, allocations, frees
        case systemCalls = "system calls"
    }

    package subscript(_ kind: Kind) -> Double {
        switch kind {
        case .instructions: instructions
        case .allocations: allocations
        case .frees: frees
        case .systemCalls: systemCalls
        }
    }
}

/// `Benchmarks/gate.json`: what was accepted.
package struct GateRecord: Codable, Equatable, Sendable {
    /// How far a figure may grow unnoticed.
    package struct Tolerance: Codable, Equatable, Sendable {
        /// A share: other versions of libraries take other paths.
        package var instructions = 0.03
        /// Absolute: what happens once in a thousand requests.
        package var allocations = 0.1
        package var systemCalls = 0.2

        package init() {}

        /// Absolute, for a figure that has this value.
        func most(_ kind: GateFigures.Kind, at value: Double) -> Double {
            switch kind {
            case .instructions: value * instructions
            case .allocations, .frees: allocations
            case .systemCalls: systemCalls
            }
        }
    }

    /// Where the figures are from. Instructions are compared only where all of it is the same.
    package struct Origin: Codable, Equatable, Sendable {
        /// As `valgrind --version` prints it.
        package var valgrind: String
        /// What libraries choose their code by: `x86_64, AVX2`.
        package var processor: String

        package init(valgrind: String, processor: String) {
            self.valgrind = valgrind
            self.processor = processor
        }
    }

    package var origin: Origin
    package var tolerance = Tolerance()
    package var scenarios: [String: GateFigures] = [:]

    package init(origin: Origin) { self.origin = origin }
}

/// One figure of a scenario against what was accepted.
package struct GateVerdict: Equatable, Sendable {
    package enum Outcome: Equatable, Sendable {
        case same
        case grew
        case shrank
        /// Never measured before.
        case new
        /// The machine differs in what decides this figure.
        case incomparable
    }

    package var scenario: String
    package var kind: String
    package var value: Double
    package var accepted: Double?
    package var tolerated: Double
    package var outcome: Outcome

    /// Judges every figure of a scenario.
    package static func verdicts(
        _ scenario: String,
        _ figures: GateFigures,
        against record: GateRecord?,
        from origin: GateRecord.Origin
    ) -> [GateVerdict] {
        GateFigures.Kind.allCases.map { kind in
            let value = figures[kind]
            guard let record, let accepted = record.scenarios[scenario]?[kind] else {
                return GateVerdict(
                    scenario: scenario,
                    kind: kind.rawValue,
                    value: value,
                    accepted: nil,
                    tolerated: 0,
                    outcome: .new
                )
            }
            let tolerated = record.tolerance.most(kind, at: accepted)
            let outcome: Outcome =
                kind == .instructions && record.origin != origin
                ? .incomparable
                : value > accepted + tolerated
                    ? .grew : value < accepted - tolerated ? .shrank : .same
            return GateVerdict(
                scenario: scenario,
                kind: kind.rawValue,
                value: value,
                accepted: accepted,
                tolerated: tolerated,
                outcome: outcome
            )
        }
    }
}
