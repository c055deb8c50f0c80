# Set-up and the daily commands. Everything goes into .venv and .rag; nothing else is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Ctrl-C while Python itself is still starting waits until rag-assets can end quietly (GNU env).
HELD := $(shell env --block-signal=INT,TERM true 2>/dev/null && echo env --block-signal=INT,TERM)

.PHONY: help demo up embeddings-generate test test-long test-fast test-integrations client lint \
	docs bench bench-smoke lock clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 21

demo: $(VENV)/.installed ## load, embed, check and release the sample versions, and answer a query
	@$(HELD) $(BIN)/rag-assets demo

up: $(VENV)/.installed ## Dagster's UI, daemon and the retrieval API until Ctrl-C
	@$(HELD) $(BIN)/rag-assets up

VERSIONS ?= PT_*,EN_*
embeddings-generate: $(VENV)/.installed ## embed what is missing: VERSIONS='PT_*' ARGS='--dry-run'
	@$(HELD) $(BIN)/rag-assets bible embed --versions '$(VERSIONS)' --only-missing $(ARGS)

test: $(VENV)/.installed-dev ## all tests but the long ones, in some ten minutes
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not long"

test-long: $(VENV)/.installed-dev .venv-integrations/.installed ## the long tests: servers killed under load, a browser, whole Bibles
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m long

test-fast: $(VENV)/.installed-dev ## all but the slow tests
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not long"

test-integrations: $(VENV)/.installed-dev .venv-integrations/.installed ## the clients in integrations/, against a service
	@$(BIN)/pytest -q rag_assets_tests/api/test_clients.py

client: $(VENV)/.installed-dev .venv-integrations/.installed ## generate the Python client from the API's document
	@$(BIN)/python -m integrations.generate

lint: $(VENV)/.installed-dev ## linters, type checker, architecture rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

docs: $(VENV)/.installed-dev ## the documentation site, in .site/html; broken links are refused
	@$(BIN)/python -m docs.build

bench: $(VENV)/.installed-dev .venv-peers/.installed ## the benchmark table, ours and others' (see benchmarks/README.md)
	@$(BIN)/python -m benchmarks.bible_embeddings
	@$(BIN)/python -m benchmarks.batches
	@$(BIN)/python -m benchmarks.index
	@$(BIN)/python -m benchmarks.codes
	@$(BIN)/python -m benchmarks.plans
	@$(BIN)/python -m benchmarks.retrieve
	@$(BIN)/python -m benchmarks.retrieve.soak
	@$(BIN)/python -m benchmarks.documents.extraction
	@$(BIN)/python -m benchmarks.documents.scan
	@$(BIN)/python -m benchmarks.documents
	@$(BIN)/python -m benchmarks.fidelity
	@$(BIN)/python -m benchmarks.operations
	@$(BIN)/python -m benchmarks.relevance

# Four at a time, the longest first: each waits for its own servers for most of it. The soak judges errors: alone.
bench-smoke: $(VENV)/.installed-dev ## each benchmark once, small, without the others
	@$(MAKE) --no-print-directory --jobs=4 --output-sync=target $(SMOKES)
	@$(BIN)/python -m benchmarks.retrieve.soak --minutes 0.1

SMOKES := $(addprefix smoke-,release documents retrieve bible_embeddings batches operations index documents.scan \
	documents.extraction codes plans thirty fidelity fidelity.bibles relevance)
.PHONY: $(SMOKES)
$(SMOKES): smoke-%:
	@$(BIN)/python -m benchmarks.$* --smoke

.venv-peers/.installed: benchmarks/peers/requirements.lock | $(VENV)/bin/python
	@echo "making .venv-peers for the others (once)"
	@$(BIN)/python -m venv .venv-peers
	@.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  --require-hashes -r benchmarks/peers/requirements.lock
	@touch $@

INTEGRATIONS := client langchain llama_index
.venv-integrations/.installed: integrations/requirements.lock \
    $(wildcard integrations/*/pyproject.toml) | $(VENV)/bin/python
	@echo "making .venv-integrations for the clients in integrations/ (once)"
	@$(BIN)/python -m venv .venv-integrations
	@.venv-integrations/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  --require-hashes -r integrations/requirements.lock
	@.venv-integrations/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  --no-build-isolation $(foreach one,$(INTEGRATIONS),-e integrations/$(one))
	@touch $@

lock: $(VENV)/.installed-dev ## renew the lock files from pyproject.toml
	@$(BIN)/uv pip compile $(LOCK) --extra local --group build pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile $(LOCK) --all-extras --group build pyproject.toml -o requirements-image.lock
	@$(BIN)/uv pip compile $(LOCK) --all-extras --group build --group dev pyproject.toml -o requirements-dev.lock
	@$(BIN)/uv pip compile $(LOCK) --no-emit-package playwright --no-emit-package pyee \
	  integrations/requirements.in -o integrations/requirements.lock
LOCK := -q --upgrade --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
	--python-version 3.11

clean: ## remove the environment, the embedded database and Dagster's state
	rm -rf $(VENV) .rag .site .logs_queue logs

# Debian's Python may come without ensurepip; then virtualenv, from a folder of its own, makes it.
$(VENV)/bin/python:
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { rm -rf $(VENV); \
	  $(PYTHON) -m pip install -q --target $(VENV)-virtualenv virtualenv==20.35.4 && \
	  PYTHONPATH=$(VENV)-virtualenv $(PYTHON) -m virtualenv -q $(VENV); \
	  rm -rf $(VENV)-virtualenv; }

# pip takes Ctrl-C well once it is imported; while it is, it would show a traceback.
define QUIET_PIP
import signal, sys
import pip._internal.commands.install
from pip._internal.cli.main import main
try:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
    sys.exit(main())
except KeyboardInterrupt:
    sys.exit(130)
endef
export QUIET_PIP
PIP := $(HELD) $(BIN)/python -c "$$QUIET_PIP" install --quiet --disable-pip-version-check --no-deps

$(VENV)/.installed: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "installing $$(grep -c '^[a-z]' requirements.lock) locked packages (once; a minute or two)"
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	@echo "installing the packages for tests and linters (once)"
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@
