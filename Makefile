# Two commands: `make demo` and `make test`. Everything is installed into .venv; nothing else is touched.
.DEFAULT_GOAL := help
PYTHON ?= python3
CORES ?= 2
VENV := .venv
BIN := $(VENV)/bin

DATA ?= resources/genies/distributions
FIGURES ?= results/reliability.md

.PHONY: help demo test torture bench lint format docs clean

help:
	@echo "make demo    run the default configuration to results/demo/report.html"
	@echo "make test    run the tests"
	@echo "make torture kill, damage and fill disks at length; figures go to $(FIGURES)"
	@echo "make bench   time extraction and fits; DATA= names a folder with alpaca_mmlu, arc_easy and code"
	@echo "make lint    check format, lint and the workflow"
	@echo "make format  format the code"
	@echo "make docs    write what is generated from the schema and pyproject.toml"

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "genies needs Python 3.11 or later")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/snakemake --cores $(CORES)

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest --numprocesses $(CORES) --dist loadfile --no-loadscope-reorder

torture: $(VENV)/.installed-test
	rm -f $(FIGURES)
	GENIES_FIGURES=$(abspath $(FIGURES)) $(BIN)/python -m pytest -m '' --numprocesses $(CORES) --dist loadfile --no-loadscope-reorder \
		tests/reliability tests/workflow/test_kills.py

bench: $(VENV)/.installed
	$(BIN)/python benchmarks/extraction.py $(DATA)
	$(BIN)/python benchmarks/precision.py
	$(BIN)/python benchmarks/warm.py
	$(BIN)/python benchmarks/workflow.py

lint: $(VENV)/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

docs: $(VENV)/.installed
	$(BIN)/python -m genies.generated

clean:
	rm -rf $(VENV)
