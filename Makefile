# Evercall. `make` alone lists what there is.

.DEFAULT_GOAL := help
SHELL := /bin/sh
VENV := .venv
PYTHON := $(VENV)/bin/python
LAB := $(PYTHON) -m deploy.lab
# A Python of 3.11 or later; which one can be said with `make PYTHON3=python3.12 …`.
PYTHON3 ?= python3

.PHONY: help venv setup up down status logs demo test check bench soak migrate docs lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: up ## everything from nothing: set up, start, place a call, listen to it, tell its story
	@$(PYTHON) -m deploy.lab.demo

test: up ## every test: unit, contract, end to end
	@$(PYTHON) -m pytest tests

check: venv ## format, lint, types, walls between packages, unit tests
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m mypy
	@$(VENV)/bin/lint-imports
	@$(PYTHON) -m pytest tests/unit

bench: up ## measure; the figures go to .lab/bench.json too
	@$(PYTHON) -m tests.bench

soak: up ## an hour of calls with kills, then a verdict on leaks and losses; MINUTES= RATE= SEED= KILL_EVERY=
	@$(PYTHON) -m tests.bench.soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(RATE),--rate $(RATE)) \
		$(if $(SEED),--seed $(SEED)) $(if $(KILL_EVERY),--kill-every $(KILL_EVERY))

venv: $(VENV)/.stamp ## the virtual environment, from the lock file

setup: venv ## the lab's root file system, databases, secrets; starts nothing
	@$(LAB) setup

up: venv ## set up what is missing and start everything
	@$(LAB) up

down: ## stop everything
	@test ! -x $(PYTHON) || $(LAB) down

status: venv ## every process with its address, state, version
	@$(LAB) status

logs: venv ## the end of the logs, and what comes after; P=name for one process
	@$(LAB) logs $(P)

migrate: venv ## bring the database's schema to the newest revision
	@$(LAB) migrate

docs: venv ## write the generated pages of docs/ anew
	@$(PYTHON) -m docs.generate

lock: ## resolve the dependencies anew into requirements.lock (needs uv)
	@command -v uv >/dev/null || { echo "lock: uv is missing"; echo "  -> pipx install uv"; exit 1; }
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --all-extras \
		--output-file requirements.lock pyproject.toml

clean: down ## stop everything, and remove all that was built: data and secrets too
	rm -rf .lab $(VENV)

$(VENV)/.stamp: requirements.lock pyproject.toml deploy/venv
	@sh deploy/venv $(PYTHON3) $(VENV)
