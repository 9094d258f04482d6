# make demo   sets up .venv and runs the main job on drawn faces
# make test   sets up .venv and passes linters, types and tests; the manual is built by one of them
# make check-all   the slow checks: long fuzzing, faults, many runs, pins, wheels; needs the package index
# make gpu    runs the tests and timings for a GPU, or says why not; one JSON
# make docs   builds the manual into docs/_build/html; any warning is an error
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
DEMO := demo

.PHONY: demo test check-all lint docs gpu clean

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable .
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[dev,docs,mediapipe,huggingface,review,annotators,map]'
	@touch $@ $(VENV)/.run

demo: $(VENV)/.run
	$(BIN)/fercleaner demo $(DEMO) --force
	$(BIN)/fercleaner refine $(DEMO) --method hypergraph --encoder hog \
		--landmarks points:$(DEMO)/landmarks.npz --out $(DEMO)/demo.refined.parquet --force
	$(BIN)/fercleaner show $(DEMO)/demo.refined.parquet --top 5
	$(BIN)/fercleaner evaluate $(DEMO)/demo.refined.parquet --truth $(DEMO)/clean_labels.csv

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -rs

# Interpreters that wheel and sdist are installed under; cases a reader; runs in one process, processes on one cache.
PYTHONS ?= python3
CASES ?= 10000
RUNS ?= 500
PROCESSES ?= 200

check-all: test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m hypothesis --hypothesis-profile=random
	$(BIN)/python benchmarks/fuzz_readers.py --cases $(CASES) --out benchmarks/results/fuzz_readers.json
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/robustness.py --runs $(RUNS) --processes $(PROCESSES)
	$(PIP) --editable '.[federated,ray]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check moto flask flask-cors gcp-storage-emulator
	FERCLEANER_PROGRAMS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -rs tests/federation tests/engine
	$(BIN)/python benchmarks/licenses.py
	$(BIN)/python benchmarks/wheels.py --pins --out benchmarks/results/pins.json
	$(BIN)/python benchmarks/wheels.py --python $(PYTHONS)

docs: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -b html -W --keep-going -q docs docs/_build/html

gpu: $(VENV)/.test
	$(BIN)/python benchmarks/gpu.py

clean:
	rm -rf $(VENV) $(DEMO) build *.egg-info docs/_build docs/made docs/auto_examples
