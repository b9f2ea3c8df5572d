# Two commands for a fresh machine with Python >= 3.11 and make:
#   make report   set up, train a small model, attack and certify it, write one HTML page
#   make test     set up, run the tests
# Both are safe to repeat. `make help` lists the rest.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
OUT    ?= calipers-runs
.DEFAULT_GOAL := help
# Programs are started hundreds of times here: what they import is compiled once, whatever the shell says.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help report test arithmetic lint format soundness full wheel-test browser benchmark clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) is not here; install Python >= 3.11, or name one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"error: {sys.executable} is Python {v.major}.{v.minor}, calipers needs >= 3.11; name a newer one: make PYTHON=python3.12 ...")'
	@echo "== making the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { echo "error: Python's venv module is missing; on Debian: apt-get install python3-venv"; exit 1; }

$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	@echo "== installing calipers and what it needs (a minute or more the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(BIN)/python pyproject.toml constraints.txt
	@echo "== installing calipers, what it needs and what the tests need (minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[dev]'
	@touch $(VENV)/.installed $@

report: $(VENV)/.installed ## the main job on an embedded default: one HTML page, its path is the last line
	@echo "== training, attacking and certifying a small CNN on scikit-learn's digits"
	@$(BIN)/calipers demo --out $(OUT)

test: $(VENV)/.installed-dev ## the tests
	@echo "== running the tests"
	@$(BIN)/python -m pytest -n 2 --dist loadgroup -m 'not full and not packaging'

arithmetic: $(VENV)/.installed-dev ## some of the tests as on a processor without vector instructions, whose sums end in other last bits
	@ATEN_CPU_CAPABILITY=default $(BIN)/python -m pytest -n 2 -m 'not full and not packaging' tests/soundness tests/bounds/relaxations tests/attacks/test_lbfgs.py tests/attacks/test_pgd.py tests/attacks/test_fmn.py

soundness: $(VENV)/.installed-dev ## the full soundness battery: all proofs against exact arithmetic, sums in any order, and planted counterexamples
	@$(BIN)/python -m pytest -n 2 -m 'not packaging' --hypothesis-profile=thorough tests/soundness

full: $(VENV)/.installed-dev ## all tests, and the long form of every battery: hours
	@$(BIN)/python -m pytest -n 2 --dist loadgroup -m 'not packaging' --hypothesis-profile=thorough

wheel-test: $(VENV)/.installed-dev ## build the wheel, install it into a new environment, run the main job there
	@$(BIN)/python -m pytest -m packaging tests/packaging

lint: $(VENV)/.installed-dev ## linter, format, types, import arrows
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.installed-dev ## mend what the linter can mend
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean: ## remove the virtual environment and everything built
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
