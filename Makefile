# Everything here sets up what it needs first. `make` alone explains.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.NOTPARALLEL:
# The tests start hundreds of processes: without it each would compile all that it imports anew.
unexport PYTHONDONTWRITEBYTECODE

PYTHON := .venv/bin/python
# What must cover every branch of core/, and a test to run alone: make test ARGS=tests/core/test_budget.py
COVERAGE_TESTS ?= tests/core
ARGS ?=
SEEDS ?= 1000000

.PHONY: help
help: ## Show this
	@printf 'Sinkwell: put records one at a time, have them sent in the largest, fewest and safest batches.\n\n'
	@printf '  New here?          make demo     real flights into PostgreSQL and SQS, with failures on purpose\n'
	@printf '  Changing things?   make test     after each change; one file: make test ARGS=tests/core/test_budget.py\n'
	@printf '  Before you push?   make check    all that CI runs\n\n'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Make .venv with the pinned requirements (the other targets do this by themselves)
	@scripts/setup

.PHONY: servers
servers: ## Get the servers that the tests start: Debian's packages (as root), jars, LocalStack
	@scripts/setup servers

.PHONY: demo
demo: ## Deliver 336,776 real flights through a server that throttles and fails, and count them
	@scripts/setup demo
	@$(PYTHON) -m examples.demo

.PHONY: test
test: servers ## Run all tests, or those that ARGS names
	@$(PYTHON) -m pytest $(ARGS)

.PHONY: check
check: servers lint types planted coverage examples ## All that CI runs: lint, types, planted bugs, coverage, every example and test
	@$(PYTHON) -m pytest --ignore=tests/examples

.PHONY: lint
lint: setup ## Check style and formatting
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .

.PHONY: format
format: setup ## Mend what can be mended by itself
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

.PHONY: types
types: setup ## Check types: mypy strict and pyright strict, over all that is installed and tests/typing
	@.venv/bin/mypy
	@.venv/bin/mypy tests/typing
	@.venv/bin/pyright

.PHONY: coverage
coverage: setup ## Run the core's tests; every branch of core/ must be taken
	@$(PYTHON) -m pytest $(COVERAGE_TESTS) -q --cov --cov-report=term-missing:skip-covered

.PHONY: planted
planted: setup ## Plant bugs in the core, one at a time: the simulator must catch each
	@$(PYTHON) -m tests.sim --planted

.PHONY: packaging
packaging: setup ## Build sdist and wheel, install the wheel in an empty environment, look at what landed
	@$(PYTHON) -m pytest tests/packaging

.PHONY: sim-long
sim-long: setup ## Run the simulator over a million seeds (SEEDS=...)
	@$(PYTHON) -m tests.sim --seeds $(SEEDS)

.PHONY: bench
bench: servers ## Measure speed beside its peers; tables and plots land in benchmarks/results/
	@for name in core latency postgres functions kafka rabbitmq aws; do $(PYTHON) benchmarks/$$name.py; done

.PHONY: examples
examples: servers ## Run every example's short version, against real servers, and check its answers
	@$(PYTHON) -m pytest tests/examples

.PHONY: requirements
requirements: setup ## Renew the pinned requirements (UPGRADE=--upgrade for newer versions)
	@scripts/pin $(UPGRADE)

.PHONY: clean
clean: ## Remove .venv and all that was built or cached
	@rm -rf .venv .cache dist build .coverage .coverage.* coverage.xml .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
