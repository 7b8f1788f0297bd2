# SPDX-License-Identifier: MIT
#
# The face of the build: each target installs what it needs, builds in build/ with CMake, and does
# one thing.
#
#   make run          boot the demonstration kernel: a shell, or without a terminal a demonstration
#   make test         every test, under ten minutes
#   make proof        everything that tests it for longer: at most twenty minutes
#   make soak         the same, round after round: SECONDS=3600, or until something fails
#   make bench        the figures, as a table and in build/bench.json
#   make traces       record bench/traces anew: what programs refer to, for the simulator of paging
#   make check-style  clang-format and the rules of the house that a tool can hold
#   make format       let clang-format rewrite the sources
#   make clean

BUILD := build
JOBS := $(shell nproc 2>/dev/null || echo 2)

.NOTPARALLEL:
.PHONY: all run test proof soak bench traces check-style format clean configure

all: setup-run configure
	@cmake --build $(BUILD) -j $(JOBS)

setup-%:
	@sh tools/setup.sh $*

configure:
	@mkdir -p $(BUILD)
	@cmake -S . -B $(BUILD) >$(BUILD)/configure.log 2>&1 || { cat $(BUILD)/configure.log; exit 1; }

run: setup-run configure
	@cmake --build $(BUILD) -j $(JOBS) --target boot-image
	@sh tools/boot.sh $(BUILD)

test: setup-test configure
	@sh tools/test.sh $(BUILD) $(JOBS)

proof: setup-proof configure
	@cmake --build $(BUILD) -j $(JOBS)
	@python3 tools/proof.py $(BUILD)

soak: setup-proof configure
	@cmake --build $(BUILD) -j $(JOBS)
	@python3 tools/proof.py $(BUILD) --soak $(or $(SECONDS),0)

bench: setup-bench configure
	@cmake --build $(BUILD) -j $(JOBS) --target bench-programs
	@python3 tools/bench.py $(BUILD)

traces: setup-traces configure
	@cmake --build $(BUILD) -j $(JOBS) --target pagetrace
	@sh tools/traces.sh $(BUILD)

check-style: setup-style
	@python3 tools/check_style

format: setup-style
	@python3 tools/check_style --fix

clean:
	rm -rf $(BUILD)
