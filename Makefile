# Every target makes .venv by itself when it is missing. PYTHON=python3.12 make test chooses another interpreter.
PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin/python
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

# Python compiles what it imports; pip would take a minute to compile 17,000 files, most of which nothing imports.
PIP    := -m pip install --quiet --disable-pip-version-check --no-compile

.PHONY: demo test test-all test-cpus layer test-newest test-versions test-versions-lowest test-versions-newest
.PHONY: test-gpu lint site docs format bench clean

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) $(PIP) -c constraints.txt -e ".[test]"
	touch $@

demo: $(VENV)/.ready          ## README's quick start: train, evaluate, save, reload and ask a classifier of requests
	$(RUN) -m hfseq train text-classification embedded --model gru --out runs/intents
	$(RUN) -m hfseq predict runs/intents "will it rain in Oslo tomorrow?" "play some jazz"

# A worker takes neighbouring tests, so that what a file prepares once is seldom prepared in both workers.
WORKERS := -n 2 --dist worksteal
test: $(VENV)/.ready          ## what CI runs (after lint)
	$(RUN) -m pytest $(WORKERS) --durations=20
	HFSEQ_TEST_XET=1 $(RUN) -m pytest -n 2 tests/mini_hub tests/hub/test_hub.py

test-all: $(VENV)/.ready      ## also the slow checks, every check in every configuration, and the notebooks
	$(RUN) -m pytest $(WORKERS) --durations=20 -m ""
	HFSEQ_TEST_XET=1 $(RUN) -m pytest -n 2 -m "" tests/mini_hub tests/hub/test_hub.py
	$(RUN) docs/run.py --all

# An environment over .venv that holds the newest transformers and what it demands. The first install takes it from the
# index or fails (without network, pip would be content with the one below); the second adds what is missing.
LAYER := $(VENV)-layer
KERNELS := HF_ASSETS_CACHE=$(CURDIR)/$(VENV)/.cache/assets NUMBA_CACHE_DIR=$(CURDIR)/$(VENV)/.cache/numba
layer: $(VENV)/.ready
	$(RUN) tests/versions.py layer $(LAYER)
	$(LAYER)/bin/python $(PIP) --ignore-installed --no-deps "$$($(RUN) tests/versions.py transformers)"
	$(LAYER)/bin/python $(PIP) "$$($(RUN) tests/versions.py transformers)"
	$(LAYER)/bin/python tests/versions.py installed

test-newest: layer            ## generation, and one configuration a family of the contract, on the newest transformers
	$(KERNELS) $(LAYER)/bin/python -m pytest -n 2 -m "newest and not slow" tests/contract tests/generation

# Fresh environments, for the newest releases are others tomorrow.
test-versions: test-versions-lowest test-versions-newest ## what other releases may break, at both ends of the ranges

test-versions-lowest test-versions-newest: test-versions-%:
	rm -rf $(VENV)-$*
	$(PYTHON) -m venv $(VENV)-$*
	$(VENV)-$*/bin/python $(PIP) packaging tomli
	$(VENV)-$*/bin/python tests/versions.py $* > $(VENV)-$*/constraints.txt
	$(VENV)-$*/bin/python $(PIP) -c $(VENV)-$*/constraints.txt -e ".[test]"
	$(VENV)-$*/bin/python tests/versions.py installed
	$(VENV)-$*/bin/python -m pytest -n 2 -m "versions and not slow"

test-cpus: $(VENV)/.ready     ## the numerical tests as an older CPU computes them, and with two threads
	$(RUN) tests/cpus.py

test-gpu: $(VENV)/.ready      ## what needs an NVIDIA GPU, ten minutes; torch of the index must be one for CUDA
	$(RUN) tests/gpu/run.py

lint: $(VENV)/.ready
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

site: $(VENV)/.ready          ## the site, strictly, in build/docs
	$(RUN) $(PIP) -c constraints.txt -e ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict

docs: site                    ## the site; then the commands and the Python of README and docs/ are run, offline
	$(RUN) docs/run.py --site build/docs

format: $(VENV)/.ready
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

bench: $(VENV)/.ready
	for script in benchmarks/*.py; do $(RUN) $$script || exit 1; done

clean:
	rm -rf $(VENV) $(VENV)-* build dist *.egg-info runs
