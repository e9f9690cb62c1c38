# make demo · make test · make fuzz · make benchmark · make pictures
# Each sets up what it needs: the virtual environment .venv, and on Debian (as root) the system
# libraries that Qt and OpenGL need; elsewhere it says what is missing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
XVFB := xvfb-run -a -s "-screen 0 1600x1000x24 +extension GLX"
# One shell a recipe, so that a failure anywhere stops it.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c

.PHONY: install demo test lint house fuzz benchmark pictures clean
install: $(VENV)/installed

# A framework of another package, with which the tests prove the open interface.
EXAMPLE := tests/example_framework

$(VENV)/installed: pyproject.toml constraints.txt scripts/install_system_libraries.sh \
		$(wildcard $(EXAMPLE)/pyproject.toml $(EXAMPLE)/*/*.py)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	scripts/install_system_libraries.sh
	# torch first and by its exact version: what asks for it later finds it there.
	$(BIN)/python -m pip install --quiet "$$(grep -E '^torch==' constraints.txt)"
	$(BIN)/python scripts/development_packages.py > $(VENV)/development.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . --requirement $(VENV)/development.txt
	$(BIN)/python -m pip install --quiet --no-deps --force-reinstall ./$(EXAMPLE)
	touch $@

demo: install
	if [ "$$(uname)" != Linux ] || [ -n "$${DISPLAY:-}" ] || [ -n "$${WAYLAND_DISPLAY:-}" ]; then \
	  $(BIN)/napari-neuroscope demo; \
	else \
	  echo "There is no screen: the demo opens on a virtual one and is saved as demo.png."; \
	  $(XVFB) $(BIN)/napari-neuroscope demo --screenshot demo.png; \
	fi

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/npe2 validate src/napari_neuroscope/napari.yaml

# In as many processes as there are cores; windows in two at most, on one screen.
test: lint
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --ignore tests/widgets
	if [ "$$(uname)" = Linux ]; then $(XVFB) $(BIN)/python -m pytest -n auto --maxprocesses 2 --dist loadfile tests/widgets; \
	else $(BIN)/python -m pytest tests/widgets; fi

# How the house stands: circles, floors, sizes, names.
house: install
	$(BIN)/python scripts/house.py

# 10,000 files with random faults of each kind that is read; it takes hours. What was being read when
# a process ended lies in fuzz/.
FUZZ ?= 10000
fuzz: install
	NEUROSCOPE_FUZZ=$(FUZZ) NEUROSCOPE_FUZZ_FOLDER=fuzz $(BIN)/python -m pytest -n auto --maxprocesses 4 tests/fuzz

benchmark: install
	benchmarks/run.sh

pictures: install
	if [ "$$(uname)" != Linux ] || [ -n "$${DISPLAY:-}" ]; then $(BIN)/python scripts/make_pictures.py; \
	else $(XVFB) $(BIN)/python scripts/make_pictures.py; fi

clean:
	rm -rf $(VENV) .venv-benchmark fuzz
