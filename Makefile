# make demo: set up and show the main job.   make test: the tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo setup test lint types native clean
demo: setup  ## a virtual environment, the native kernels, and the overlay demo
	$(BIN)/edgevid-demo --out edgevid-demo
	@echo "Watch it live in a browser: $(BIN)/edgevid-demo"

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml CMakeLists.txt $(shell find edgevid engines -type f -not -name '*.so' -not -path '*/__pycache__/*' -not -path '*/build/*')
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet '.[dev]'
	touch $@

test: setup  ## the installed package, with the native kernels demanded
	EDGEVID_KERNELS=native $(BIN)/pytest -rs

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

native:  ## only the C++ kernels, in place, for working inside the clone (needs nanobind and cmake)
	cmake -S . -B build/native -DPython_EXECUTABLE="$$($(PYTHON) -c 'import sys; print(sys.executable)')"
	cmake --build build/native

clean:
	rm -rf build dist $(VENV) edgevid/kernels/_native*.so
