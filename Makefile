# Every target makes .venv by itself when it is missing. PYTHON=python3.12 make test chooses another interpreter.
PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin/python
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: demo test test-all test-cpus lint format bench clean

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	touch $@

demo: $(VENV)/.ready          ## train, evaluate, save, reload and ask an LSTM intent classifier
	$(RUN) recipes/text_classification.py --config recipes/configs/text_classification/lstm_embedded.yaml

test: $(VENV)/.ready          ## what CI runs (after lint)
	$(RUN) -m pytest -n 2
	HFSEQ_TEST_XET=1 $(RUN) -m pytest -n 2 tests/mini_hub tests/test_hub.py

test-all: $(VENV)/.ready      ## also the slow checks
	$(RUN) -m pytest -n 2 -m ""
	HFSEQ_TEST_XET=1 $(RUN) -m pytest -n 2 -m "" tests/mini_hub tests/test_hub.py

test-cpus: $(VENV)/.ready     ## the numerical tests as an older CPU computes them, and with two threads
	$(RUN) tests/cpus.py

lint: $(VENV)/.ready
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(VENV)/.ready
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

bench: $(VENV)/.ready
	for script in benchmarks/*.py; do $(RUN) $$script || exit 1; done

clean:
	rm -rf $(VENV) build dist *.egg-info runs
