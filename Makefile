# Two commands from a fresh clone: `make demo` and `make test`.
# They need Python >= 3.10, make and a package index, and make their own environment.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST ?= $(BIN)/python -m pytest
# Two processes share the tests; each backend is a run of its own.
PYTEST_ARGS ?= --quiet --numprocesses 2 --dist worksteal

.PHONY: help demo test test-tensorflow test-jax test-torch test-examples test-slow lint docs clean

help:
	@echo "make demo   train, save, resume and compare on real images (build/demo)"
	@echo "make test   run the tests on TensorFlow and JAX"
	@echo "make lint   ruff and mypy"
	@echo "make docs   build the site (site/)"
	@echo "make clean  remove what the others made"

# A stamp a set of extras, so that nothing is installed twice.
$(VENV)/made:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@touch $@

$(VENV)/%-installed: $(VENV)/made setup.cfg
	$(BIN)/python -m pip install --quiet --editable ".[$*]"
	@touch $@

demo: $(VENV)/examples-installed
	$(BIN)/python examples/digits_classifier.py

test: test-tensorflow test-jax

test-tensorflow test-jax test-torch: test-%: $(VENV)/examples-installed $(VENV)/data-installed $(VENV)/jax-installed $(VENV)/test-installed
	KERAS_BACKEND=$* $(PYTEST) $(PYTEST_ARGS)

# Every example on a small setting.
test-examples: MARKED := examples
# What takes long; "few" is contained in the other cases of its tests.
test-slow: MARKED := slow and not examples
test-examples test-slow: $(VENV)/examples-installed $(VENV)/data-installed $(VENV)/jax-installed $(VENV)/test-installed
	KERAS_BACKEND=tensorflow $(PYTEST) $(PYTEST_ARGS) -m "$(MARKED)" -k "not few"

lint: $(VENV)/dev-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/jax-installed $(VENV)/docs-installed
	KERAS_BACKEND=jax $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) build dist site
