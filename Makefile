# `make demo` and `make test` are all the set-up there is: the virtual environment is made once and then reused.
PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
OUT ?= out/demo
WORKERS ?= 2
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
METADATA := setup.cfg setup.py pyproject.toml $(CONSTRAINTS)

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-slow lint format api clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or newer is needed, $(PYTHON) is {sys.version.split()[0]}: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(METADATA) | $(BIN)/python
	$(PIP) -c $(CONSTRAINTS) -e .
	@touch $@

$(VENV)/.installed-dev: $(METADATA) | $(BIN)/python
	$(PIP) -c $(CONSTRAINTS) -e '.[dev]'
	@touch $(VENV)/.installed $@

venv: $(VENV)/.installed ## Make the virtual environment (.venv) and install the package

demo: venv ## Turn a synthetic patient COVID-positive and chart the CNN: film, curve and frames in out/demo
	$(BIN)/python interpolate.py --sample 1 --seed 6 --out $(OUT)

test: $(VENV)/.installed-dev ## Run the tests (minutes, offline, CPU)
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile

test-slow: $(VENV)/.installed-dev ## Run the slow tests too (trained weights; real images where they are)
	$(BIN)/python -m pytest -q -m "slow or not slow"

lint: $(VENV)/.installed-dev ## Check style and types (ruff, mypy)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev ## Format the code (ruff)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

api: $(VENV)/.installed-dev ## Write docs/api.md anew, from signatures and docstrings
	$(BIN)/python docs/make_api.py

clean: ## Remove caches; the venv and outputs stay
	rm -rf build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find gan_explain tests -name __pycache__ -type d -prune -exec rm -rf {} +
