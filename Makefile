# One command each; `make` alone runs Penstock. Everything lives in .venv and .penstock.
PYTHON ?= python3
BIN := .venv/bin
DATA ?= .penstock
PORT ?= 8000
SECONDS ?= 600
# Processes that share the tests. Each has a stack of its own, about two gigabytes with all that it starts.
JOBS ?= 2

.PHONY: run setup test lint bench chaos lock clean

run: setup ## the whole platform on this machine, one job to show it, Ctrl-C to stop
	@$(BIN)/penstock up --data-dir $(DATA) --port $(PORT) --demo

setup: ## the virtual environment; does nothing when it is there and matches the lock
	@PYTHON=$(PYTHON) sh infra/install.sh

test: lint ## lint, then every test on real services: in JOBS processes, then what kills, in one
	@failed=0; \
	$(BIN)/pytest -m "not fault" -n $(JOBS) --no-loadscope-reorder || failed=1; \
	$(BIN)/pytest -m fault || failed=1; \
	exit $$failed

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy .
	@$(BIN)/lint-imports

bench: setup ## the figures of docs/performance.md, measured here
	@$(BIN)/python -m bench

chaos: setup ## the random chaos of the tests, for SECONDS
	@PENSTOCK_CHAOS_SECONDS=$(SECONDS) $(BIN)/pytest -s tests/faults/test_chaos.py --timeout=0

lock: ## resolve requirements/*.txt anew from pyproject.toml
	@PYTHON=$(PYTHON) sh infra/lock.sh

clean: ## the environment and caches; never the data
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
