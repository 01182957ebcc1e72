# The entry point for all tasks. `make` alone prints this list.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
UV := $(BIN)/uv
LOCKS := bootstrap base dev

.PHONY: help
help: ## print this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-17s %s\n", $$1, $$2}'

# --- environment ---------------------------------------------------------------------------------

.PHONY: env
env: .venv/.ready ## create .venv with the pinned requirements and both packages, if they have changed

.venv/.ready: $(LOCKS:%=requirements/%.txt)
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes --no-deps -r requirements/bootstrap.txt
# uv does not read pip's configuration. If an index is set only there, pip installs the same pins, slower.
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes --no-deps -r requirements/dev.txt \
	  || $(BIN)/pip install --quiet --require-hashes --no-deps -r requirements/dev.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e . -e sdk/python
	$(BIN)/pip check
	@touch $@

.PHONY: lock
lock: env ## resolve requirements/*.in into the hash-pinned requirements/*.txt (keeps versions that still fit)
	cd requirements && for name in $(LOCKS); do ../$(UV) pip compile --quiet --python-version 3.11 --generate-hashes \
	  --no-annotate --no-header --no-emit-index-url --no-emit-find-links $$name.in -o $$name.txt || exit 1; done

.PHONY: wire
wire: env ## regenerate tidings/wire from proto/
	$(BIN)/python scripts/generate_wire.py

.PHONY: monitoring
monitoring: env ## write the dashboards, and the rules for the Prometheus Operator, from their sources
	$(BIN)/python -m deploy.monitoring

# --- the local stack -----------------------------------------------------------------------------
# `python -m deploy.local --help` lists the settings; make passes them on (make up GATEWAYS=2 GATEWAY_PORT=8090).

STACK_SETTINGS := GATEWAYS PERSISTERS FANOUTS RECEIPTS ECHOES MONITORING RUN_DIR PORT_BASE KAFKA_PORT \
  KAFKA_CONTROLLER_PORT CASSANDRA_PORT CASSANDRA_STORAGE_PORT GATEWAY_PORT GATEWAY_ADMIN_PORT PERSISTER_ADMIN_PORT \
  FANOUT_ADMIN_PORT RECEIPTS_ADMIN_PORT PROMETHEUS_PORT
export $(STACK_SETTINGS)

.PHONY: run
run: env ## run the stack in the foreground until Ctrl-C (EMBEDDED=1: one process, all data in memory)
	@$(BIN)/python -m deploy.local run $(if $(EMBEDDED),--embedded)

.PHONY: up
up: env ## start the stack in the background, or the processes that are not running (GATEWAYS=2 MONITORING=1 …)
	@$(BIN)/python -m deploy.local up

.PHONY: down
down: env ## stop the processes of `make up`; data is kept
	@$(BIN)/python -m deploy.local down

.PHONY: status
status: env ## print name, pid, ports and health of every process
	@$(BIN)/python -m deploy.local status

# --- checks --------------------------------------------------------------------------------------

CHECKS := check-style check-spelling check-types check-imports check-wire check-deployment check-monitoring

.PHONY: check
check: env ## format, lint, spelling, types, import contracts, wire, manifests, Dockerfile, alerts, dashboards
	@$(MAKE) --no-print-directory -k -j2 -Otarget $(CHECKS)

.PHONY: $(CHECKS)
check-style:
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .

check-spelling:
	$(BIN)/codespell

check-types:
	$(BIN)/mypy .

check-imports:
	$(BIN)/lint-imports --no-logo

# Compares proto/ with the last commit. If proto/ is unchanged since, compares that commit with the one before.
check-wire:
	$(BIN)/python scripts/generate_wire.py --check
	cd proto && ../$(BIN)/buf lint
	@base=$$(git diff --quiet HEAD -- proto && echo HEAD~1 || echo HEAD); before=$$(mktemp -d); \
	trap 'rm -rf "$$before"' EXIT; \
	if git archive "$$base" proto 2>/dev/null | tar -x -C "$$before" 2>/dev/null; \
	then echo "buf breaking --against $$base"; cd proto && ../$(BIN)/buf breaking --against "$$before/proto"; \
	else echo "buf breaking skipped: no proto/ in $$base"; fi

check-deployment:
	$(if $(wildcard deploy/k8s/check.py),$(BIN)/python -m deploy.k8s.check)
	$(if $(wildcard Dockerfile),$(BIN)/hadolint Dockerfile)

check-monitoring:
	$(BIN)/python -m deploy.monitoring.check

# --- tests ---------------------------------------------------------------------------------------

PYTEST := $(BIN)/pytest
TIERS := unit simulation contract integration e2e

.PHONY: jars
jars: env
	@$(BIN)/python -m deploy.local jars

.PHONY: test
test: jars ## run all tiers; starts the real servers on free ports and stops them
	@$(MAKE) --no-print-directory -k -j2 $(RUNS)

# At the same time, because the tiers with servers wait for most of their time.
RUNS := run-alone run-with-servers
.PHONY: $(RUNS)
# Printed at its end, because the other run prints meanwhile.
run-alone: env
	@mkdir -p .run; $(PYTEST) tests/unit tests/simulation >.run/run-alone.log 2>&1; code=$$?; cat .run/run-alone.log; exit $$code

run-with-servers: jars
	$(PYTEST) tests/contract tests/integration tests/e2e

.PHONY: $(TIERS:%=test-%)
test-unit: env ## pure cores and shells on fakes; needs nothing
	$(PYTEST) tests/unit

test-simulation: env ## seeded runs and scenarios of the product in virtual time; needs nothing
	$(PYTEST) tests/simulation

.PHONY: simulate
simulate: env ## the runs with other seeds (make simulate SEEDS=500-5000; a single number runs that one)
	SIMULATION_SEEDS=$(or $(SEEDS),0-499) $(PYTEST) -q --tb=short tests/simulation/test_simulation.py

test-contract: jars ## one suite for the memory adapters and the real ones
	$(PYTEST) tests/contract

test-integration: jars ## services and the local stack on real servers
	$(PYTEST) tests/integration

test-e2e: jars ## the whole stack, with kills, pauses and outages
	$(PYTEST) tests/e2e

.PHONY: planted
planted: env ## break one law at a time and check that its test fails (some minutes)
	$(BIN)/python -m scripts.planted

.PHONY: bench
bench: jars ## latency, highest rate and memory, with the bare limits of the same run (benchmarks/README.md)
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.groups
	$(BIN)/python -m benchmarks.media
	$(BIN)/python -m benchmarks.archive
	$(BIN)/python -m benchmarks.push_profile
