# The project's verbs. `make help` lists them; each works in a fresh clone and sets up what it needs.
#
#   PYTHON=python3.12 make setup     another interpreter (3.11, 3.12 or 3.13)
#   TORCH=cuda make setup            another build of torch (cpu, cuda or auto: CUDA where an NVIDIA driver answers)

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest

export DVC_NO_ANALYTICS = 1
export DAGSTER_DISABLE_TELEMETRY = 1
export MLFLOW_DISABLE_TELEMETRY = true

.DEFAULT_GOAL := help
.PHONY: help setup setup-test setup-lab setup-lint demo test test-slow test-hostile test-cluster test-gpu test-browser test-transformers lint format bench bench-gpu up constraints clean

help: ## List what can be made
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.ready-all ## Make .venv with everything the demo uses
setup-test: $(VENV)/.ready-all-fcd-test
setup-lab: $(VENV)/.ready-all-fcd-lab-test
setup-lint: $(VENV)/.ready-all-lint

# One stamp per set of extras: nothing happens until pyproject.toml or constraints.txt change, the checkout was moved or copied, or TORCH is given. At its end
# code.yaml gets what is installed.
MADE_IN := $(shell cat $(VENV)/.made_in 2>/dev/null)
ifneq ($(TORCH)$(MADE_IN),$(CURDIR))
.PHONY: again
AGAIN := again
endif
$(VENV)/.ready-%: pyproject.toml constraints.txt scripts/make_venv.sh $(AGAIN)
	@PYTHON="$(PYTHON)" bash scripts/make_venv.sh "$(VENV)" "$(subst -,$(comma),$*)"
	@touch "$@"
comma := ,

demo: setup ## Set everything up, then crawl, build, train and measure in small
	@$(BIN)/figment demo

test: setup-test ## Run the tests (CPU, no network)
	@bash scripts/find_browser.sh
	@$(PYTEST) -n $(WORKERS) --dist loadscope

test-slow: setup-test ## Run the tests that take more than about ten seconds each
	@$(PYTEST) -n $(WORKERS) --dist loadscope -m "slow and not hostile and not cluster and not gpu and not network"

test-hostile: setup-test ## Attack everything that takes foreign bytes, and break files, disks and processes (within ten minutes)
	@bash scripts/find_browser.sh
	@$(PYTEST) -n $(WORKERS) --dist loadscope -m "hostile and not gpu and not network"

test-cluster: setup-lab ## Run stages on a real Slurm of two nodes, and a lab's PostgreSQL and S3, which live for the tests alone
	@bash scripts/get_slurm.sh
	@bash scripts/get_lab.sh "$(VENV)"
	@$(PYTEST) -m "cluster and not gpu and not network"

test-gpu: setup-test ## Run the tests that need an accelerator
	@$(PYTEST) -m gpu

test-browser: setup-test ## Run the tests that drive a browser
	@bash scripts/find_browser.sh
	@$(PYTEST) -m browser

test-transformers: setup-test ## Load our language models with other releases of transformers, in environments of their own
	@bash scripts/test_transformers.sh "$(VENV)"

lint: setup-lint ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: setup-lint ## Rewrite the code in the project's style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: setup-test ## Run the benchmarks side by side with what they are compared to
	@$(BIN)/python -m bench

bench-gpu: setup-test ## Measure on this machine's GPU (docs/gpu.md): inputs, nine minutes, scores
	@test -f bench/gpu/inputs/about.json || $(BIN)/python -m bench.gpu prepare
	@$(BIN)/python -m bench.gpu --out gpu_results || test -f gpu_results/report.json
	@$(BIN)/python -m bench.gpu score gpu_results

up: setup ## Open Dagster and MLflow on 127.0.0.1 (Ctrl-C stops both)
	@$(BIN)/figment up

constraints: setup-lint ## Resolve constraints.txt anew
	@bash scripts/resolve_constraints.sh "$(VENV)"

clean: ## Remove the virtual environment and tool caches (never data/ or .figment/)
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find app assets formats orchestration stages training tests -name __pycache__ -type d -prune -exec rm -rf {} +
