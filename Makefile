# Needs python3 (3.11 or newer), git and make; everything else is fetched into this checkout.
.DEFAULT_GOAL := help
.PHONY: help bootstrap browser demo test retest check style layers dependencies types rules chaos bench screenshots clean

BIN := .venv/bin
PYTEST_ARGS ?=

help: ## Show what there is to do
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

bootstrap: ## Make .venv from the lock file (the other targets do it themselves)
	@scripts/bootstrap.sh

demo: bootstrap ## Play the whole story against local sandboxes, then stay up
	@$(BIN)/billhook demo

browser: ## Make .venv ready for browser tests, and see to a Chromium and axe
	@scripts/bootstrap.sh --group e2e
	@scripts/browser.sh

test: browser ## Run every test on all cores (at most four)
	@$(BIN)/pytest -q -n auto --maxprocesses 4 $(PYTEST_ARGS)

retest: browser ## Run what failed last time once more, one after the other
	@$(BIN)/pytest -q --last-failed --last-failed-no-failures none $(PYTEST_ARGS)

check: style layers dependencies types rules ## Style, layers, dependencies, types, house rules (-k: do not stop at the first)

style: bootstrap
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

layers: bootstrap
	$(BIN)/lint-imports --no-logo

dependencies: bootstrap
	for package in core web plugins/*/; do (cd $$package && '$(CURDIR)/$(BIN)/deptry' src) || exit 1; done

types: bootstrap
	$(BIN)/mypy

rules: bootstrap
	$(BIN)/pytest -q $(wildcard tests/test_rules.py tests/test_workspace_*.py tests/test_docs*.py)

bench: bootstrap ## Measure what the flow costs
	@for script in benchmarks/bench_*.py; do $(BIN)/python -m benchmarks.$$(basename $$script .py) || exit 1; done

chaos: bootstrap ## Break everything while money moves, then compare the books (CHAOS_ARGS="--quick --payer stripe")
	@$(BIN)/python -m chaos.run_chaos $(CHAOS_ARGS)

screenshots: browser ## Take pictures of the pages for customers
	@$(BIN)/python -m tests.browser.screenshots

clean: ## Remove what the other targets made
	rm -rf .venv .bootstrap .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .screenshots
	find . -name __pycache__ -prune -exec rm -rf {} +
