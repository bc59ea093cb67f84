# `make reproduce` carries out the plan and prints the tables. `make test` is the quick gate, `make test-long` the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PARLIB_CACHE ?= $(CURDIR)/.cache
# Threads sleep while they wait: on a busy machine the default (spinning) can be ten times slower.
export OMP_WAIT_POLICY ?= PASSIVE
# Jupyter looks here first, so that a `python3` kernel of another environment is never started.
export JUPYTER_PATH := $(abspath $(VENV))/share/jupyter:$(JUPYTER_PATH)

COMMIT := $(shell git rev-parse --short HEAD 2>/dev/null || echo nogit)$(shell git diff --quiet HEAD 2>/dev/null || echo -changed)
RUN ?= $(CURDIR)/runs/$(shell date +%Y-%m-%d)-$(COMMIT)
CHROMIUM := $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)

.PHONY: reproduce run-notebooks rehearse test test-long install chromium lint mutate records lab explore notebooks house lock lowest newest clean

install: $(VENV)/installed

$(VENV)/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v[:2] >= (3, 11) else f"Python 3.11 or newer is needed, $(PYTHON) is {v[0]}.{v[1]}; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

# Every cell of the profile's plan, and the report. Finished cells are kept: a run that was stopped goes on with RUN=its folder.
# Other options of `parlib reproduce`: OPTIONS="--benchmarks pa100k --seeds 0,1,2 --plan".
PROCESSES ?= $(if $(filter paper,$(PARLIB_PROFILE)),1,2)
reproduce: install
	$(BIN)/parlib reproduce --processes $(PROCESSES) --out $(RUN) $(OPTIONS)

# Leaves notebooks/ as it is: copies with outputs, records and heads go to runs/<date>-<commit>/. NOTEBOOKS= some of them.
run-notebooks: install
	PARLIB_RUNS=$(RUN) $(BIN)/python tools/execute_notebooks.py --out $(RUN)/notebooks $(NOTEBOOKS)
	@echo; echo "notebooks with outputs: $(RUN)/notebooks"; echo "records and heads: $(RUN)"; echo "rendered images and features: $(PARLIB_CACHE)"

# The profile `paper` end to end at the true shapes, with random weights, a few rendered images and one epoch.
rehearse: install
	$(BIN)/python tools/rehearse.py --out $(RUN)-rehearsal

# The quick gate: style, types, quick tests, explorers in a browser, and all notebooks compared with what is committed.
# Notebooks run beside the tests in a process of their own: cells need their order, and kernels do not start under a tracer.
# Coverage of both gates is added up by test-long. COVERAGE=0 does without.
COVERAGE ?= 1
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadgroup
TRACED := $(if $(filter 1,$(COVERAGE)),--cov --cov-report= --cov-fail-under=0)
NBVAL := --nbval --nbval-current-env --nbval-cell-timeout=1200 --nbval-sanitize-with tests/nbval.cfg
test: install chromium lint
	rm -rf $(PARLIB_CACHE)/runs-nbval && mkdir -p $(PARLIB_CACHE)
	PARLIB_RUNS=$(PARLIB_CACHE)/runs-nbval $(BIN)/python -m pytest $(NBVAL) notebooks >$(PARLIB_CACHE)/nbval.log 2>&1 & notebooks=$$!; \
	    COVERAGE_FILE=$(PARLIB_CACHE)/coverage.quick $(PYTEST) $(TRACED) -m "not long" tests; tests=$$?; \
	    wait $$notebooks; compared=$$?; cat $(PARLIB_CACHE)/nbval.log; exit $$((tests + compared))

# The long gate: kills, fuzzing, mutants, JupyterLab, pretraining, several processes, a wheel without a compiler, and the
# share of lines that both gates cover (run `make test` first).
test-long: install chromium mutate
	COVERAGE_FILE=$(PARLIB_CACHE)/coverage.long $(PYTEST) $(TRACED) --durations=15 -m long tests
ifeq ($(COVERAGE),1)
	@test -f $(PARLIB_CACHE)/coverage.quick || { echo "no coverage of the quick tests: run make test first" >&2; exit 1; }
	COVERAGE_FILE=$(PARLIB_CACHE)/coverage $(BIN)/coverage combine --keep --quiet $(PARLIB_CACHE)/coverage.quick $(PARLIB_CACHE)/coverage.long
	COVERAGE_FILE=$(PARLIB_CACHE)/coverage $(BIN)/coverage report
endif

