# The one entry point. Every target is one line that calls SwiftPM or a script.

CONFIG ?= configs/minimal.json
SEED ?=
FILTER ?=
KEEP ?=
SECONDS ?= 20
ARGS ?=
TARGETS = $(or $(TARGET),$(basename $(notdir $(wildcard Tests/FuzzTargets/*.swift))))
export KEEP

.PHONY: help setup build release bench test unit sim e2e e2e-live gate fuzz demo demo-ambient format lint check run clean

help: ## Lists the targets.
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: ## Installs what is missing: Debian packages, and what the tests run beside us.
	@scripts/setup --tests

build: ## Debug build of everything.
	swift build --build-tests

release: ## Release build: .build/release/MeshProxy and .build/release/ztunnel-lite
	@scripts/setup && swift build -c release --product MeshProxy && swift build -c release --product ztunnel-lite

bench: release ## Set-up, release builds, and every standard scenario; ARGS="--quick" takes minutes.
	@scripts/setup --bench && swift build -c release --product mesh-bench && .build/release/mesh-bench run $(ARGS)

test: setup unit release e2e ## Set-up, then every test.

unit: ## Tests of values, codecs and simulated agents.
	swift test $(if $(FILTER),--filter $(FILTER))

sim: ## Simulation tests; SEED=n replays one schedule.
	$(if $(SEED),MESH_SIM_SEED=$(SEED)) swift test --filter 'SimulationTests|MeshNetTests'

e2e: ## The release binaries; answers are compared with those recorded from Envoy.
	Tests/EndToEnd/run $(if $(FILTER),--filter $(FILTER))

e2e-live: ## The same, beside a running Envoy.
	Tests/EndToEnd/run --live $(if $(FILTER),--filter $(FILTER))

gate: release ## Fails where a request costs more instructions, allocations or system calls than accepted; ACCEPT=1 accepts.
	@scripts/setup --gate && swift build -c release --product mesh-bench
	@.build/release/mesh-bench gate $(if $(ACCEPT),--accept) $(if $(SCENARIOS),--scenarios $(SCENARIOS))

fuzz: ## Every parser, or TARGET, under libFuzzer for SECONDS each.
	@for target in $(TARGETS); do scripts/fuzz $$target $(SECONDS) || exit 1; done

demo: release ## Set-up, release build, and a walk through a small mesh; KEEP=1 leaves it running.
	@scripts/setup --demo && scripts/demo

demo-ambient: release ## The same for an ambient mesh of ztunnel-lite: captured as root, else through SOCKS5.
	@scripts/setup --ambient && scripts/demo-ambient

format: ## Formats the Swift sources.
	swift format --configuration .swift-format --in-place --recursive Sources Tests Benchmarks Package.swift

lint: ## Checks the format.
	swift format lint --configuration .swift-format --strict --recursive Sources Tests Benchmarks Package.swift

check: lint unit ## What a commit has to pass.

run: release ## Runs CONFIG.
	.build/release/MeshProxy -c $(CONFIG)

clean: ## Removes what was built.
	rm -rf .build
