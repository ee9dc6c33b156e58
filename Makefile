# The tasks of the project; `make help` lists them. Needs Python >= 3.11 and make.

PYTHON ?= python3
VENV   ?= .venv
EXTRAS ?=
# The URL of the store for screenshots; simulated nights by default.
STORE      ?=
# Names of figures for `make bench`; all of them by default.
FIGURES    ?=
# The base revision of a gate, and the repository whose kernels it compares.
BASE       ?= HEAD~1
REPOSITORY ?= .
# The file that a gate writes its comment on the change to; none by default.
COMMENT    ?=
# Names of the comments that the gates' jobs should have written.
EXPECT     ?=
BIN    := $(VENV)/bin
# Every install passes the constraints: a bare torch would fetch gigabytes on a machine without a GPU.
# Byte-compiling all packages would take a minute; modules are compiled when they are imported.
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
# At most four processes: more would need too much memory.
PYTEST := $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist worksteal

AS_COMMENT = $(if $(COMMENT),--comment "$(COMMENT)")
comma := ,
# One stamp per set of extras, so that another set is installed when requested.
STAMP := $(VENV)/.installed$(if $(EXTRAS),-$(subst $(comma),-,$(EXTRAS)))

.PHONY: help setup setup-dev nightly judge gate gate-static comment test test-slow check static format dashboard gpu-check first-light bench screenshots gallery clean docs
.PHONY: spell test-docs coverage dist release-check lint-container
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

nightly: setup  ## measure this machine, judge, and print what to open
	@$(BIN)/kswatch nightly

judge: setup  ## the newest night's verdicts as CI annotations; fails on a confirmed regression
	@$(BIN)/kswatch check --format github

gate: setup  ## compare this commit's kernels with those of BASE, interleaved on this machine
	@$(BIN)/kswatch gate --repository $(REPOSITORY) --base $(BASE) --format github $(AS_COMMENT)

gate-static:  ## compare registers, spills and instructions of the machine code, without a GPU
	@$(MAKE) --no-print-directory setup EXTRAS=static
	@$(BIN)/kswatch gate --static --repository $(REPOSITORY) --base $(BASE) --format github $(AS_COMMENT)

comment: setup  ## in a CI job of a change: write the gates' comments below comments/ to it as one
	@$(BIN)/kswatch comment comments $(foreach name,$(EXPECT),--expect "$(name)")

dashboard: setup  ## the dashboard, on http://127.0.0.1:8501
	@$(BIN)/kswatch dashboard

test:  ## every test but the slow and the GPU ones
	@$(MAKE) --no-print-directory -j2 prepared
	@$(PYTEST) -m "not slow and not gpu"

# Two at a time: Chromium and the packages, then test collection and the type check.
prepared: static browser read

chromium:
	@tests/dashboard/get-chromium.sh

browser: setup-dev chromium
	@tests/dashboard/get-chromium.sh $(BIN)/python

# Builds the CPU twin and byte-compiles the imported modules once, not in each test process.
read: setup-dev
	@$(BIN)/python -m pytest --collect-only -q >/dev/null 2>&1 || true  # errors show in the tests

test-slow: browser read  ## the tests that take too long for every change
	@$(PYTEST) -m "slow and not gpu" --durations 20

check: static spell  ## format, lint, types, import rules, words, spelling
	@$(BIN)/python -m pytest -q tests/test_arrows.py tests/test_words.py

static: setup-dev
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary

spell: setup-dev  ## spelling, in code and documents
	@$(BIN)/codespell .

format: setup-dev  ## format and fix what can be fixed
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

gpu-check:  ## on a GPU machine: correctness, vit_s16, repeatability, a nightly run; exported
	@$(MAKE) --no-print-directory setup-dev EXTRAS=gpu
	@$(BIN)/kswatch doctor
	@$(BIN)/python -m pytest -m gpu
	@$(BIN)/kswatch profile smoke --device cuda
	@$(BIN)/kswatch profile vit_s16 --device cuda
	@$(BIN)/kswatch export --device cuda --format jsonl db/recorded/vit_s16.jsonl
	@$(BIN)/python -m tests.benchmarks.measurement_trust --into db/recorded

first-light:  ## first measurements on a GPU machine without a network, in stages with time limits
	@$(PYTHON) -m tests.benchmarks.first_light

bench: setup-dev  ## the figures that README and CHANGELOG quote, or those named in FIGURES
	@$(BIN)/python -m tests.benchmarks.bench $(FIGURES)

screenshots: browser  ## screenshots of every page into screenshots/, from the store STORE or simulated nights
	@$(BIN)/python -m tests.dashboard.screenshots screenshots $(STORE)

gallery: setup-dev  ## a static page of series that people labelled, with our levels and alerts, into gallery/
	@test -n "$$KSWATCH_REFERENCE" || { echo "set KSWATCH_REFERENCE to the folder of published data" >&2; exit 2; }
	@$(BIN)/python -m tests.benchmarks.simulation.gallery "$$KSWATCH_REFERENCE/changepoint/sap_human_dev" gallery

docs:  ## the documentation as a site, into site/, with the gallery where it was made
	@$(MAKE) --no-print-directory setup EXTRAS=docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "site/index.html; with search: python3 -m http.server --bind 127.0.0.1 --directory site"

test-docs:  ## every code block, command and link of the documents
	@$(MAKE) --no-print-directory setup-dev EXTRAS=docs
	@$(BIN)/python -m pytest -q tests/docs

coverage: prepared  ## the fast tests with their coverage, as a table and as coverage.xml
	@$(PYTEST) -m "not slow and not gpu" --cov --cov-report term:skip-covered --cov-report xml

dist: setup-dev  ## wheel and sdist, into dist/
	@rm -rf dist && mkdir -p build
	@$(BIN)/python -m build --no-isolation --outdir dist . >build/dist.log 2>&1 || { cat build/dist.log >&2; exit 1; }
	@ls dist

release-check: dist  ## wheel and sdist, each installed into a new environment, with a night from each
	@$(BIN)/python -m tests.release.release_check dist

lint-container: setup-dev  ## Containerfile by hadolint, compose.yaml by its schema
	@$(BIN)/hadolint Containerfile
	@$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml

clean:  ## remove the virtual environment and caches of the tools
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis site dist
