# `make demo` and `make test` are all a newcomer needs; each sets itself up in .venv from nothing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO ?= demo

.PHONY: help demo test test-all check format docs clean install tools

help:
	@echo "make demo      whole way on bundled and synthetic DICOM: shards, query, pre-training, reconstructions"
	@echo "make test      the quick tests (under 10 minutes on 2 cores)"
	@echo "make test-all  all tests: kills, fuzz, compilation, ranks (under an hour)"
	@echo "make check     format, lint and types"
	@echo "make docs      docs/commands.md anew, from the help of the commands"
	@echo "make tools     Chromium, FUSE (Debian, as root), timm and litdata, for tests and benchmarks that are skipped without them"
	@echo "make clean     remove what the other targets made"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "radio needs Python 3.11 or newer; found $$($(PYTHON) --version). Set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=24"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,dali,dask,s3,train,text,oracle,umap]'
	@touch $@

demo: $(STAMP)
	$(BIN)/python bench/demo.py --out $(DEMO)

test: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow and not gpu"

test-all: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not gpu"

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(STAMP)
	$(BIN)/python -m radio_cli.reference > docs/commands.md.new && mv docs/commands.md.new docs/commands.md

tools: $(STAMP)
	sh tests/browser/install_chromium.sh
	apt-get install -y -qq --no-install-recommends fuse3
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt timm litdata

clean:
	rm -rf $(VENV) $(DEMO) build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
