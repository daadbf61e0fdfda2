# Everything that a checkout does; `make` alone lists the targets. Set-up happens once, and again only for
# what changed: each part has a stamp that is older than the files it was made from when it is due.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
OLD := .venv-mcp1
BIN := $(VENV)/bin
TOOLS := .tools
JUDGES := tests/judges/go
BROKER := tests/judges/kafka
STORE := tests/judges/minio
SERVERS := $(TOOLS)/stamp-minio $(TOOLS)/stamp-syslog-ng $(TOOLS)/stamp-kafka
PYTEST ?=

# pip and npm say nothing unless something fails; where they install from is their own configuration's business.
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet
export PIP_ROOT_USER_ACTION := ignore
# Hundreds of interpreters are started by the tests: what they import is compiled once, also where the environment would
# have each compile it for itself.
export PYTHONDONTWRITEBYTECODE :=
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)

##@ Use
.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: $(VENV)/stamp-demo node_modules/stamp ## set up, then record real MCP servers and show the trail
	@$(BIN)/indelible demo

.PHONY: setup
setup: $(VENV)/stamp-dev $(OLD)/stamp node_modules/stamp $(SERVERS) $(TOOLS)/stamp-go ## set up all that the other targets need

.PHONY: clean
clean: ## remove everything that set-up and tests made
	@rm -rf $(VENV) $(OLD) $(TOOLS) node_modules dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis \
		.import_linter_cache .grimp_cache
	@find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

##@ Check
# Three runs, each with its summary: what needs no processes of its own, and makes every fault of the disk itself; then
# everything else, on a real disk, each test with processes that it starts and waits for; at last, one at a time, what
# measures.
.PHONY: test
test: export INDELIBLE_FAULT_STRIDE := 5
test: export INDELIBLE_KILLS := 100
test: ## everything but the soaks, of which it runs a sample
	@$(MAKE) --jobs=3 setup lint types imports
	@code=0; \
	$(BIN)/python -m pytest $(WITHIN) -n logical --dist worksteal --in-memory $(PYTEST) || code=$$?; \
	$(BIN)/python -m pytest $(WITHIN:%=--ignore=%) $(BY_FILE) -m "not long and not alone" $(PYTEST) || code=$$?; \
	$(BIN)/python -m pytest $(WITHIN:%=--ignore=%) -m "alone and not long" $(PYTEST) || code=$$?; \
	exit $$code
WITHIN := tests/unit tests/integration/operations
# What a file's tests share is made once; in the order of the files, whose long ones are not the last.
BY_FILE := -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: check
check: $(VENV)/stamp-dev lint types imports ## lint, types, imports, unit and property tests: the quick half
	@INDELIBLE_EXAMPLES=0.1 $(BIN)/python -m pytest tests/unit -n logical --dist worksteal --in-memory \
		-m "not long and not slow and not sampled" $(PYTEST)

.PHONY: test-long
test-long: setup ## the soaks: thousands of kills, every fault, many random examples of every property
	@INDELIBLE_LONG=1 INDELIBLE_KILLS=2000 INDELIBLE_FAULT_STRIDE=1 \
		$(BIN)/python -m pytest -m "long or sampled or hypothesis" -o timeout=7200 -o faulthandler_timeout=7300 $(PYTEST)

.PHONY: bench
bench: setup ## measure against the goals; prints a table and writes JSON
	@$(BIN)/python -m bench

.PHONY: lint
lint: $(VENV)/stamp-dev ## ruff: rules and format
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --quiet --check

.PHONY: types
types: $(VENV)/stamp-dev ## mypy, strict
	@$(BIN)/mypy --no-error-summary

.PHONY: imports
imports: $(VENV)/stamp-dev ## the directions in which modules may import each other
	@$(BIN)/lint-imports --no-logo >$(TOOLS)/imports.log || { cat $(TOOLS)/imports.log; exit 1; }

##@ Maintain
.PHONY: lock
lock: $(VENV)/stamp-dev ## pin the newest versions of everything anew
	@$(BIN)/uv pip compile $(LOCK) --extra demo pyproject.toml requirements/build.in -o requirements/demo.txt
	@$(BIN)/uv pip compile $(LOCK) --extra alerts --extra demo --extra kafka --extra otlp --extra query --extra s3 pyproject.toml requirements/build.in requirements/dev.in \
		-c requirements/demo.txt -o requirements/dev.txt
	@$(BIN)/uv pip compile $(LOCK) pyproject.toml -c requirements/demo.txt -o requirements/base.txt
	@$(BIN)/uv pip compile $(LOCK) pyproject.toml requirements/build.in requirements/mcp1.in -o requirements/mcp1.txt
	@npm install --package-lock-only --ignore-scripts --silent
	@cd $(JUDGES) && go mod tidy
