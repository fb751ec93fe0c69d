# make demo: install and run the demo.   make test: the tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
KERNELS ?= native
JOBS ?= 2
SOURCES := pyproject.toml CMakeLists.txt $(shell find edgevid engines -type f \
	-not -name '*.so' -not -path '*/__pycache__/*' -not -path '*/build/*')

.PHONY: demo dev test neighbors bench lint types native stubs clean
demo: $(VENV)/.installed  ## the package with its viewer, and the overlay demo
	$(BIN)/edgevid-demo --out edgevid-demo --force
	@echo "Watch it live in a browser: $(BIN)/edgevid-demo"

$(VENV)/.installed: $(SOURCES)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install '.[viewer,opencv]'
	@$(BIN)/python -I -c "from edgevid.kernels import BACKEND; print('kernels:', BACKEND, \
	  '' if BACKEND == 'native' else '(no C++ compiler was found: install one, then run make clean demo)')"
	touch $@

dev: $(VENV)/.dev  ## the package and the tools that test, lint and types use; compiles the kernels or fails

$(VENV)/.dev: $(SOURCES)
	$(PYTHON) -m venv $(VENV)
	EDGEVID_KERNELS=$(KERNELS) $(BIN)/python -m pip install '.[dev]'
	touch $(VENV)/.installed $@

test: dev  ## the installed package with its native kernels; KERNELS=numpy tests the NumPy ones, JOBS=8 in eight processes
	EDGEVID_KERNELS=$(KERNELS) $(BIN)/pytest -rs -n $(JOBS)

neighbors: dev  ## the wheel in new environments: alone, and next to ultralytics, supervision and trackers
	$(BIN)/pytest -rs -s --timeout 900 -m neighbors tests/test_neighbors.py

bench:  ## every benchmark with its peers, into benchmarks/results and the tables; DATA=folder, QUICK=--quick for 15 minutes
	$(PYTHON) benchmarks/run_all.py $(DATA) $(QUICK)

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: dev
	$(BIN)/mypy

native:  ## only the C++ kernels, in place, for working inside the clone (needs nanobind and cmake)
	cmake -S . -B build/native -DPython_EXECUTABLE="$$($(PYTHON) -c 'import sys; print(sys.executable)')"
	cmake --build build/native

stubs: native  ## the types of the C++ kernels, after their signatures changed
	$(PYTHON) -m nanobind.stubgen -q -m edgevid.kernels._native -o edgevid/kernels/_native.pyi

clean:
	rm -rf build dist $(VENV) edgevid/kernels/_native*.so
