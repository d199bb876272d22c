# make test | lint | demo | dist-check.   PYTHON chooses the interpreter, PIP_ARGS goes to pip, for example
# PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu" for a torch without CUDA.
PYTHON ?= python3
PIP_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
TORCH := torch==2.13.0
FOLDERS := runtime training export benchmarks

.PHONY: all test lint demo dist-check clean
all: lint test

# The stamp lies in the environment: a new one installs everything, a changed csrc/ only rebuilds the extension.
$(VENV)/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(PIP_ARGS) $(TORCH) "setuptools>=77" wheel "pybind11>=2.13"
	$(BIN)/python -m pip install $(PIP_ARGS) --no-build-isolation -e ".[train,bench,dev]"
	touch $@

$(VENV)/extension: $(VENV)/installed setup.py $(wildcard csrc/*)
	$(BIN)/python setup.py -q build_ext --inplace
	touch $@

test: $(VENV)/extension
	$(BIN)/python -m pytest -q

# mypy must see runtime/ as basic.runtime: links under build/mypy/basic say so.
build/mypy/basic: Makefile
	mkdir -p $@
	for folder in $(FOLDERS) __init__.py; do ln -sfn ../../../$$folder $@/$$folder; done
	touch $@

lint: $(VENV)/installed build/mypy/basic
	$(BIN)/ruff check .
	$(BIN)/mypy
	BASIC_WERROR=1 $(BIN)/python setup.py -q build_ext --force --build-temp build/lint --build-lib build/lint
	for target in tests/fuzz/*.cpp; do $(CXX) -std=c++17 -Wall -Wextra -Werror -fsyntax-only $$target || exit 1; done

demo: $(VENV)/extension
	$(BIN)/python examples/demo.py

# sdist -> wheel -> an empty environment: the wheel must hold the extension, the data and every command.
dist-check: $(VENV)/extension
	rm -rf build/dist
	$(BIN)/python setup.py -q sdist --dist-dir build/dist
	$(BIN)/python -m pip wheel -q --no-deps --no-build-isolation --wheel-dir build/dist build/dist/*.tar.gz
	$(BIN)/python .ci/check_wheel.py build/dist/*.whl

clean:
	rm -rf build dist *.egg-info runtime/_ans*.so $(VENV)/extension
