# Two commands do everything: `make figures` and `make test`. Both make .venv first.
PYTHON ?= python3
BIN := .venv/bin
export PYTHONUNBUFFERED := 1

# tests run two at a time with one thread each: two threads each would wait for each other (vad-nb bench threads)
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup --durations 15 tests

.PHONY: figures test test-data lab docs readme broken clean

figures: .venv/ready          ## train on the built-in scene and draw figures 1 to 8 in figures-here/
	$(BIN)/vad-nb figures 1 2 3 4 5 6 7 8 --out figures-here

test: .venv/ready             ## exported modules in sync, notebooks clean, every notebook, every test
	$(TEST)

test-data: .venv/ready        ## only what reads real data, from the folder that VAD_NB_DATA names
	@test -n "$$VAD_NB_DATA" || { echo "make test-data: expected VAD_NB_DATA, the folder of the data sets, found none"; exit 2; }
	$(TEST) -m data

lab: .venv/ready              ## read and run the notebooks
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/nbs/index.ipynb

docs: .venv/ready             ## the documentation site, in _docs/site/index.html; reads offline
	$(BIN)/python docs/build.py _docs/site

readme: .venv/ready           ## README.md from nbs/index.ipynb
	$(BIN)/python tools/readme.py

broken: .venv/ready           ## docs/broken_inputs.md: what is said to each broken file
	$(BIN)/python tools/broken.py

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "vad_nb needs Python 3.10 or newer: make PYTHON=/path/to/python3 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

clean:                        ## remove the environment and what was made here
	rm -rf .venv runs figures-here build _docs *.egg-info