# pip asks for extras as for packages of their own: where the pin does not name them, it may look past it.
LOCK := --quiet --upgrade --no-strip-extras --generate-hashes --universal --python-version 3.11 \
	--custom-compile-command "make lock"

.PHONY: lock-peers
lock-peers: $(VENV)/stamp-dev ## pin what bench_peers measures beside us anew
	@for peer in argus hangar mxcp; do \
		$(BIN)/uv pip compile $(LOCK_PEERS) requirements/peers-$$peer.in -o requirements/peers-$$peer.txt >/dev/null; \
	done
	@echo mxcp | $(BIN)/uv pip compile $(LOCK_PEERS) --no-deps --no-header - >>requirements/peers-mxcp.txt
LOCK_PEERS = $(subst make lock,make lock-peers,$(LOCK)) --no-annotate

# --- set-up ---------------------------------------------------------------------------------------------
# A stamp in $(VENV) goes with it. What makes one may run beside what makes another (make --jobs). The dev pins hold the
# demo's, so that installing dev covers both.

$(TOOLS)/stamp-run $(TOOLS)/stamp-test: $(TOOLS)/stamp-%: requirements/system.txt scripts/need
	@mkdir -p $(TOOLS)
	@scripts/need $*
	@touch $@

# It cannot stand beside rsyslog.
$(TOOLS)/stamp-syslog-ng: scripts/unpack | $(TOOLS)/stamp-test
	@scripts/unpack syslog-ng-core $(TOOLS)/syslog-ng
	@touch $@

$(VENV)/stamp: scripts/venv
	@scripts/venv $(PYTHON) $(VENV)
	@touch $@

$(VENV)/stamp-demo: requirements/demo.txt pyproject.toml | $(VENV)/stamp $(TOOLS)/stamp-run
	@echo "setup: Python packages for the demo (half a minute the first time)"
	@$(PIP) --require-hashes -r requirements/demo.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/stamp-dev: requirements/dev.txt pyproject.toml | $(VENV)/stamp $(TOOLS)/stamp-test
	@echo "setup: Python packages for development (a minute the first time)"
	@$(PIP) --require-hashes -r requirements/dev.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $(VENV)/stamp-demo $@

$(OLD)/stamp: requirements/mcp1.txt pyproject.toml scripts/venv | $(TOOLS)/stamp-test
	@echo "setup: Python packages for servers on the official SDK 1.x (a minute the first time)"
	@scripts/venv $(PYTHON) $(OLD)
	@$(OLD)/bin/python -m pip --disable-pip-version-check --no-input install --quiet --require-hashes \
		-r requirements/mcp1.txt
	@$(OLD)/bin/python -m pip --disable-pip-version-check --no-input install --quiet --no-deps \
		--no-build-isolation --editable .
	@touch $@

node_modules/stamp: package.json package-lock.json .npmrc | $(TOOLS)/stamp-run
	@echo "setup: npm packages"
	@npm ci --ignore-scripts --silent
	@touch $@

$(TOOLS)/stamp-go: $(wildcard $(JUDGES)/go.* $(JUDGES)/*/*.go) | $(TOOLS)/stamp-test
	@echo "setup: Go tools that judge the trail"
	@mkdir -p $(TOOLS)/bin
	@cd $(JUDGES) && go build -buildvcs=false -o $(CURDIR)/$(TOOLS)/bin/ ./... tool
	@touch $@

$(TOOLS)/stamp-kafka: $(BROKER)/pom.xml | $(TOOLS)/stamp-test
	@echo "setup: a Kafka broker that the kafka sink is tested with"
	@mkdir -p $(TOOLS)/kafka
	@said=$$(mvn --quiet --batch-mode --file $(BROKER)/pom.xml dependency:copy-dependencies \
		-DoutputDirectory=$(CURDIR)/$(TOOLS)/kafka/libs -DincludeScope=runtime 2>&1) || { echo "$$said" >&2; exit 1; }
	@touch $@

# Some minutes the first time, beside what else is set up; its module, pinned with its hashes, is not one of the judges',
# whose versions it would dictate.
$(TOOLS)/stamp-minio: $(STORE)/go.mod $(STORE)/go.sum | $(TOOLS)/stamp-test
	@echo "setup: an object store that the s3 sink is tested with (minutes, the first time)"
	@mkdir -p $(TOOLS)/bin
	@cd $(STORE) && go build -buildvcs=false -ldflags='-s -w' -o $(CURDIR)/$(TOOLS)/bin/ tool
	@touch $@
