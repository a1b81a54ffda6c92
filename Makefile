# Every target does its own set-up: `make demo` and `make test` work from a bare checkout.
# Debian 12 is what this is made for; elsewhere the packages have other names, which `make setup` says.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO_FLAGS ?=
TEST_FLAGS ?=


.DEFAULT_GOAL := help
.PHONY: help setup root system lock images stubs lint types layers tools test test-all demo clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: system $(READY) ## Create .venv with everything needed; quick when there is nothing to do

# Asked before anything is set up: the order holds under -j too, because `setup` waits for `root` where both are wanted.
root:
	@test "$$(id -u)" = 0 || { echo "make $(MAKECMDGOALS) needs root: it makes network namespaces and loads nftables rule sets" >&2; exit 1; }

ifneq ($(filter demo test test-all,$(MAKECMDGOALS)),)
system: | root
endif

# Root on a Debian installs what is missing; everybody else is told what to install.
system:
	@missing=""; \
	command -v $(PYTHON) >/dev/null 2>&1 || missing="$$missing python3"; \
	$(PYTHON) -c 'import ensurepip, venv' >/dev/null 2>&1 || missing="$$missing python3-venv"; \
	{ command -v nft || test -x /usr/sbin/nft; } >/dev/null 2>&1 || missing="$$missing nftables"; \
	test -d /usr/lib/python3/dist-packages/nftables || missing="$$missing python3-nftables"; \
	{ command -v ip || test -x /usr/sbin/ip; } >/dev/null 2>&1 || missing="$$missing iproute2"; \
	{ command -v iptables-legacy-restore || test -x /usr/sbin/iptables-legacy-restore; } >/dev/null 2>&1 || missing="$$missing iptables"; \
	test -e /etc/ssl/certs/ca-certificates.crt || missing="$$missing ca-certificates"; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	    echo "Installing$$missing"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	  else \
	    echo "Missing system packages (Debian names):$$missing" >&2; \
	    echo "Install them as root, then run make again." >&2; exit 1; \
	  fi; \
	fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one with PYTHON=..." >&2; exit 1; }

$(READY): requirements.lock pyproject.toml | system
	@echo "Setting up $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

lint: setup ## ruff: style and common mistakes
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: setup ## mypy --strict, tests included
	$(BIN)/mypy

layers: setup ## import-linter: imports only point down
	$(BIN)/lint-imports

tools: setup ## Fetch kubectl and helm, which tests use as clients; quick when they are there
	@$(BIN)/python -m policy_controller.testing.client_tools

test: root tools lint types layers ## Everything that must hold before a change lands; sends real packets, needs root
	$(BIN)/python -m pytest -n 2 --dist loadfile $(TEST_FLAGS)

test-all: root tools lint types layers ## The same and what takes longer, for the record in docs/reliability.md; needs root
	$(BIN)/python -m pytest -n 2 --dist loadfile --extent whole $(TEST_FLAGS)

images: root ## Build the images into dist/, without a registry or a daemon; needs root, buildah and debootstrap
	e2e/image.sh --output dist

demo: root setup ## A cluster in a minute: API server, operator, two nodes, nine pods, real packets; needs root
	@$(BIN)/policyctl demo $(DEMO_FLAGS)

stubs: setup ## Generate the gRPC stubs anew from enforcement.proto
	$(BIN)/python -m policy_controller.wire.generate

LOCKED := uv pip compile --universal --generate-hashes --no-annotate --no-header --python-version 3.11 --quiet
IMAGES := operator enforcer probe build

lock: ## Resolve requirements.lock and those of the images anew (needs uv)
	$(LOCKED) --group dev pyproject.toml -o requirements.lock
	for image in $(IMAGES); do $(LOCKED) --group $$image --constraints requirements.lock -o requirements-$$image.lock || exit 1; done
	sed -i '1i # Made by `make lock`; installed with --require-hashes.' requirements.lock $(IMAGES:%=requirements-%.lock)

clean: ## Remove .venv and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
