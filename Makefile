# The project's commands; `make help` lists them. Each builds what it needs first.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
COMPOSE ?= docker compose
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# A PYTHON that somebody asked for is used or refused, never silently replaced.
CANDIDATES := $(PYTHON) $(if $(filter file,$(origin PYTHON)),python3.13 python3.12 python3.11 python3.14)
IS_NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))

UV_COMPILE = $(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links \
	--custom-compile-command "make requirements.txt" $(if $(UPGRADE),--upgrade)

##@ Use

.PHONY: help
help: ## List the commands
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {printf "\n%s\n", substr($$0, 5)} \
		/^[a-zA-Z\/_.-]+:.*## / {printf "  make %-30s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

PORT ?= 8000

.PHONY: run
run: venv ## Serve the shop at http://127.0.0.1:8000 with demo data (PORT=... for another port)
	@echo "Making the demo data"
	@$(BIN)/shop demo --port $(PORT)
	@exec $(BIN)/shop serve --port $(PORT)

.PHONY: monitoring
monitoring: ## Start Prometheus, where it is installed, against the shop that runs (PORT=..., PROMETHEUS_PORT=9090)
	@PORT=$(PORT) exec deploy/monitoring/start.sh

.PHONY: demo-large
demo-large: venv ## Make a shop of a million products and orders, in SHOP_DATABASE_URL or var/large.sqlite3
	@export SHOP_DATABASE_URL="$${SHOP_DATABASE_URL:-sqlite+aiosqlite:///var/large.sqlite3}"; \
	$(BIN)/python -m bench.large && $(BIN)/shop stock verify

.PHONY: venv
venv: $(STAMP) ## Build .venv with Python 3.11 or newer (PYTHON=... to choose)
	@:

$(STAMP): requirements-dev.txt requirements-clients.txt pyproject.toml
	@if ! $(BIN)/python -c '$(IS_NEW_ENOUGH)' 2>/dev/null; then \
		found=; \
		for python in $(CANDIDATES); do \
			if "$$python" -c '$(IS_NEW_ENOUGH)' 2>/dev/null; then found=$$python; break; fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo "The shop needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) -V 2>/dev/null || echo missing)." \
				"Install one, or name it: make venv PYTHON=/path/to/python3.11" >&2; \
			exit 1; \
		fi; \
		if ! "$$found" -c 'import ensurepip, venv' 2>/dev/null; then \
			echo "$$found cannot make virtual environments: install its venv package" \
				"(on Debian and Ubuntu: apt install python3-venv)." >&2; \
			exit 1; \
		fi; \
		echo "Building $(VENV) with $$("$$found" -V)"; \
		"$$found" -m venv --clear $(VENV); \
	fi
	@echo "Installing the packages of requirements-dev.txt: a minute or two where they are new"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@echo "Installing the shop"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@rm -rf $(VENV)/clients
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes --target $(VENV)/clients -r requirements-clients.txt
	@touch $@

##@ Develop

# One more than there are cores at least: some tests wait for a time limit. Compiled files are kept,
# whatever the environment says: else every test process compiles every test anew, every time.
# In UTF-8 mode the tests read files in the same way in every locale.
RUN_TESTS = PYTHONUTF8=1 PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n 3 --dist worksteal -rfEs --durations=10

.PHONY: test
test: lint ## Run every check: style, types, layers, Dockerfile, then the tests
	$(RUN_TESTS)

# Debian's base is made by debootstrap; BASE_IMAGE=... takes one from a registry. IMAGES_FOLDER=... keeps
# what was built. Where it cannot be done, it says why and succeeds.
.PHONY: test-image
test-image: venv ## Build the image, run it, and play the Compose stack (buildah, podman; 15 minutes)
	$(BIN)/pytest -rs -s -o faulthandler_timeout=0 tests/images/check_image.py tests/images/check_compose.py

# Whether tests pass is for `make test` to say: what is measured is slower, and some tests watch the clock.
.PHONY: coverage
coverage: venv ## Run the tests, and report which lines and branches of src/shop they reach (fails under 95 %)
	@rm -rf build/coverage && mkdir -p build/coverage
	@export COVERAGE_FILE="$(CURDIR)/build/coverage/data"; \
	$(subst $(BIN)/pytest,$(BIN)/coverage run -m pytest,$(RUN_TESTS)) $(TESTS) || \
		echo "Tests failed while they were measured: see whether they do so in make test." >&2; \
	$(BIN)/coverage combine --quiet && $(BIN)/coverage html --quiet && $(BIN)/coverage report

.PHONY: test-long
test-long: venv ## Run the tests with more rounds and more buyers (hours; TESTS=tests/concurrency for a part)
	$(RUN_TESTS) --long -o faulthandler_timeout=0 $(TESTS)

PYTHONS ?= python3.11 python3.12 python3.13 python3.14 python3.15

.PHONY: test-pythons
test-pythons: ## Run `make test` on every Python found, each in a venv of its own (PYTHONS="..." to choose)
	@found=; missing=; failed=; \
	for python in $(PYTHONS); do \
		if version=$$("$$python" -c 'import platform; print(platform.python_version())' 2>/dev/null); then \
			found="$$found $$version"; \
			echo "== $$python, which is $$version"; \
			$(MAKE) test PYTHON="$$python" VENV=".venv-$$version" || failed="$$failed $$version"; \
		else \
			missing="$$missing $$python"; \
		fi; \
	done; \
	echo "Tested:$${found:- none}. Failed:$${failed:- none}. Not found:$${missing:- none}."; \
	[ -n "$$found" ] && [ -z "$$failed" ]

# An early look at what the `<3` of pyproject.toml keeps out. The tests run even where mypy objects.
LITESTAR_NEXT ?= litestar>=3.0.0.dev0

.PHONY: test-litestar-next
test-litestar-next: ## Run mypy and the tests on the next Litestar (LITESTAR_NEXT=... for a folder or a git address)
	@$(MAKE) venv VENV=.venv-next
	@if ! report=$$(.venv-next/bin/python -m pip install --disable-pip-version-check --upgrade '$(LITESTAR_NEXT)' 2>&1); then \
		echo "$$report" >&2; \
		echo "Nothing was tested: pip cannot get $(LITESTAR_NEXT) from here." >&2; \
		exit 1; \
	fi
	@echo "Testing with Litestar $$(.venv-next/bin/python -c 'from importlib.metadata import version; print(version("litestar"))')"
	@failed=; \
	.venv-next/bin/mypy || failed="$$failed mypy"; \
	$(subst $(BIN),.venv-next/bin,$(RUN_TESTS)) || failed="$$failed tests"; \
	echo "Failed:$${failed:- nothing}."; \
	[ -z "$$failed" ]

# Not in `make test`: it needs a browser, which no package brings. Where there is none it says so.
TEST_BROWSER = PYTHONUTF8=1 PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -rfEs

.PHONY: test-browser
test-browser: venv ## Run the tests of the docs page in a real browser (Debian: apt install chromium chromium-driver)
	$(TEST_BROWSER) tests/browser

.PHONY: pictures
pictures: venv ## Take the pictures of the docs page in docs/images anew, with that browser
	$(TEST_BROWSER) tests/browser/test_pictures.py --pictures

# Not in `make test`: it needs root and Debian's packages. Where something is missing it says so. The
# network that it is started in has nothing of this machine's, and goes with it.
.PHONY: test-cluster
test-cluster: venv ## Run the shop over Patroni, etcd, HAProxy and PgBouncer, and take one after the other away (root; 20 minutes)
	@network=$$(unshare --net true 2>/dev/null && echo "unshare --net" || true); \
	PYTHONUTF8=1 PYTHONDONTWRITEBYTECODE= $$network $(BIN)/pytest -rfEs -o faulthandler_timeout=0 $(or $(TESTS),tests/cluster)

.PHONY: guards
guards: venv ## Take out one guard after the other, and report those that no test misses (about an hour)
	$(BIN)/python -m tests.guards $(GUARD)

# Interrupted, it goes on where it was: what it found is in build/mutation until `make clean`.
.PHONY: mutation
mutation: venv ## Change the rules of the domain bit by bit, and list what no test notices (hours; MUTANTS="shop.domain.orders*")
	@mkdir -p build/mutation && rm -rf build/mutation/src build/mutation/tests
	@cp -r src tests pyproject.toml alembic.ini build/mutation
	cd build/mutation && $(CURDIR)/$(BIN)/mutmut run $(MUTANTS)
	@cd build/mutation && $(CURDIR)/$(BIN)/mutmut results | grep -v ": not checked" || true

# On a fresh machine mypy has no cache, and takes a third less time with two workers.
.PHONY: lint
lint: venv ## Run the checks that need no database: style, types, layers, Dockerfile
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --num-workers 2
	$(BIN)/lint-imports --no-cache
	$(BIN)/hadolint Dockerfile tests/images/Dockerfile.services

# `--strict`: a package that the source does not know is no package without holes.
.PHONY: audit
audit: venv ## Look up the locked dependencies in a database of known holes (osv.dev)
	@report=$$($(BIN)/pip-audit --requirement requirements.txt --require-hashes --disable-pip --strict \
		--vulnerability-service osv --progress-spinner off 2>&1) && { echo "$$report"; exit 0; }; \
	case "$$report" in \
		*ConnectionError* | *ProxyError* | *"Max retries"* | *[Tt]imed?out* | *ReadTimeout*) \
			echo "Nothing was checked: api.osv.dev, which knows the holes, cannot be reached from here." >&2 ;; \
		*) echo "$$report" >&2 ;; \
	esac; \
	exit 1

