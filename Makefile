# Everything starts here: `make demo` and `make test` need nothing but python3 (3.11 or later, with venv) and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help demo install test lint format docs zipapp bench pins clean

help:                ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /  make \1\t/' | expand -t 18

demo: install        ## a broker, three agents, four investigations, in a scratch folder
	$(BIN)/investigator demo

install: $(VENV)/.runtime   ## .venv/bin/investigator

test: $(VENV)/.dev   ## the whole suite, with real brokers and real agents
	$(BIN)/pytest

lint: $(VENV)/.dev   ## formatting, rules, types, one-way imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy --allow-untyped-defs --allow-incomplete-defs --allow-untyped-calls tests
	$(BIN)/lint-imports --no-cache

zipapp: $(VENV)/.dev ## dist/investigator.pyz: all of it in one file (PLATFORM=linux-aarch64, PYTHONS="3.11 3.12", AGENT_ONLY=1)
	$(BIN)/python tools/zipapp.py $(if $(PLATFORM),--platform $(PLATFORM)) $(if $(PYTHONS),--pythons "$(PYTHONS)") $(if $(AGENT_ONLY),--agent-only)

bench: $(VENV)/.dev  ## every figure, in one table, against the recorded ones: ten minutes
	$(BIN)/python bench/all.py

format: $(VENV)/.dev ## let ruff format and fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.dev   ## docs/modules/*.md anew, from the modules' declarations
	$(BIN)/python tools/module_pages.py

pins:                ## write requirements/*.txt anew from *.in (needs uv)
	for part in runtime build dev; do \
	  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --custom-compile-command 'make pins' requirements/$$part.in -o requirements/$$part.txt || exit 1; done

clean:               ## remove what make made
	rm -rf $(VENV) dist build src/*.egg-info

# PGPy comes as source only: its build tools are pinned and hashed too, so nothing is built with what the day brings.
$(VENV)/.build: requirements/build.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "investigator needs Python 3.11 or later: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --require-hashes -r requirements/build.txt
	touch $@

$(VENV)/.runtime: $(VENV)/.build requirements/runtime.txt pyproject.toml
	$(PIP) install --require-hashes --no-build-isolation -r requirements/runtime.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements/dev.txt
	$(PIP) install --require-hashes --no-build-isolation -r requirements/dev.txt
	touch $@
