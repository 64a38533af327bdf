# The lab's few commands. Each creates what it needs first; nothing but Python 3.11+ and make is asked for.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
PIP     = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help app lab test check book figures clean

help:
	@echo "make app    open the dashboard in your browser, with the built-in model, offline"
	@echo "make lab    open the course in JupyterLab"
	@echo "make test   lint, types, every test, the notebooks and the book"
	@echo "make book   build the course as a web site: book/_build/html/index.html"

# One stamp file a set of packages, made anew when what it depends on changes.
$(VENV)/.app: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) -e ".[apps]"
	@touch $@

$(VENV)/.lab: $(VENV)/.app
	$(PIP) -e ".[apps,notebooks]"
	@touch $@

# The peers come without what they depend on: torchvision has no CPU build, and its CUDA build,
# installed alone, is enough for open_clip to be imported beside a CPU torch (tests/peers.py).
$(VENV)/.dev: $(VENV)/.app
	$(PIP) -e ".[dev]"
	$(PIP) transformers protobuf
	$(PIP) --no-deps open_clip_torch timm torchvision clip_benchmark webdataset braceexpand
	@touch $@

app: $(VENV)/.app
	$(BIN)/clip-lab app

lab: $(VENV)/.lab
	$(BIN)/clip-lab lab

book: $(VENV)/.dev
	$(BIN)/python -m sphinx -W -b html book book/_build/html

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/pyright

test: check
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

figures: $(VENV)/.dev
	$(BIN)/python scripts/figures.py
	$(BIN)/python scripts/screenshots.py

clean:
	rm -rf $(VENV) book/_build