# Of what the image brings along: the lock, with its hashes, and the shop itself.
.PHONY: sbom
sbom: venv ## Write the bill of materials, in CycloneDX's form, to var/sbom.json
	@mkdir -p var
	$(BIN)/cyclonedx-py requirements requirements.txt --pyproject pyproject.toml \
		--output-reproducible --output-format JSON --output-file var/sbom.json

.PHONY: format
format: venv ## Format the code and fix what can be fixed by itself
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: docs
docs: venv ## Build the documents as a site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Open build/site/index.html"

.PHONY: docs/serve
docs/serve: venv ## Show the documents at http://127.0.0.1:8100 while one writes (PORT=... for another port)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve --dev-addr 127.0.0.1:$(if $(filter file,$(origin PORT)),8100,$(PORT))

.PHONY: reference
reference: venv ## Make the pages and drawings of docs/ that come from the code
	$(BIN)/python -m reference

.PHONY: bench
bench: venv ## Run the project's benchmarks
	$(BIN)/python -m bench

.PHONY: bench-replicas
bench-replicas: venv ## Measure reading with no, one and two replicas of PostgreSQL
	$(BIN)/python -m bench.replicas

# Phony: the lock is rewritten when asked for, never because git gave pyproject.toml a later date.
.PHONY: requirements.txt
requirements.txt: | $(STAMP) ## Lock the dependencies of pyproject.toml with hashes (UPGRADE=1 for the newest)
	$(UV_COMPILE) pyproject.toml --output-file requirements.txt
	$(UV_COMPILE) pyproject.toml --group dev --constraint requirements.txt --output-file requirements-dev.txt
	$(UV_COMPILE) --group build --constraint requirements-dev.txt --output-file requirements-build.txt
	$(UV_COMPILE) --group clients --constraint requirements-dev.txt --output-file requirements-clients.txt

