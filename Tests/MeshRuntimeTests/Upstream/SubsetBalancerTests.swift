import Testing

@testable import MeshRuntime

@Suite struct SubsetBalancerTests {
    /// The endpoints of Envoy's documentation on subsets, numbered from 1.
    static let specs = [
        makeSpec(
            1,
            metadata: [
                "stage": .string("prod"), "version": .string("1.0"), "type": .string("std"),
                "xlarge": .bool(true),
            ]
        ),
        makeSpec(
            2,
            metadata: ["stage": .string("prod"), "version": .string("1.0"), "type": .string("std")]
        ),
        makeSpec(
            3,
            metadata: ["stage": .string("prod"), "version": .string("1.1"), "type": .string("std")]
        ),
        makeSpec(
            4,
            metadata: ["stage": .string("prod"), "version": .string("1.1"), "type": .string("std")]
        ),
        makeSpec(
            5,
            metadata: [
                "stage": .string("prod"), "version": .string("1.0"), "type": .string("bigmem"),
            ]
        ),
        makeSpec(
            6,
            metadata: [
                "stage": .string("prod"), "version": .string("1.1"), "type": .string("bigmem"),
            ]
        ),
        makeSpec(
            7,
            metadata: [
                "stage": .string("dev"), "version": .string("1.2-pre"), "type": .string("std"),
            ]
        ),
    ]

    static func documented() -> SubsetOptions {
        var options = SubsetOptions()
        options.selectors = [
            ["stage", "type"], ["stage", "version"], ["version"], ["xlarge", "version"],
        ]
        .map(SubsetOptions.Selector.init)
        options.defaultSubset = [
            "stage": .string("prod"), "version": .string("1.0"), "type": .string("std"),
        ]
        options.fallback = .defaultSubset
        return options
    }

    /// Everybody who is ever chosen.
    private func reached(
        _ options: SubsetOptions,
        _ wanted: [String: MetadataValue]?,
        among specs: [EndpointSpec] = SubsetBalancerTests.specs
    ) -> Set<Int> {
        let balancer = SubsetBalancer(
            specs.map { Endpoint($0) },
            options: options,
            balancing: BalancingOptions(),
            offset: 0
        )
        var random = FastRandom(seed: 1)
        let criteria = wanted.map(SubsetCriteria.init)
        return Set((0..<40).compactMap { _ in balancer.choose(criteria, &random).choice.number })
    }

    static let documentedChoices: [(wanted: [String: String], reached: Set<Int>)] = [
        (["stage": "prod", "type": "std"], [1, 2, 3, 4]),
        (["stage": "prod", "type": "bigmem"], [5, 6]),
        (["stage": "dev", "type": "std"], [7]),
        (["stage": "prod", "version": "1.0"], [1, 2, 5]),
        (["stage": "prod", "version": "1.1"], [3, 4, 6]),
        (["version": "1.2-pre"], [7]),
        // No such subset, and keys that no selector has: the default subset.
        (["version": "2.0"], [1, 2]),
        (["type": "std"], [1, 2]),
    ]

    @Test(arguments: documentedChoices.indices)
    func `criteria pick the subset whose keys and values they are`(index: Int) {
        let (wanted, expected) = Self.documentedChoices[index]
        #expect(
            reached(Self.documented(), wanted.mapValues { MetadataValue.string($0) }) == expected
        )
    }

    @Test func `values are compared by type`() {
        let wanted: [String: MetadataValue] = ["xlarge": .bool(true), "version": .string("1.0")]
        #expect(reached(Self.documented(), wanted) == [1])
        let text: [String: MetadataValue] = ["xlarge": .string("true"), "version": .string("1.0")]
        #expect(reached(Self.documented(), text) == [1, 2])
    }

    @Test func `no criteria means fallback`() {
        var options = Self.documented()
        #expect(reached(options, nil) == [1, 2])
        options.fallback = .anyEndpoint
        #expect(reached(options, nil) == [1, 2, 3, 4, 5, 6, 7])
        options.fallback = .none
        #expect(reached(options, nil).isEmpty)
    }

    @Test func `a selector's own fallback beats the cluster's`() {
        var options = Self.documented()
        let missing: [String: MetadataValue] = ["version": .string("9")]
        options.selectors[2].fallback = .none
        #expect(reached(options, missing).isEmpty)
        options.selectors[2].fallback = .anyEndpoint
        #expect(reached(options, missing).count == 7)
        options.fallback = .none
        options.selectors[2].fallback = .defaultSubset
        #expect(reached(options, missing) == [1, 2])
    }

    @Test func `a selector may fall back to fewer keys`() {
        var options = Self.documented()
        options.selectors[1].fallback = .keysSubset(["version"])
        let wanted: [String: MetadataValue] = ["stage": .string("test"), "version": .string("1.1")]
        #expect(reached(options, wanted) == [3, 4, 6])
    }

    @Test func `an empty default subset ends in anybody only with panic mode`() {
        var options = Self.documented()
        options.defaultSubset = ["stage": .string("nowhere")]
        #expect(reached(options, nil).isEmpty)
        options.panicModeAny = true
        #expect(reached(options, nil).count == 7)
    }

    @Test func `a list stands for each of its elements where that is asked for`() {
        let specs = [
            makeSpec(1, metadata: ["version": .list([.string("a"), .string("b")])]),
            makeSpec(2, metadata: ["version": .string("b")]),
        ]
        var options = SubsetOptions()
        options.selectors = [SubsetOptions.Selector(keys: ["version"])]
        #expect(reached(options, ["version": .string("b")], among: specs) == [2])
        options.listAsAny = true
        #expect(reached(options, ["version": .string("b")], among: specs) == [1, 2])
        #expect(reached(options, ["version": .string("a")], among: specs) == [1])
    }

    @Test func `a single host per subset is used whatever its health`() {
        let specs = [
            makeSpec(1, health: .unhealthy, metadata: ["id": .string("a")]),
            makeSpec(2, metadata: ["id": .string("b")]),
            makeSpec(3, metadata: ["id": .string("b")]),
        ]
        var options = SubsetOptions()
        options.selectors = [SubsetOptions.Selector(keys: ["id"])]
        options.selectors[0].hasSingleHost = true
        #expect(reached(options, ["id": .string("a")], among: specs) == [1])
        #expect(reached(options, ["id": .string("b")], among: specs) == [2])
    }

    @Test func `redundant keys are passed over where that is allowed`() {
        var options = Self.documented()
        let wanted: [String: MetadataValue] = [
            "stage": .string("dev"), "type": .string("std"), "colour": .string("red"),
        ]
        #expect(reached(options, wanted) == [1, 2])
        options.allowsRedundantKeys = true
        #expect(reached(options, wanted) == [7])
    }

    @Test func `merged criteria let the weighted cluster win`() {
        let route = SubsetCriteria(["version": .string("1.0"), "stage": .string("prod")])
        let merged = route.merging(["version": .string("1.1")])
        #expect(merged.entries.map(\.key) == ["stage", "version"])
        #expect(merged.entries[1].value == .string("1.1"))
    }
}
