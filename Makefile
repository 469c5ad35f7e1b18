# Every way into the project. CI runs the same targets (.ci/run, .github/workflows/ci.yaml).
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

STATE ?= .local
PY := .venv/bin/python
RULES := STATE=$(STATE) $(PY) -m knative.local.rules
FUNCTIONS := auth users presign waste locations live web ingest identify retrieve generate grade aggregate recover s3source setup
UV_VERSION := 0.13.9

.PHONY: help run test lint types analyze trace replay recount report centres search corpus eval curve vectors bench lock schemas check-cluster sizes render deploy rollback clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1|/' | column -t -s '|'

run: .venv/.stamp ## start everything, analyse the sample photo, serve until Ctrl-C (ONCE=1: stop after the sample; PORT=8080)
	@exec $(PY) -m knative.local run --state $(STATE) $(if $(ONCE),--once) $(if $(PORT),--port $(PORT))

test: lint types ## lint, types and every test, against the real servers
	@$(PY) -m pytest -n 3 --no-loadscope-reorder --cov --cov-report=term:skip-covered --cov-fail-under=85 $(ARGS)

lint: .venv/.stamp ## ruff: style and format
	@$(PY) -m ruff check . && $(PY) -m ruff format --check .

types: .venv/.stamp ## mypy --strict
	@$(PY) -m mypy functions knative tests

analyze: .venv/.stamp ## send a photo to the running system: PHOTO=bottle.jpg Q="뚜껑은요?"
	@$(PY) -m knative.local analyze --state $(STATE) --photo "$${PHOTO:-}" --question "$${Q:-}"

trace: .venv/.stamp ## one analysis as a timeline: ID=<analysis id>
	@$(PY) -m knative.local trace --state $(STATE) "$(if $(ID),,$(error Say which analysis: make trace ID=…))$$ID"

replay: .venv/.stamp ## drive a dead letter again: ID=<dead letter id>
	@$(PY) -m knative.local replay --state $(STATE) "$(if $(ID),,$(error Say which dead letter: make replay ID=…))$$ID"

recount: .venv/.stamp ## count all statistics and lessons anew and print what differs from what is stored; changes nothing
	@$(PY) -m knative.local recount --state $(STATE)

report: .venv/.stamp ## analyses, costs, tokens, caches, grades, failures, disputes of DATABASE_URL or the running system (DAYS=30, JSON=1)
	@$(PY) -m knative.local report --state $(STATE) --days "$${DAYS:-30}" $(if $(JSON),--json)

centres: .venv/.stamp ## import the bulk file of recycling centres into DATABASE_URL or the running system: FILE=centres.json
	@$(PY) -m knative.local centres --state $(STATE) "$(if $(FILE),,$(error Say which file: make centres FILE=…))$$FILE"

search: .venv/.stamp ## search the rules; one JSON document: Q="깨진 유리컵" (REGION=, HOUSING=apartment or house; FILE=, a question a line)
	@$(RULES) search $(if $(REGION),--region "$$REGION") $(if $(HOUSING),--housing "$$HOUSING") $(if $(FILE),--file "$$FILE",$(if $(Q),-- "$$Q",$(error Say what to look for: make search Q=… or FILE=…)))

corpus: .venv/.stamp ## check the rules and print what they cover (OFFICIAL=, a table of the dictionary to hold them against)
	@$(PY) rag-index validate $(if $(OFFICIAL),--official "$$OFFICIAL")

eval: .venv/.stamp ## ask the labelled questions, of our search and of three simpler ones (ARGS="--half tune --wrong")
	@$(RULES) evaluate $(ARGS)

curve: .venv/.stamp ## what a search costs, here and at synthetic sizes up to 100,000 names
	@$(RULES) curve

vectors: .venv/.stamp ## after the rules changed: make the embeddings that come with the project anew
	@$(PY) rag-index vectors

bench: .venv/.stamp ## POST analyze at 20 a second for 60 s, then every read at 50 a second for 60 s beside bare Flask: tables and JSON
	@$(PY) -m tests.bench --state $(STATE) $(ARGS)