.PHONY: clean
clean: ## Remove the venvs and everything else that was made, but not the data in var/
	rm -rf .venv .venv-* build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -type d -name __pycache__ -prune -exec rm -rf {} +

##@ Release (what the pipelines run, see .github/workflows/; DOCKER=podman works too)

DOCKER ?= docker
GRYPE ?= grype
IMAGE ?= shop:local

# The shell reads TAG, for make would take a tag such as v$(shell ...) for one of its own.
.PHONY: release/check
release/check: ## Check that the tag (TAG=v0.1.0) is the version of this source, with its date in CHANGELOG.md
	@version="$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)"; \
	if [ "$${TAG:-}" != "v$$version" ]; then \
		echo "The tag is $${TAG:-not given}, and the version of pyproject.toml is $$version." >&2; exit 1; \
	fi; \
	if ! grep -qE "^## $$version, [0-9]{4}-[0-9]{2}-[0-9]{2}$$" CHANGELOG.md; then \
		echo "CHANGELOG.md has no line like: ## $$version, 2027-01-31" >&2; exit 1; \
	fi

.PHONY: image
image: ## Build the image (IMAGE=shop:local is its name)
	$(DOCKER) build --build-arg REVISION="$$(git rev-parse HEAD 2>/dev/null || echo unknown)" --tag "$(IMAGE)" .

