// swift-tools-version: 6.2
import PackageDescription

// Release code keeps bounds and overflow checks. What it drops is the dynamic exclusivity check, and
// what it adds is specialisation and inlining of `package` API across our own modules; both are
// measured in docs/decisions/0001-modules-and-flags.md.
let strict: [SwiftSetting] = [
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
]
let swift: [SwiftSetting] =
    strict + [
        .unsafeFlags(
            ["-enforce-exclusivity=unchecked", "-enable-cmo-everything"],
            .when(configuration: .release)
        )
    ]

// The Swift runtime is linked into the binary: a third less memory, nothing to install beside it.
// Cross-module optimisation emits the same specialisation of a standard-library function in more than one
// module; the linker keeps the first (docs/decisions/0001-modules-and-flags.md). Nobody links against the
// program: its symbols stay out of the dynamic table, which saves 1.5 MiB of resident memory.
let executable: [LinkerSetting] = [
    .unsafeFlags([
        "-static-stdlib", "-Xlinker", "--allow-multiple-definition",
        "-Xlinker", "--no-export-dynamic",
    ])
]
// The harness uses Foundation and stays with the toolchain that built it: its runtime is the toolchain's.
let tool: [LinkerSetting] = [.unsafeFlags(["-Xlinker", "--allow-multiple-definition"])]

func module(
    _ name: String,
    _ dependencies: [Target.Dependency],
    path: String? = nil,
    exclude: [String] = []
) -> Target {
    .target(
        name: name,
        dependencies: dependencies,
        path: path,
        exclude: exclude,
        swiftSettings: swift
    )
}

func tests(_ name: String, _ dependencies: [Target.Dependency], exclude: [String] = []) -> Target {
    .testTarget(name: name, dependencies: dependencies, exclude: exclude, swiftSettings: swift)
}

let package = Package(
    name: "MeshProxy",
    products: [
        .executable(name: "MeshProxy", targets: ["MeshProxyMain"]),
        .executable(name: "ztunnel-lite", targets: ["ZtunnelMain"]),
        .executable(name: "mesh-bench", targets: ["MeshBenchMain"]),
    ],
    // Of the harness in Benchmarks/ only: Tests/HouseTests keeps them out of Sources/.
    dependencies: [
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    ],
    targets: [
        // C libraries: shims for macros and packed structs, nothing else.
        .target(name: "CLinux"),
        .target(
            name: "COpenSSL",
            linkerSettings: [.linkedLibrary("ssl"), .linkedLibrary("crypto")]
        ),
        .target(name: "CRE2", linkerSettings: [.linkedLibrary("re2")]),
        .target(name: "CAres", dependencies: ["CLinux"], linkerSettings: [.linkedLibrary("cares")]),
        .target(name: "CYAML", linkerSettings: [.linkedLibrary("yaml")]),
        .target(name: "CNGHTTP2", linkerSettings: [.linkedLibrary("nghttp2")]),

        // The house, bottom up. Each module's one sentence is in docs/architecture.md;
        // Tests/HouseTests holds the direction of imports.
        module("MeshNet", ["CLinux", "COpenSSL", "CAres"]),
        module("MeshHTTP", ["MeshNet", "CNGHTTP2"]),
        module("MeshConfig", ["MeshNet", "CRE2", "CYAML"]),
        module("MeshRuntime", ["CLinux", "MeshNet", "MeshHTTP", "MeshConfig", "CRE2"]),
        module(
            "MeshProxy",
            ["CLinux", "MeshNet", "MeshHTTP", "MeshConfig", "MeshRuntime"],
            exclude: ["Main"]
        ),
        .executableTarget(
            name: "MeshProxyMain",
            dependencies: ["MeshProxy"],
            path: "Sources/MeshProxy/Main",
            // Nothing here is hot: with the flags it would compile the whole house once more.
            swiftSettings: strict,
            linkerSettings: executable
        ),
        module(
            "Ztunnel",
            ["CLinux", "MeshNet", "MeshHTTP", "MeshConfig", "MeshRuntime"],
            path: "Sources/ztunnel-lite",
            exclude: ["Main"]
        ),
        .executableTarget(
            name: "ZtunnelMain",
            dependencies: ["Ztunnel"],
            path: "Sources/ztunnel-lite/Main",
            swiftSettings: strict,
            linkerSettings: executable
        ),

        // The harness: the ends of a measurement, and what is measured with them.
        module(
            "MeshLoad",
            [
                "CLinux", "MeshNet", "MeshHTTP",
                .product(name: "Histogram", package: "hdrhistogram-swift"),
            ],
            path: "Benchmarks/Load"
        ),
        .target(name: "CBench", path: "Benchmarks/CBench"),
        module("MeshBench", ["MeshLoad", "CLinux", "CBench"], path: "Benchmarks/Bench"),
        .executableTarget(
            name: "MeshBenchMain",
            dependencies: [
                "MeshLoad", "MeshBench", "MeshNet",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Benchmarks/Main",
            swiftSettings: strict,
            linkerSettings: tool
        ),

        // Test support; no product links it.
        module("MeshSimulation", ["MeshNet", "MeshHTTP"]),

        tests("MeshNetTests", ["MeshNet", "MeshSimulation"]),
        tests("MeshHTTPTests", ["MeshHTTP", "MeshSimulation"]),
        tests("MeshConfigTests", ["MeshConfig"], exclude: ["Fixtures"]),
        tests("MeshRuntimeTests", ["MeshRuntime", "MeshSimulation"]),
        tests("MeshProxyTests", ["MeshProxy", "MeshSimulation"]),
        tests("ZtunnelTests", ["Ztunnel", "MeshSimulation"]),
        tests("MeshLoadTests", ["MeshLoad", "MeshNet", "MeshHTTP", "MeshSimulation"]),
        tests("MeshBenchTests", ["MeshBench", "MeshConfig"], exclude: ["Fixtures"]),
        tests("SimulationTests", ["MeshProxy", "MeshSimulation"]),
        tests("HouseTests", []),
    ],
    swiftLanguageModes: [.v6],
    cLanguageStandard: .gnu11,
    cxxLanguageStandard: .cxx17
)

// scripts/fuzz builds one libFuzzer target at a time, beside everything else.
if let fuzz = Context.environment["MESHPROXY_FUZZ"] {
    package.targets.append(
        .target(
            name: fuzz,
            dependencies: ["MeshNet", "MeshHTTP", "MeshConfig"],
            path: "Tests/FuzzTargets",
            exclude: ["Corpus"],
            sources: ["\(fuzz).swift"],
            swiftSettings: swift
        )
    )
    package.products.append(.library(name: "Fuzz", type: .static, targets: [fuzz]))
}
