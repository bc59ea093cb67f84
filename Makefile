# Two commands: `make reproduce` runs the notebooks and prints the table, `make test` runs every test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PARLIB_CACHE ?= $(CURDIR)/.cache
# Threads that wait asleep: on a machine with other work the default (spinning) can be ten times slower.
export OMP_WAIT_POLICY ?= PASSIVE

COMMIT := $(shell git rev-parse --short HEAD 2>/dev/null || echo nogit)$(shell git diff --quiet HEAD 2>/dev/null || echo -changed)
RUN ?= $(CURDIR)/runs/$(shell date +%Y-%m-%d)-$(COMMIT)
CHROMIUM := $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)

.PHONY: reproduce test install lab explore notebooks records lint mutate lock clean

install: $(VENV)/installed

$(VENV)/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v[:2] >= (3, 11) else f"Python 3.11 or newer is needed, $(PYTHON) is {v[0]}.{v[1]}; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

# Never over notebooks/: copies with outputs, records and figures go to runs/<date>-<commit>/. NOTEBOOKS= some of them.
reproduce: install
	PARLIB_RUNS=$(RUN) $(BIN)/python tools/execute_notebooks.py --out $(RUN)/notebooks $(NOTEBOOKS)
	@echo; $(BIN)/parlib table $(RUN)/records
	@echo; echo "notebooks with outputs: $(RUN)/notebooks"; echo "records and trained head: $(RUN)"; echo "rendered images and features: $(PARLIB_CACHE)"

test: install chromium lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=term tests
	$(BIN)/python tools/mutate.py
	rm -rf $(PARLIB_CACHE)/runs-nbval
	PARLIB_RUNS=$(PARLIB_CACHE)/runs-nbval $(BIN)/python -m pytest --nbval --nbval-current-env --nbval-cell-timeout=120 \
	    --nbval-sanitize-with tests/nbval.cfg notebooks

.PHONY: chromium
chromium:
ifeq ($(CHROMIUM),)
	@{ command -v apt-get && [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq chromium; } >/dev/null \
	    || { echo "the browser tests need Chromium: install it (Debian: apt-get install chromium) and run make test again" >&2; exit 1; }
endif

lint: install
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

# Every small change of the scores and the protocols has to fail a test, or be explained in tests/survivors.yaml.
mutate: install
	$(BIN)/python tools/mutate.py

# Records of three seeds: of the rendered benchmarks, or of a real tree with ROOT=/a/real/tree BENCHMARK=pa100k NAME=sample.
BENCHMARK ?= pa100k
NAME ?= sample
records: install
	$(BIN)/python tools/records.py $(if $(ROOT),--root $(ROOT) --benchmark $(BENCHMARK) --name $(NAME))

# Jupyter servers drop a message above 10 MB, and with it a large picture that is uploaded to an explorer.
UPLOADS := tornado_settings={"websocket_max_message_size":200000000}
lab: install
	$(BIN)/jupyter lab notebooks --ServerApp.'$(UPLOADS)'

# The explorers as one page; head and features of the first visit are kept for the next.
explore: install
	$(BIN)/voila tools/explore.py --VoilaConfiguration.extension_language_mapping='{".py": "python"}' --Voila.'$(UPLOADS)'

# Remakes the committed notebooks in place, small profile.
notebooks: install
	PARLIB_RUNS=$(PARLIB_CACHE)/runs-notebooks $(BIN)/python tools/execute_notebooks.py

# Exact pins of everything installed, from pyproject.toml alone in a fresh environment.
lock:
	rm -rf $(PARLIB_CACHE)/lock && $(PYTHON) -m venv $(PARLIB_CACHE)/lock
	$(PARLIB_CACHE)/lock/bin/pip install --quiet --disable-pip-version-check ".[test]"
	{ echo "# Made by make lock from pyproject.toml. Do not edit."; \
	  $(PARLIB_CACHE)/lock/bin/pip freeze --exclude parlib \
	    | sed "s/+cpu$$//; s/^atheris==.*/&; sys_platform == 'linux'/"; } > requirements.lock
	rm -rf $(PARLIB_CACHE)/lock

clean:
	rm -rf $(VENV) .cache runs
