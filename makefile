# Taskmill. `make help` lists what there is.
# Everything but Docker lives in .venv, made from a lock with hashes and remade only when the lock changes.

PYTHON ?= python3
UV ?= uv
# So that PORT in .env.dev is also the one that is published; PORT in the environment wins.
COMPOSE = docker compose --env-file .env.dev
COMPOSE_TEST = docker compose -f docker-compose.test.yml
N ?= 2
URL ?= http://localhost:8000
# Most tests wait for processes, so more of them than there are cores are run at a time; each file by one process.
TEST_PROCESSES ?= 4
# In the order of the folders: those that take longest come first.
PYTEST = .venv/bin/pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

# The Docker CLI alone is not enough: an engine must answer, and know compose.
DOCKER_WORKS = docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run key test test-embedded test-docker check chaos client-check bench bench-quick migrate build start stop \
  scale logs lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# A single simple command, so that make starts it without a shell between and SIGTERM reaches it.
run: .venv/run.stamp ## start everything here, with embedded PostgreSQL and Valkey (PORT=8000, DATA_DIR=data)
	@.venv/bin/python -m app.embedded --env-file .env.dev

# Needs nothing but Python, so that it serves `make start` as well. The file that `make run` reads, unless told otherwise.
key: ## make an API key, printed once: make key NAME=billing [ROLE=write] [TENANT=acme]
	@KEYS_FILE="$${KEYS_FILE:-$$(sed -n 's/^KEYS_FILE=//p' .env.dev)}" \
	  $(PYTHON) -m app.keys "$$NAME" --role "$$ROLE" --tenant "$$TENANT"

test: ## run the whole test suite: on Docker where an engine answers, else on embedded servers
	@if $(DOCKER_WORKS); then \
	  echo "Testing on Docker (docker-compose.test.yml); make test-embedded does without."; \
	  $(MAKE) --no-print-directory test-docker; \
	else \
	  echo "Testing on embedded PostgreSQL and Valkey, as no Docker engine with compose answers."; \
	  $(MAKE) --no-print-directory test-embedded; \
	fi

test-embedded: .venv/dev.stamp ## run the test suite on embedded servers
	@$(PYTEST)

test-docker: ## run the test suite in containers
	@$(COMPOSE_TEST) up --build --abort-on-container-exit --exit-code-from tests; status=$$?; \
	$(COMPOSE_TEST) down --volumes; exit $$status

check: .venv/dev.stamp ## the gate: lint, format, types, imports, tests on embedded servers, three minutes of chaos
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy --strict app bench tests clients/python
	.venv/bin/lint-imports
	$(PYTEST)
	.venv/bin/python -m tests.chaos --seconds 180

# Needs nothing but what the tests need; as root, PostgreSQL's disk is filled up as well. Wants a machine of its own.
chaos: .venv/dev.stamp ## break a running service on purpose and check its history (CHAOS_SECONDS=3600; 180 is short)
	@.venv/bin/python -m tests.chaos $(CHAOS)

# Not part of check: where that runs, there may be no npm.
client-check: ## generate a TypeScript client from URL's /openapi.json, and drive that service with it (needs npm)
	cd clients/typescript && npm ci --silent && TASKMILL_URL=$(URL) npm run --silent check

# Needs wrk and redis-benchmark. The peers are installed once, each into an environment of its own below data/bench.
bench: .venv/dev.stamp ## measure beside a naive implementation, peers and limits; writes docs/performance.md (some two hours)
	@.venv/bin/python -m bench $(if $(ONLY),--only $(ONLY))

bench-quick: .venv/dev.stamp ## less of that, in 5 minutes: to see that it works; writes below data/bench only
	@.venv/bin/python -m bench --quick $(if $(ONLY),--only $(ONLY))

migrate: .venv/run.stamp ## bring the schema of DATABASE_URL up to date
	@.venv/bin/python -m app.db.migrate

build: ## build the image
	$(COMPOSE) build

# The folder is made here, since Docker would make it root's, and `make run` could not write beside it.
start: ## start the service in containers, in the background
	@mkdir -p data/postgres
	$(COMPOSE) up -d --wait

stop: ## stop the containers; the data stays in data/postgres
	$(COMPOSE) down

scale: ## run N consumer containers: make scale N=4
	$(COMPOSE) up -d --no-recreate --scale consumer=$(N)

logs: ## follow the logs of the containers
	$(COMPOSE) logs -f

# Each lock keeps to the versions of the one before, so that what runs is what was tested.
COMPILE = $(UV) pip compile pyproject.toml --quiet --generate-hashes --universal --no-header --python-version 3.11

lock: ## resolve the dependencies anew (needs uv)
	@command -v $(UV) >/dev/null || { echo "make lock needs uv: https://docs.astral.sh/uv/"; exit 1; }
	$(COMPILE) --upgrade -o requirements.lock
	$(COMPILE) --upgrade --extra embedded -c requirements.lock -o requirements-embedded.lock
	$(COMPILE) --upgrade --extra embedded --extra dev -c requirements-embedded.lock -o requirements-dev.lock

clean: ## remove .venv and caches; data/ stays
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find app bench tests -name __pycache__ -prune -exec rm -rf {} +

INSTALL = .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes

.venv/run.stamp: requirements-embedded.lock | .venv/bin/pip
	@echo "Installing into .venv (once) ..."
	@$(INSTALL) -r requirements-embedded.lock
	@touch $@

.venv/dev.stamp: requirements-dev.lock | .venv/bin/pip
	@echo "Installing into .venv, with the tools of the tests (once) ..."
	@$(INSTALL) -r requirements-dev.lock
	@touch $@

.venv/bin/pip:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing: apt install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed, and $(PYTHON) is older: name another with make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) can't make virtual environments here: apt install python3-venv"; exit 1; }
	@$(PYTHON) -m venv .venv
