# make demo: install and run the demo.   make test: the tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
KERNELS ?= native
# Processes of the tests; four keep two cores busy, as many tests wait for streams and servers.
JOBS ?= 4
SEED ?= 1
SOURCES := pyproject.toml CMakeLists.txt $(shell find edgevid engines -type f \
	-not -name '*.so' -not -path '*/__pycache__/*' -not -path '*/build/*')

.PHONY: demo dev test coverage long neighbors bench docs lint types native sanitize stubs clean
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

test: dev  ## the installed package with its native kernels; KERNELS=numpy: the NumPy ones, JOBS=8: eight processes, SEED=N: another order
	EDGEVID_KERNELS=$(KERNELS) $(BIN)/pytest -rs -n $(JOBS) --dist worksteal --randomly-seed=$(SEED)

coverage: dev  ## the tests, with the share of lines of edgevid/ that they run; at least 90 %
	EDGEVID_KERNELS=$(KERNELS) $(BIN)/pytest -n $(JOBS) --dist worksteal --timeout 900 --cov --cov-report=term:skip-covered --cov-fail-under=90

LONG := field_fuzz,field_http,field_kill,field_rtsp,field_soak,sinks,fleet,mutants
long: dev  ## in full what the tests do at a few percent: fuzzing, kills, soaks, mutants; hours, into benchmarks/results; DATA=folder
	EDGEVID_TEST_LONG=1 $(BIN)/pytest tests/video/test_containers.py
	$(BIN)/python benchmarks/run_all.py $(DATA) --here --only $(LONG)

neighbors: dev  ## the wheel in new environments: alone, and next to ultralytics, supervision and trackers
	$(BIN)/pytest -rs -s --timeout 900 -m neighbors tests/test_neighbors.py

bench:  ## every benchmark with its peers, into benchmarks/results and the tables; DATA=folder, QUICK=--quick for 15 minutes
	$(PYTHON) benchmarks/run_all.py $(DATA) $(QUICK)

docs: dev  ## the site in build/site, its notebooks run, its links and anchors checked; needs no network but pip's
	$(BIN)/python -m pip install --quiet --requirement docs/requirements.txt
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

lint: dev  ## style, and what bandit finds of unsafe calls
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive edgevid engines/build.py

types: dev
	$(BIN)/mypy

native:  ## only the C++ kernels, in place, for working inside the clone (needs nanobind and cmake)
	cmake -S . -B build/native -DPython_EXECUTABLE="$$($(PYTHON) -c 'import sys; print(sys.executable)')"
	cmake --build build/native

SANITIZE ?= address,undefined
SANITIZED := build/sanitize
sanitize:  ## the kernels' tests with kernels under ASan and UBSan, PYTHON as for native; SANITIZE=thread: those of threads under TSan (gcc)
	rm -rf $(SANITIZED) && mkdir -p $(SANITIZED)
	cp -r CMakeLists.txt edgevid $(SANITIZED) && rm -f $(SANITIZED)/edgevid/kernels/_native*.so
	cmake -S $(SANITIZED) -B $(SANITIZED)/build -DPython_EXECUTABLE="$$($(PYTHON) -c 'import sys; print(sys.executable)')" \
	  -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS="-fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer -g"
	cmake --build $(SANITIZED)/build
	cd $(SANITIZED) && export ASAN_OPTIONS=detect_leaks=0 EDGEVID_KERNELS=native PYTHONPATH="$$PWD" PYTHONMALLOC=malloc && \
	LD_PRELOAD="$$(ldd edgevid/kernels/_native*.so | grep -o '/[^ ]*san[^ ]*' | tr '\n' ' ')" $(PYTHON) -m pytest -p no:cacheprovider \
	  $(CURDIR)/tests/$(if $(findstring thread,$(SANITIZE)),test_threads.py,kernels)

stubs: native  ## the types of the C++ kernels, after their signatures changed
	$(PYTHON) -m nanobind.stubgen -q -m edgevid.kernels._native -o edgevid/kernels/_native.pyi

clean:
	rm -rf build dist $(VENV) edgevid/kernels/_native*.so