.PHONY: image/scan
image/scan: ## Look for holes in the image that are known and can be closed (GRYPE=... is the scanner)
	$(GRYPE) "$(IMAGE)" --only-fixed --fail-on high

.PHONY: image/push
image/push: ## Push the image; its digest is then in var/image.env
	@DOCKER="$(DOCKER)" IMAGE="$(IMAGE)" deploy/push.sh

.PHONY: deploy/ecs
deploy/ecs: ## Migrate, then serve an image (IMAGE=name@sha256:...) on ECS (ECS=... is the folder of definitions)
	@$(call needs_digest) IMAGE="$(IMAGE)" deploy/ecs.sh

.PHONY: deploy/kubernetes
deploy/kubernetes: ## Migrate and serve an image (IMAGE=name@sha256:...) in Kubernetes (OVERLAY=...)
	@$(call needs_digest) IMAGE="$(IMAGE)" deploy/kubernetes.sh

# A tag may name another image tomorrow.
needs_digest = [[ "$(IMAGE)" == *@sha256:* ]] || { echo "Name the image by its digest, as var/image.env does: $(IMAGE)" >&2; exit 1; };

##@ Run in containers (Docker with Compose, or COMPOSE=docker-compose)

# `PROFILES=scale` adds HAProxy, two more servers, PgBouncer and a replica of the database;
# `PROFILES="scale monitoring"` Prometheus and Grafana too.
PROFILES ?=
ALL_PROFILES := scale monitoring test dev
with_profiles = $(COMPOSE) $(addprefix --profile ,$(1))
export COMPOSE PROFILES

.PHONY: docker/compose/up
docker/compose/up: docker/compose/build ## Start a shop with samples at http://127.0.0.1:8000 (PROFILES="scale monitoring")
	@deploy/compose/up.sh

.PHONY: docker/compose/build
docker/compose/build: .env ## Build the image of the shop, which all its services share
	REVISION="$$(git rev-parse HEAD 2>/dev/null || echo unknown)" $(COMPOSE) build web

.PHONY: docker/compose/migrate
docker/compose/migrate: .env ## Bring the database to the newest schema
	$(COMPOSE) run --rm migrate

.PHONY: docker/compose/makemigrations
docker/compose/makemigrations: .env ## Write a migration from the tables (m="what changes")
	@if [ -z "$(m)" ]; then echo 'Say what changes: make docker/compose/makemigrations m="add coupons"' >&2; exit 1; fi
	$(call with_profiles,dev) build dev
	$(call with_profiles,dev) run --rm --user "$$(id -u):$$(id -g)" dev shop makemigrations -m "$(m)"

.PHONY: docker/compose/unittest
docker/compose/unittest: .env ## Run the tests in the image's test stage
	$(call with_profiles,test) build unittest
	$(call with_profiles,test) run --rm --no-deps unittest

.PHONY: docker/compose/logs
docker/compose/logs: .env ## Follow what the services write (Ctrl-C ends it)
	$(call with_profiles,$(ALL_PROFILES)) logs --follow --tail 100

.PHONY: docker/compose/down
docker/compose/down: .env ## Stop everything; the data stays in its volumes
	$(call with_profiles,$(ALL_PROFILES)) down --remove-orphans

# Secrets nobody should have to invent. Only what is missing is added.
.PHONY: .env
.env:
	@umask 077; touch .env; \
	for name in SHOP_SECRET_KEY POSTGRES_PASSWORD REPLICATION_PASSWORD GRAFANA_PASSWORD; do \
		if ! grep -q "^$$name=." .env; then \
			if [ -s .env ] && [ -n "$$(tail -c 1 .env)" ]; then echo >> .env; fi; \
			echo "$$name=$$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')" >> .env; \
			echo "Wrote a new $$name to .env"; \
		fi; \
	done
