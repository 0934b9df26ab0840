# Everything a checkout needs: `make up` to use it, `make test` to prove it, `make help` for the rest.
# Versions and hashes of all packages lie in .lock/; `make lock` makes them anew from pyproject.toml.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
UP ?=
TESTS ?= tests
SEEDS ?= 5000
.DEFAULT_GOAL := help
.PHONY: help setup setup-test up test check simulate bench lock sdl sdl-released audit clean system-test test-window web window

help:  ## say what can be made
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Debian keeps venv apart from python3; root gets it installed, others are told the one line.
$(UV): .lock/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "ksql needs Python 3.11 or newer: set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  if [ "$$(id -u)" = 0 ]; then apt-get update -q && apt-get install -y -q --no-install-recommends python3-venv; \
	  else echo "run: sudo apt-get install -y python3-venv"; exit 1; fi; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r .lock/uv.txt
	@touch $@

$(VENV)/run.stamp: $(UV) .lock/run.txt pyproject.toml
	@$(UV) pip install -q --python $(BIN)/python --require-hashes -r .lock/run.txt
	@$(UV) pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@$(BIN)/python -m ksql.schema.derive
	@touch $@

$(VENV)/test.stamp: $(VENV)/run.stamp .lock/test.txt
	@$(UV) pip install -q --python $(BIN)/python --require-hashes -r .lock/test.txt
	@touch $@

setup: $(VENV)/run.stamp  ## make .venv and install ksql in it

setup-test: $(VENV)/test.stamp  ## the same with the test tools

# As root the suites' system packages are installed; others get the suites that need them skipped, with the reason.
system-test:
	@if [ -z "$$(ls /usr/lib/postgresql/*/bin/postgres 2>/dev/null)" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -q && apt-get install -y -q --no-install-recommends postgresql; fi
	@if ! command -v chromium >/dev/null && ! command -v google-chrome >/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -q && apt-get install -y -q --no-install-recommends chromium fonts-dejavu-core; fi

# The web UI, built into the package. npm writes no addresses into its lock file; its hashes say what is installed.
WEB := ksql/_web/index.html
NODE_OK := node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'

web/node_modules/.package-lock.json: web/package-lock.json web/package.json
	@$(NODE_OK) 2>/dev/null || { echo "the web UI is built with Node 20.19 or newer and npm: install them, then make web"; exit 1; }
	@cd web && npm ci --no-audit --no-fund --silent
	@touch $@

$(WEB): web/node_modules/.package-lock.json $(shell find web -path web/node_modules -prune -o -type f -not -name '*.md' -not -path 'web/tests/*' -print 2>/dev/null)
	@cd web && npm run --silent build >/dev/null
	@touch $@

web: $(WEB)  ## build the web UI into the package (needs Node)

# A cluster without its web UI is still a cluster: who has no Node is told, and served a page that says the same.
window:
	@if $(NODE_OK) 2>/dev/null && command -v npm >/dev/null; then $(MAKE) -s web || echo "the web UI could not be built; all else works"; \
	elif [ ! -f $(WEB) ]; then echo "no web UI: it is built with Node 20.19 or newer and npm (make web); all else works"; fi

up: setup window  ## start a cluster here: make up UP="--nodes 5"
	@$(BIN)/ksql up $(UP)

check: setup-test  ## types, lint, layers
	@$(BIN)/mypy
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports

test: setup-test system-test window  ## the whole default suite, checks included
	@$(BIN)/pytest -q -n auto --dist worksteal $(TESTS)

simulate: setup-test  ## thousands of simulated clusters under faults: make simulate SEEDS=5000
	@KSQL_SEEDS=$(SEEDS) $(BIN)/pytest -q -n auto --dist worksteal tests/simulation/test_tempests.py

# Screenshots are left in build/window.
test-window: setup-test system-test web  ## drive the whole web UI in Chromium: every incident, state and budget
	@$(BIN)/pytest -q -m "window or not window" tests/web

bench: setup-test  ## measure; nothing here passes or fails
	@$(UV) pip install -q --python $(BIN)/python --require-hashes -r .lock/bench.txt
	@$(BIN)/python -m tests.bench

sdl: setup  ## print the GraphQL schema to graphql/schema.graphql
	@$(BIN)/python -m ksql.serve.gql.app

sdl-released: setup  ## at a release: take the schema as what later ones are compared with
	@$(BIN)/python -m ksql.serve.gql.app --released

lock: $(UV)  ## resolve pyproject.toml anew into .lock/
	@echo "uv==$$($(UV) --version | cut -d' ' -f2)" | $(UV) pip compile -q --generate-hashes --no-header --universal --no-emit-index-url - -o .lock/uv.txt
	@printf 'hatchling\neditables\n' > .lock/build.in
	@$(UV) pip compile -q --generate-hashes --no-header --no-emit-index-url --python-version 3.11 --extra postgresql pyproject.toml .lock/build.in -o .lock/run.txt
	@$(UV) pip compile -q --generate-hashes --no-header --no-emit-index-url --python-version 3.11 --extra test -c .lock/run.txt pyproject.toml -o .lock/test.txt
	@$(UV) pip compile -q --generate-hashes --no-header --no-emit-index-url --python-version 3.11 --extra bench -c .lock/run.txt pyproject.toml -o .lock/bench.txt
	@rm .lock/build.in

audit: $(UV)  ## look the locked packages up among known vulnerabilities (asks the advisory service of PyPI)
	@$(UV) tool run --from pip-audit==2.10.1 pip-audit --strict --require-hashes --disable-pip -r .lock/run.txt

clean:  ## remove what was built (never data in .ksql)
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build ksql/_web web/node_modules
