# Each target does its own set-up; make help lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

# The Ceph release to run with: 16.2, 18.2 or 20.2, and the Lua that its gateway runs on: 5.3 or 5.4.
CEPH ?= 18.2
LUA ?= 5.3
# The releases that the tests know, each with the Luas that its gateways run on.
GATEWAYS = 16.2/5.3 18.2/5.3 18.2/5.4 20.2/5.3 20.2/5.4
ifeq ($(CEPH)/$(LUA),16.2/5.4)
$(error Ceph 16.2 is tested on Lua 5.3 alone, which its official packages and image have; for Lua 5.4 take CEPH=18.2 or CEPH=20.2)
else ifeq ($(filter $(CEPH)/$(LUA),$(GATEWAYS)),)
$(error no gateway is known for CEPH=$(CEPH) LUA=$(LUA); known are $(GATEWAYS))
endif
export RGW_NATS_CACHE ?= /var/cache/rgw_nats
# Compiled dependencies outlast a clone; scripts/build-module.sh keeps two clones from taking each other's library.
export CARGO_TARGET_DIR ?= $(RGW_NATS_CACHE)/target
# Tells cargo, in a shared directory, this clone's build from another's.
export RGW_NATS_CLONE := $(CURDIR)
# Further arguments for pytest, such as ARGS="-k install".
ARGS ?=


.PHONY: help
help: ## what there is
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 16

.PHONY: setup
setup: ## installs what everything needs, the root file systems of all three releases included
	e2e/setup.sh 16.2 18.2 20.2 > /dev/null
	e2e/lua54.sh > /dev/null

.PHONY: build
build: ## the module, build/rgw_nats.so
	e2e/setup.sh > /dev/null
	scripts/build-module.sh build/rgw_nats.so
	python3 scripts/check_library.py build/rgw_nats.so

# The processors to make binary rocks for: host (this machine's) or all; without a word, those that all is installed for.
ARCH ?=
# Tests need the one of this machine, and nobody wants to wait for the other.
demo up spec e2e soak containers check-deploy: ARCH = host

.PHONY: rock
rock: ## dist/: source rock, binary rocks, manifests (ARCH=all: for x86_64 and aarch64)
	e2e/setup.sh > /dev/null
	scripts/make-rocks.sh dist $(ARCH)

.PHONY: aarch64
AARCH64_SPECS = 01-module 03-publish 13-auth 15-tls 19-dead_letters 26-jetstream aarch64/processor
aarch64: ARCH = all
aarch64: rock ## the library for aarch64, with a real nats-server, under qemu-user
	command -v qemu-aarch64 > /dev/null || apt-get install -y --no-install-recommends qemu-user > /dev/null
	scripts/run-specs.sh -p aarch64 $(addprefix spec/,$(addsuffix _spec.lua,$(AARCH64_SPECS)))

.PHONY: demo
demo: rock ## the main job on a real gateway (CEPH=16.2, 18.2 or 20.2; LUA=5.3 or 5.4)
	venv=$$(e2e/setup.sh $(CEPH))
	exec $$venv/bin/python e2e/demo.py --release $(CEPH) --lua $(LUA)

.PHONY: up
up: rock ## a gateway and a nats-server to try things on, until Ctrl-C (CEPH=… LUA=…)
	venv=$$(e2e/setup.sh $(CEPH))
	exec $$venv/bin/python e2e/up.py --release $(CEPH) --lua $(LUA)

.PHONY: lint
lint: ## formats, lints, layers, rockspecs, the tests of the guarantees
	venv=$$(e2e/setup.sh)
	cargo fmt --all --check
	cargo clippy --quiet --locked --all-targets -- -D warnings
	for lua in lua53 lua54; do cargo clippy --quiet --locked --all-targets -p host --features $$lua -- -D warnings; done
	luacheck --quiet $$(git ls-files '*.lua' '*.rockspec')
	$$venv/bin/ruff check --quiet .
	$$venv/bin/ruff format --quiet --check .
	$$venv/bin/python scripts/lint_layers.py
	$$venv/bin/python scripts/lint_delivery.py
	$$venv/bin/python scripts/events_table.py --check
	scripts/rockspec.sh --check

.PHONY: unit
unit: ## Rust's unit tests
	e2e/setup.sh > /dev/null
	cargo test --quiet --locked --lib

