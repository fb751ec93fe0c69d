PYTHON ?= python3

.PHONY: native test lint types clean
native:  ## build the C++ kernels in place
	cmake -S . -B build/native -DPython_EXECUTABLE="$$($(PYTHON) -c 'import sys; print(sys.executable)')"
	cmake --build build/native

test:
	$(PYTHON) -m pytest

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

types:
	$(PYTHON) -m mypy

clean:
	rm -rf build dist edgevid/kernels/_native*.so