chromium:
ifeq ($(CHROMIUM),)
	@{ command -v apt-get && [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq chromium; } >/dev/null \
	    || { echo "the browser tests need Chromium: install it (Debian: apt-get install chromium) and run the same again" >&2; exit 1; }
endif

lint: install
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

# Every small change to the scores must fail a test or be explained in tests/survivors.yaml.
mutate: install
	$(BIN)/python tools/mutate.py

# The records of three seeds that are kept with the project, of the rendered benchmarks; PARLIB_PROFILE=sample with PARLIB_DATA
# makes those of a real tree. METHODS=group:ablation makes the ablation. Copy what is to be kept from runs/records to records/.
records: install
	$(BIN)/parlib reproduce --processes $(PROCESSES) --seeds 0,1,2 --out $(CURDIR)/runs/records $(if $(METHODS),--methods $(METHODS))

# Jupyter servers drop messages above 10 MB, so a large picture could not be uploaded to an explorer.
UPLOADS := tornado_settings={"websocket_max_message_size":200000000}
lab: install
	$(BIN)/jupyter lab notebooks --ServerApp.'$(UPLOADS)'

# The explorers as one page; the head and the features of the first visit are kept.
explore: install
	$(BIN)/parlib explore

# Remakes the committed notebooks in place, in the small profile.
notebooks: install
	PARLIB_RUNS=$(PARLIB_CACHE)/runs-notebooks $(BIN)/python tools/execute_notebooks.py

# A picture of which module imports which: .cache/house.svg and .png, by pydeps and Graphviz's `dot`, which are not locked.
house: install
	@command -v dot >/dev/null || { echo "the picture needs Graphviz: install it (Debian: apt-get install graphviz)" >&2; exit 1; }
	test -x $(PARLIB_CACHE)/pydeps/bin/pydeps || { $(PYTHON) -m venv $(PARLIB_CACHE)/pydeps && $(PARLIB_CACHE)/pydeps/bin/pip install --quiet pydeps; }
	for form in svg png; do $(PARLIB_CACHE)/pydeps/bin/pydeps parlib --only parlib pedsynth --max-module-depth 2 --rmprefix parlib. \
	    --cluster --noshow -T $$form -o $(PARLIB_CACHE)/house.$$form; done

# Exact pins of everything installed in a fresh environment. What is pinned stays, unless UPGRADE=1.
# The torch tested here; on Linux pip then takes its CPU wheel, without gigabytes of CUDA.
LOCKED := torch==2.13.0
lock:
	rm -rf $(PARLIB_CACHE)/lock && $(PYTHON) -m venv $(PARLIB_CACHE)/lock
	{ echo "$(LOCKED)"; $(if $(UPGRADE),,cat requirements.lock;) } > $(PARLIB_CACHE)/lock/constraints.txt
	PIP_CONSTRAINT=$(PARLIB_CACHE)/lock/constraints.txt $(PARLIB_CACHE)/lock/bin/pip install --quiet --disable-pip-version-check ".[test]"
	{ echo "# Made by make lock from pyproject.toml. Do not edit."; \
	  $(PARLIB_CACHE)/lock/bin/pip freeze --exclude parlib \
	    | sed "s/+cpu$$//; s/^atheris==.*/&; sys_platform == 'linux'/"; } > $(PARLIB_CACHE)/lock/requirements.lock
	mv $(PARLIB_CACHE)/lock/requirements.lock requirements.lock
	rm -rf $(PARLIB_CACHE)/lock

UNPINNED := not long and not browser and not locked
# The oldest versions that pyproject.toml allows, under the quick tests that need no browser; torch as locked.
lowest:
	rm -rf $(PARLIB_CACHE)/lowest && $(PYTHON) -m venv $(PARLIB_CACHE)/lowest
	$(PARLIB_CACHE)/lowest/bin/pip install --quiet --disable-pip-version-check uv
	echo "$(LOCKED)" > $(PARLIB_CACHE)/lowest/constraints.txt
	$(PARLIB_CACHE)/lowest/bin/uv pip compile --quiet --resolution lowest-direct --constraints $(PARLIB_CACHE)/lowest/constraints.txt \
	    --find-links "$${PIP_FIND_LINKS:-.}" --extra test pyproject.toml -o $(PARLIB_CACHE)/lowest/lowest.txt
	$(PARLIB_CACHE)/lowest/bin/pip install --quiet --disable-pip-version-check -r $(PARLIB_CACHE)/lowest/lowest.txt
	$(PARLIB_CACHE)/lowest/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	$(PARLIB_CACHE)/lowest/bin/python -m pytest -n 2 --dist loadgroup -m "$(UNPINNED)" tests

# The newest versions that pyproject.toml allows, torch too, under the same tests.
newest:
	rm -rf $(PARLIB_CACHE)/newest && $(PYTHON) -m venv $(PARLIB_CACHE)/newest
	$(PARLIB_CACHE)/newest/bin/pip install --quiet --disable-pip-version-check --editable ".[test]"
	$(PARLIB_CACHE)/newest/bin/python -m pytest -n 2 --dist loadgroup -m "$(UNPINNED)" tests

clean:
	rm -rf $(VENV) .cache runs
