# make search   set everything up, then search the constants of the embedded example
# make test     set everything up, then run the tests
# make check    format, lint, types, layers, tests
# make docs     the documentation as pages in site/

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready
SEARCH_READY = $(VENV)/.ready-search
INSTALL = $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable

.PHONY: search test check docs format clean

search: $(SEARCH_READY)
	$(BIN)/phiscale search --study demo --trials 30 --workers 2

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadgroup

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) test

docs: $(READY)
	$(BIN)/zensical build --strict

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(SEARCH_READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) '.[search,cpu,dashboard]'
	touch $@

$(READY): $(SEARCH_READY)
	$(INSTALL) '.[search,cpu,cluster,dashboard,interop,docs,dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist site