lock: .venv/.stamp ## compile pyproject.toml's groups into the pinned, hashed requirements files
	@$(PY) -m pip install -q uv==$(UV_VERSION)
	@compile() { $(PY) -m uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -q "$$@"; }; \
	compile $(addprefix --group ,$(FUNCTIONS) local dev) -o requirements.txt; \
	for name in $(FUNCTIONS); do echo "functions/$$name/requirements.txt"; \
	  compile --group $$name -c requirements.txt -o functions/$$name/requirements.txt; done

schemas: .venv/.stamp ## write functions/shared/schemas/ from events.py, and the API's document from its routes
	@$(PY) -m functions.shared.schema
	@$(PY) -m knative.local.openapi

check-cluster: .venv/.stamp ## every check of what is applied and how: manifests, capacity, cost, images, CI, Terraform, Ansible; offline
	@$(PY) -m knative.check check

sizes: .venv/.stamp ## how large each function's image is, in MB, without building it
	@$(PY) -m knative.check sizes

render: .venv/.stamp ## everything that is applied to the cluster, as YAML: ENV=prod
	@$(PY) -m knative.check render "$(if $(ENV),,$(error Say which environment: make render ENV=prod))$$ENV"

deploy: .venv/.stamp ## build one function and roll it out alone: FUNCTION=grade ENV=dev (CANARY=10: that share of the traffic; DRY=1: print only)
	@$(PY) -m knative.check deploy $(if $(DRY),--dry) $(if $(CANARY),--canary $(CANARY)) "$(if $(FUNCTION),,$(error Say which function: make deploy FUNCTION=grade ENV=dev))$$FUNCTION" "$(if $(ENV),,$(error Say where: make deploy FUNCTION=grade ENV=dev))$$ENV"

rollback: .venv/.stamp ## all traffic of one function back to the revision before: FUNCTION=grade ENV=prod (DRY=1)
	@$(PY) -m knative.check rollback $(if $(DRY),--dry) "$(if $(FUNCTION),,$(error Say which function: make rollback FUNCTION=grade ENV=prod))$$FUNCTION" "$(if $(ENV),,$(error Say where: make rollback FUNCTION=grade ENV=prod))$$ENV"

clean: ## remove the state folder: database, photos, logs, fetched RabbitMQ
	@if [ -e $(STATE)/lock ] && ! flock -n $(STATE)/lock true; then echo "It is still running: stop it with Ctrl-C first." >&2; exit 1; fi
	@rm -rf $(STATE)

.venv/.stamp: requirements.txt
	@python=; for p in $${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do \
	  "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { python=$$p; break; }; done; \
	[ -n "$$python" ] || { echo "Python 3.11 or newer is needed and was not found: install it, or name it with PYTHON=/path/to/python3." >&2; exit 1; }; \
	"$$python" -c 'import venv, ensurepip' 2>/dev/null || { echo "Python's venv module is missing: install the package python3-venv (Debian, Ubuntu), or name another Python with PYTHON=/path/to/python3." >&2; exit 1; }; \
	echo "Setting up .venv: $$(grep -c == requirements.txt) packages, about a minute the first time." >&2; \
	"$$python" -m venv .venv; \
	$(PY) -m pip install --disable-pip-version-check --no-input --require-hashes --no-deps -r requirements.txt > .venv/install.log 2>&1 & pip=$$!; \
	trap "kill $$pip 2>/dev/null || true" EXIT; \
	while sleep 2; kill -0 $$pip 2>/dev/null; do \
	  if grep -q '^Installing' .venv/install.log; then doing="writing them"; else doing="$$(grep -c '^Collecting' .venv/install.log || true) of them fetched"; fi; \
	  printf '  %3s s: %s\r' "$$SECONDS" "$$doing" >&2; done; \
	wait $$pip || { echo "Installing the packages failed: $$(grep -E '^ERROR' .venv/install.log | head -1) (all of it: .venv/install.log)" >&2; exit 1; }; \
	echo "  .venv is ready.           " >&2; touch $@
