# One command for each thing that people do; `make help` lists them. Needs Python >= 3.11 and make.

PYTHON ?= python3
VENV   ?= .venv
EXTRAS ?=
# The URL of a store to take pictures of; simulated nights without one.
STORE      ?=
# What a gate compares with, and whose kernels/.
BASE       ?= HEAD~1
REPOSITORY ?= .
BIN    := $(VENV)/bin
# Every install passes the constraints: a bare torch would fetch gigabytes on a machine without a GPU.
# What is imported is compiled then: to compile all that lies in the packages takes a minute.
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
# Tests share the cores; more than four processes would rather need memory.
PYTEST := $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist worksteal

comma := ,
# One stamp for each set of extras, so that asking for another set installs it.
STAMP := $(VENV)/.installed$(if $(EXTRAS),-$(subst $(comma),-,$(EXTRAS)))

.PHONY: help setup setup-dev nightly judge gate gate-static test test-slow check static format dashboard gpu-check first-light bench screenshots clean
.PHONY: chromium browser read prepared

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## a virtual environment with kswatch in it

setup-dev: $(STAMP)-dev  ## the same with the test tools

$(STAMP): pyproject.toml constraints.txt
	@echo "setting up $(VENV) (a few minutes the first time)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) -e ".$(if $(EXTRAS),[$(EXTRAS)])"
	@touch $@

$(STAMP)-dev: pyproject.toml constraints.txt
	@echo "setting up $(VENV) with the test tools (some minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) -e ".[dev,static$(if $(EXTRAS),$(comma)$(EXTRAS))]"
	@touch $(STAMP) $@

nightly: setup  ## measure on this machine, judge, and say what to open
	@$(BIN)/kswatch nightly

judge: setup  ## the newest night's verdicts as CI annotations; fails on a confirmed regression
	@$(BIN)/kswatch check --format github

gate: setup  ## this commit's kernels against those of BASE, measured in turns on this machine
	@$(BIN)/kswatch gate --repository $(REPOSITORY) --base $(BASE) --format github

gate-static:  ## the same without a GPU: registers, spills and instructions of the machine code
	@$(MAKE) --no-print-directory setup EXTRAS=static
	@$(BIN)/kswatch gate --static --repository $(REPOSITORY) --base $(BASE) --format github

dashboard: setup  ## the dashboard, on http://127.0.0.1:8501
	@$(BIN)/kswatch dashboard

test:  ## every test but the slow and the GPU ones
	@$(MAKE) --no-print-directory -j2 prepared
	@$(PYTEST) -m "not slow and not gpu"

# In two at a time: Debian's Chromium comes beside the packages, the tests are read beside the types.
prepared: static browser read

chromium:
	@tests/dashboard/get-chromium.sh

browser: setup-dev chromium
	@tests/dashboard/get-chromium.sh $(BIN)/python

# Which builds the CPU twin, and has Python compile what they import: once, not in each process that tests.
read: setup-dev
	@$(BIN)/python -m pytest --collect-only -q >/dev/null 2>&1 || true  # what it says, the tests say too

test-slow: browser  ## the tests that take too long for every change
	@$(BIN)/python -m pytest -m "slow and not gpu"

check: static  ## format, lint, types, arrows
	@$(BIN)/python -m pytest -q tests/test_arrows.py

static: setup-dev
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary

format: setup-dev  ## format and fix what can be fixed
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

gpu-check:  ## on a GPU machine: correctness, vit_s16, how far its numbers can be trusted, a nightly; exported
	@$(MAKE) --no-print-directory setup-dev EXTRAS=gpu
	@$(BIN)/kswatch doctor
	@$(BIN)/python -m pytest -m gpu
	@$(BIN)/kswatch profile smoke --device cuda
	@$(BIN)/kswatch profile vit_s16 --device cuda
	@$(BIN)/kswatch export --device cuda --format jsonl db/recorded/vit_s16.jsonl
	@$(BIN)/python tests/benchmarks/measurement_trust.py --into db/recorded

first-light:  ## on a GPU machine without a network: every stage in turn, with limits, told as it goes
	@$(PYTHON) tests/benchmarks/first_light.py

bench: setup-dev  ## the figures that README and CHANGELOG quote
	@$(BIN)/python tests/benchmarks/bench.py

screenshots: browser  ## pictures of every page into screenshots/, of the store STORE or of simulated nights
	@$(BIN)/python tests/benchmarks/screenshots.py screenshots $(STORE)

clean:  ## remove the virtual environment and caches of the tools
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
