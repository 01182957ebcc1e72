# One entry for everything; `make` alone prints this list.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
UV := $(BIN)/uv
LOCKS := bootstrap base dev

export GATEWAYS PERSISTERS FANOUTS RECEIPTS

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-17s %s\n", $$1, $$2}'

# --- environment ---------------------------------------------------------------------------------

.PHONY: env
env: .venv/.ready ## .venv with the pinned requirements and both packages, made anew only when they change

.venv/.ready: $(LOCKS:%=requirements/%.txt)
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes --no-deps -r requirements/bootstrap.txt
# uv does not read pip's configuration; where an index is set only there, pip installs the same pins, slower.
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes --no-deps -r requirements/dev.txt \
	  || $(BIN)/pip install --quiet --require-hashes --no-deps -r requirements/dev.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e . -e sdk/python
	$(BIN)/pip check
	@touch $@

.PHONY: lock
lock: env ## resolve requirements/*.in into the hash-pinned requirements/*.txt (keeps what still fits)
	cd requirements && for name in $(LOCKS); do ../$(UV) pip compile --quiet --python-version 3.11 --generate-hashes \
	  --no-annotate --no-header --no-emit-index-url --no-emit-find-links $$name.in -o $$name.txt || exit 1; done

.PHONY: wire
wire: env ## regenerate tidings/wire from proto/
	$(BIN)/python scripts/generate_wire.py