.PHONY: host
host: build ## the built library, loaded as radosgw loads it, by Lua 5.3 and 5.4
	for lua in 5.3 5.4; do
	  RGW_NATS_MODULE_DIR=$$PWD/build CARGO_PROFILE_RELEASE_LTO=off cargo test --quiet --locked --release -p host --features lua$${lua/./}
	done

.PHONY: spec
spec: rock ## busted on the installed rock, with real nats-servers
	# What Debian 12 has no nats-server for, those of 18.2 and 20.2 do.
	e2e/setup.sh 18.2 20.2 > /dev/null
	scripts/run-specs.sh

.PHONY: e2e
e2e: build rock ## end to end on one release and Lua (CEPH=… LUA=…)
	venv=$$(e2e/setup.sh $(CEPH))
	exec $$venv/bin/python -m pytest e2e --ignore=e2e/containers --release $(CEPH) --lua $(LUA) $(ARGS)

.PHONY: containers
# What the official images have, if nothing else is said.
containers: CEPH := $(if $(filter file,$(origin CEPH)),20.2,$(CEPH))
containers: LUA := $(if $(filter file,$(origin LUA)),5.4,$(LUA))
containers: build rock ## a gateway in a container, as cephadm and Rook run it (CEPH=20.2 LUA=5.4)
	venv=$$(e2e/setup.sh $(CEPH))
	exec $$venv/bin/python -m pytest e2e/containers --release $(CEPH) --lua $(LUA) $(ARGS)

.PHONY: soak
soak: build rock ## the faults in their long forms
	venv=$$(e2e/setup.sh $(CEPH))
	exec $$venv/bin/python -m pytest e2e/faults --soak --release $(CEPH) --lua $(LUA) $(ARGS)

.PHONY: e2e-all
e2e-all: ## end to end on each release and each Lua
	for one in $(GATEWAYS); do $(MAKE) --no-print-directory e2e CEPH=$${one%/*} LUA=$${one#*/}; done

.PHONY: check-deploy
check-deploy: build rock ## what deploy/ and the pages about it say: manifests, scripts, commands; without Ceph
	venv=$$(e2e/setup.sh 16.2 18.2 20.2)
	exec $$venv/bin/python -m pytest tests/deploy $(ARGS)

.PHONY: guard
guard: build ## the instructions of a request, against the bounds that bench/bounds.json records
	venv=$$(bench/setup.sh)
	exec $$venv/bin/python bench/guard.py $(ARGS)

.PHONY: test
test: lint unit host spec guard check-deploy e2e ## all tests, end to end on one release

# How long to fuzz, in seconds.
FUZZ_SECONDS ?= 600

.PHONY: fuzz
fuzz: ## any bytes as a configuration, FUZZ_SECONDS long (600)
	e2e/setup.sh > /dev/null
	[ -x $(RGW_NATS_CACHE)/tools/bin/cargo-fuzz ] || cargo install --quiet --locked --root $(RGW_NATS_CACHE)/tools cargo-fuzz
	mkdir -p fuzz/corpus/configuration
	# The sanitizers are the compiler's, though only a nightly one offers them.
	PATH=$$PATH:$(RGW_NATS_CACHE)/tools/bin RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$(RGW_NATS_CACHE)/fuzz-target \
	  cargo fuzz run configuration fuzz/corpus/configuration fuzz/seeds/configuration -- \
	  -max_total_time=$(FUZZ_SECONDS) -max_len=8192 -rss_limit_mb=4096

# The groups of benchmarks to run, such as BENCH="cost publish"; all if there are none.
BENCH ?=

.PHONY: bench
bench: build ## all benchmarks; writes target/bench/report.json (BENCH="cost publish" for some; CEPH=…)
	e2e/setup.sh $(CEPH) > /dev/null
	venv=$$(bench/setup.sh rabbitmq)
	exec $$venv/bin/python bench/run.py --release $(CEPH) $(ARGS) $(BENCH)

.PHONY: bench-plots
bench-plots: ## docs/bench/*.svg and the tables of docs/performance.md, from target/bench/report.json
	venv=$$(e2e/setup.sh)
	exec $$venv/bin/python bench/plot.py

.PHONY: clean
clean: ## what was built in this clone
	rm -rf build dist target
