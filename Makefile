# The only door: people, hooks and CI all come in here. `make` alone lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# What the book runs: smoke, laptop, study or gpu (notebooks/params/*.yml)
PROFILE ?= laptop
# How many chapters run at the same time: the small ones wait for imports more than for each other
JOBS ?= $(if $(filter smoke,$(PROFILE)),2,1)
# How long to fuzz, from which seed (drawn where empty), and one input of it to try again
MINUTES ?= 5
SEED ?=
INPUT ?=
# Which interpreter .venv is made of: a version range or a path
PYTHON ?= >=3.11,<3.14

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
HTML := _build/html
SITE := results/site
# The chapter to publish alone; all of them where empty
CHAPTER ?=
# uv: the one on PATH, else the one that `make install` fetches
UV := $(shell uv --version >/dev/null 2>&1 && command -v uv || echo build/uv/bin/uv)

export PYTHONUTF8 := 1
# Some images forbid bytecode: each of some twenty processes would then compile all of torch again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install lock format check test smoke book build built html pages pdf publish site archive bench fuzz ci clean

help:  ## List the targets
	@echo "usage: make TARGET [PROFILE=smoke|laptop|study|gpu] [JOBS=2] [PYTHON=3.12]"
	@echo
	@sed -nE 's/^([a-z]+):.*  ## (.*)/  \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 12

install: $(STAMP)  ## Make .venv from the hashed lock (quick when nothing changed)

$(STAMP): requirements.lock pyproject.toml
	@command -v $(UV) >/dev/null || $(MAKE) --no-print-directory build/uv/bin/uv
	@[ -x $(BIN)/python ] || $(UV) venv --quiet --python "$(PYTHON)" $(VENV)
	$(UV) pip sync --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

# pip is not everywhere: Debian splits it and venv off its python3.
build/uv/bin/uv:
	@echo "Fetching uv"
	@python3 -m pip install --quiet --disable-pip-version-check --target build/uv uv 2>/dev/null \
		|| { python3 -m venv build/uv-venv >/dev/null 2>&1 \
			&& build/uv-venv/bin/pip install --quiet --disable-pip-version-check --target build/uv uv; } \
		|| { echo "No uv, and this python3 has neither pip nor venv to fetch it with."; \
			echo "On Debian or Ubuntu: apt install python3-venv; elsewhere install uv. Then call make again."; \
			rm -rf build/uv build/uv-venv; exit 1; } >&2

lock: install  ## Resolve requirements.lock again from pyproject.toml
	$(UV) pip compile --quiet --universal --fork-strategy fewest --generate-hashes --no-emit-index-url \
		--python-version 3.11 --all-extras --custom-compile-command "make lock" \
		pyproject.toml --output-file requirements.lock

format: install  ## Rewrite the sources in the one style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: install  ## Style, lint, types, floors, lock and environment
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q -p no:cacheprovider tests/book/test_consistency.py

# One thread for each process that tests: two threads that wait for each other are slower than one.
TEST := OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto

test: install  ## Unit tests and the chapters against their stored smoke outputs
	$(TEST) --dist loadscope --no-loadscope-reorder --nbval

smoke: PROFILE := smoke
smoke: book  ## The book from the smallest run

book: install  ## Run the chapters with PROFILE (default laptop) and build the book
	$(BIN)/python -m thesis_lib run --all --profile $(PROFILE) --jobs $(JOBS)
	@$(MAKE) --no-print-directory html PROFILE=$(PROFILE)
	@if [ -t 1 ] && [ -n "$${DISPLAY:-}$${WAYLAND_DISPLAY:-}" ]; then $(BIN)/python -m webbrowser "file://$(CURDIR)/$(HTML)/index.html"; fi

# Chapters that were published with the profile study: records have all that these show.
STUDIED = $(notdir $(patsubst %/run.json,%,$(shell grep -ls '"profile": "study"' published/*/run.json)))

site: install  ## The public site: the book from published/, its study from the records of its runs
	rm -rf $(SITE)
	[ -z "$(STUDIED)" ] || $(BIN)/python -m thesis_lib run $(STUDIED) $(if $(word 2,$(STUDIED)),--jobs 2) --profile study \
		--minutes 0 --records any --into $(SITE)
	$(BIN)/python -m thesis_lib stage --root published --root $(SITE)
	@$(MAKE) --no-print-directory build

publish: install  ## Keep the results of PROFILE in published/ (CHAPTER=2: of one) and show them in README
	$(BIN)/python -m thesis_lib publish --profile $(PROFILE) $(CHAPTER)
	$(BIN)/python book/readme.py
	$(BIN)/python book/metadata.py

archive: site  ## One file for Zenodo: what is committed, the public site, checksums; build/archive
	$(BIN)/python book/archive.py

html: install  ## Build the book from the results that PROFILE left
	$(BIN)/python -m thesis_lib stage --profile $(PROFILE)
	@$(MAKE) --no-print-directory build

# Built from nothing each time: Sphinx repeats no warning about a page that it takes from its cache.
build: install
	rm -rf _build
	$(BIN)/python benchmarks/pages.py
	$(BIN)/jb build -n -W --keep-going .
	THESIS_HTML=$(HTML) $(BIN)/pytest -q -p no:cacheprovider tests/book/test_book.py
	@echo "The book: file://$(CURDIR)/$(HTML)/index.html"

# The tests start the browser themselves, and say why they are skipped where there is none.
pages: built  ## Look at the built pages in the system's Chromium: links, contrast, keyboard, size
	@command -v chromium chromium-browser google-chrome >/dev/null || [ -n "$${CHROMIUM:-}" ] \
		|| echo "No Chromium: the pages are not looked at. On Debian: apt install chromium; or CHROMIUM=path."
	THESIS_HTML=$(HTML) $(TEST) -p no:cacheprovider -p no:randomly tests/pages

pdf: built  ## One PDF of the built pages, printed by the system's Chromium
	$(BIN)/python book/print.py $(HTML) _build/book.pdf

built: install
	@[ -f $(HTML)/index.html ] || { echo "No pages yet: call make book, make html or make site first."; exit 1; } >&2

# MONAI calls a function of its own that it deprecates.
bench: install  ## Time our work next to what else does it, and how it grows; results/*.json
	$(BIN)/python -W ignore::FutureWarning:monai.utils.deprecate_utils benchmarks/bench.py
	$(BIN)/python benchmarks/growing.py

fuzz: install  ## Damaged files, odd parameters and kills: MINUTES=5 [SEED=7 [INPUT=123]]
	PYTHONPATH="tests/fuzz:tests/saltvolumes:tests/thesis_lib$${PYTHONPATH:+:$$PYTHONPATH}" \
		$(BIN)/python tests/fuzz/campaign.py --minutes $(MINUTES) $(SEED:%=--seed %) $(INPUT:%=--input %)

ci: check test  ## What the forge runs: check, test, strict book of the smoke results, its pages
	@$(MAKE) --no-print-directory html PROFILE=smoke
	@$(MAKE) --no-print-directory pages

clean:  ## Remove what was built and computed; .venv stays
	rm -rf _build build results runs book/chapters book/results *.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
