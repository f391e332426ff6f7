# `make` lists the targets. Each creates what it needs; nothing is installed outside $(VENV).

PYTHON ?= python3
VENV ?= .venv
# A local Hugging Face folder for `make demo` in place of the downloaded MiniLM: make demo MODEL=DIR
MODEL ?=
# A new folder in which `make demo` leaves its models and bundles: make demo KEEP=DIR
KEEP ?=
# What to install PyTorch from, for example its CPU build: make venv PIP_ARGS="--extra-index-url ..."
PIP_ARGS ?=
# Narrows `make test`: make test LIT=test/lit/compiler PYTEST="test/python/cli -k json"
LIT ?= test/lit
PYTEST ?=
# Processes that share the tests of the Python code; each takes about 3 GB.
JOBS ?= 2

# The peers' environments, and what `make bench-peers` passes on: make bench-peers BENCH="--resume --only bert-base"
PEERS ?= .venv-peers
BENCH ?=

READY = $(VENV)/.ready
BIN = $(VENV)/bin
PEERS_READY = $(PEERS)/main/.ready $(PEERS)/tvm/.ready $(PEERS)/deepsparse/.ready

.DEFAULT_GOAL := help
.PHONY: help venv demo test lit pytest lint format check bench bench-peers bench-arm test-slow docs clean

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(READY) ## Create the environment with everything that building and testing need

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: Secateur needs Python 3.11 or newer, '$(PYTHON)' is $$($(PYTHON) --version 2>&1);" \
	       "name another one with make PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing Secateur and its dependencies into $(VENV) (some hundred megabytes the first time)" >&2
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(READY) ## Answer questions about a text with a pruned, compiled model beside PyTorch
	$(BIN)/python -m secateur.applications.question_answering.demo $(if $(MODEL),--base "$(MODEL)") \
	  $(if $(KEEP),--keep "$(KEEP)")

test: lit pytest ## Run the whole test suite

lit: $(READY) ## Run the tests of the IR
	$(BIN)/lit --succinct --verbose $(LIT)

# Processes that each compute with all cores wait for each other: with one thread each the tests take half the time.
pytest test-slow: export OMP_NUM_THREADS = 1

pytest: $(READY) ## Run the tests of the Python code
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal $(PYTEST)

test-slow: $(READY) ## Run the tests that take long: two hundred random models on every kind of target, and others
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal -m slow $(PYTEST)

lint: $(READY) ## Check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## Rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: lint test ## Everything that continuous integration runs

bench: $(READY) ## Time a BERT-base at 90 % sparsity beside PyTorch and IREE
	$(BIN)/python -m secateur.benchmarks.bert_base

bench-peers: $(READY) $(PEERS_READY) ## Time every workload beside every engine and write docs/results.md (20 minutes)
	$(BIN)/python -m secateur.benchmarks --peers $(PEERS) --page docs/results.md $(BENCH)

bench-arm: $(READY) ## Count an encoder layer on an emulated Arm CPU beside stock IREE and LiteRT (needs qemu-user)
	$(BIN)/python -m secateur.benchmarks.arm --peers $(PEERS) $(BENCH)

# A peer that cannot be installed is left out of the benchmark with a note.
$(PEERS)/%/.ready: benchmarks/peers/requirements-%.txt
	$(PYTHON) -m venv $(PEERS)/$*
	@echo "installing the engines of $< into $(PEERS)/$* (gigabytes, the first time)" >&2
	@$(PEERS)/$*/bin/python -m pip install --quiet $(PIP_ARGS) --requirement $< && touch $@ || \
	  echo "note: the engines of $< could not all be installed; those that are missing are left out" >&2

docs: $(READY) ## Write the generated pages of docs/ anew
	$(BIN)/python docs/generate.py

clean: ## Remove the environment and what tools left behind
	rm -rf $(VENV) $(PEERS) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
