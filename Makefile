# `make` alone lists the commands. `make run` and `make test` work in a fresh clone.

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Each module goes whole to one process, as tests/support/order.py says.
PARALLEL := --numprocesses=auto --dist=loadscope --no-loadscope-reorder

# A shell's own would hide modules of $(VENV), or install elsewhere; or have each of the many
# processes of a test run compile the project anew.
unexport PYTHONDONTWRITEBYTECODE
unexport PYTHONPATH PYTHONHOME PYTHONSAFEPATH PIP_USER PIP_TARGET PIP_PREFIX

.DEFAULT_GOAL := help
.PHONY: help setup run demo reset flash drill test test-fast coverage test-browser test-clients test-scale test-tools test-alerts soak lint types format check bench lock client docs release-check clean

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(INSTALLED) ## Install everything into .venv (PYTHON=python3.12 chooses another Python)
	@echo "Everything is installed in $(VENV)."

run: $(INSTALLED) ## Run the project with its servers; Ctrl-C stops it
	@exec $(BIN)/python -m dev run

demo: $(INSTALLED) ## Run a shop that sells and a crowd that bids, to look at; Ctrl-C stops it
	@PYTHONPATH=clients/python exec $(BIN)/python -m dev.demo

reset: $(INSTALLED) ## Delete the data of `make run`
	@exec $(BIN)/python -m dev reset

flash: $(INSTALLED) ## Load-test a flash sale, verify it, write a report (loadtest/README.md)
	@exec $(BIN)/python -m loadtest flash $(ARGS)

test: $(INSTALLED) ## Run the tests on all cores (ARGS="tests/unit -k score" chooses some)
	@exec $(BIN)/python -m pytest $(PARALLEL) --durations=20 $(ARGS)

test-fast: $(INSTALLED) ## Run the tests that need no server, in seconds
	@exec $(BIN)/python -m pytest $(PARALLEL) --without-servers tests/unit tests/guards tests/loadtest $(ARGS)

coverage: $(INSTALLED) ## Run the tests with branch coverage, the processes they start included
	@$(BIN)/python -m pytest $(PARALLEL) -m "" --cov --cov-report= $(ARGS); status=$$?; \
		$(BIN)/python -m coverage report && exit $$status

test-browser: $(INSTALLED) ## Run the page's tests in Chromium (CHROMIUM=/path to choose one)
	@exec $(BIN)/python -m pytest tests/browser $(ARGS)

test-clients: $(INSTALLED) ## Lint the API documents and run the Python client and a TypeScript one (needs Node.js)
	@exec $(BIN)/python -m pytest tests/clients $(ARGS)

test-scale: $(INSTALLED) ## Run the tests on Redis Cluster, RabbitMQ, PgBouncer and nginx (docs/how-to/scaling.md)
	@exec $(BIN)/python -m pytest tests/scale $(ARGS)

test-tools: $(INSTALLED) ## Run the tests of `make run`, `flash`, `bench` and `drill` as a whole
	@exec $(BIN)/python -m pytest --numprocesses=2 --dist=loadscope --no-loadscope-reorder \
		-m tools tests/system tests/bench tests/drill $(ARGS)

test-alerts: ## Test the alert rules (needs promtool, in Debian's package prometheus)
	@promtool check rules deploy/alerts.yml
	@promtool test rules tests/alerts/alerts_test.yml

soak: $(INSTALLED) ## Run thousands of long random sales against the model (an hour or more)
	@HYPOTHESIS_PROFILE=soak $(BIN)/python -m pytest tests/model -k agrees -rP $(ARGS)

lint: $(INSTALLED) ## Check style, format and imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/python -c 'from importlinter.cli import lint_imports_command as lint; lint()'

types: $(INSTALLED) ## Check the types
	@$(BIN)/python -m mypy

format: $(INSTALLED) ## Format the code
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

check: lint types test test-browser ## Run all checks (needs Chromium)

drill: $(INSTALLED) ## Inject every fault into the real processes (FAULT=name ROUNDS=n BIDS=n SEED=n CONTROL=1 LIST=1)
	@exec $(BIN)/python -m drill $(if $(FAULT),--fault $(FAULT)) $(if $(ROUNDS),--rounds $(ROUNDS)) \
		$(if $(BIDS),--bids $(BIDS)) $(if $(SEED),--seed $(SEED)) $(if $(CONTROL),--control) \
		$(if $(LIST),--list) $(ARGS)

bench: $(INSTALLED) ## Measure the performance promises (options: ARGS="--help")
	@exec $(BIN)/python -m dev.bench $(ARGS)

lock: ## Write requirements.lock, the hashes of requirements.txt (needs uv: pip install uv)
	@uv pip compile --quiet --no-deps --universal --python-version 3.11 --generate-hashes \
		--no-annotate --no-header requirements.txt --output-file requirements.lock

client: $(INSTALLED) ## Write the types of the Python client anew (clients/python)
	@PYTHONPATH=. exec $(BIN)/python clients/python/generate.py

docs: $(INSTALLED) ## Build the documentation into site/ (ARGS="serve" shows it while you write)
	@NO_MKDOCS_2_WARNING=1 exec $(BIN)/python -m mkdocs $(or $(ARGS),build --strict)

release-check: $(INSTALLED) ## Say whether this commit may be tagged as the version in pyproject.toml
	@exec $(BIN)/python -m dev.release_check

clean: ## Delete .venv and caches; the data stays
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache site
	@find . -name __pycache__ -type d -not -path './.data/*' -prune -exec rm -rf {} +

# Two makes at once would install into one folder: the second waits, and finds all done. The
# lock ends with its shell.
define LOCKED
import fcntl, os, sys
lock = os.open("requirements.txt", os.O_RDONLY)
os.set_inheritable(lock, True)
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("Another make is installing; waiting for it ...", flush=True)
    fcntl.flock(lock, fcntl.LOCK_EX)
os.execv("/bin/sh", ["/bin/sh", "-c", sys.argv[1]])
endef

# The stamp is written last, so an interrupted install is repeated.
define INSTALL
[ ! $(INSTALLED) -nt requirements.txt ] || [ ! $(INSTALLED) -nt requirements-dev.txt ] || exit 0
if command -v uv >/dev/null; then
    echo "Installing into $(VENV) with uv ..."
    rm -rf $(VENV) &&
    uv venv --quiet --python "$(PYTHON)" $(VENV) &&
    uv pip install --quiet --python $(BIN)/python -r requirements-dev.txt
else
    $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null ||
        { echo "'$(PYTHON)' has no venv module. On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
    echo "Installing into $(VENV), about a minute ..."
    $(PYTHON) -m venv --clear $(VENV) &&
    $(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
fi &&
for packages in $(VENV)/lib/python*/site-packages; do
    # The project reads .env itself. Flask's command would take one of a folder above, and end
    # with a traceback if it is not UTF-8.
    [ ! -d "$$packages" ] ||
        echo 'import os; os.environ.setdefault("FLASK_SKIP_DOTENV", "1")' > "$$packages/flashbid.pth"
done &&
touch $(INSTALLED)
endef

$(INSTALLED): export LOCKED := $(LOCKED)
$(INSTALLED): export INSTALL := $(INSTALL)
$(INSTALLED): requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "'$(PYTHON)' is not Python 3.11 or later. Choose another: make setup PYTHON=python3.12" >&2; exit 1; }
	@[ ! -L $(VENV) ] || { echo "$(VENV) is a symlink: installing would empty its target. Install there manually." >&2; exit 1; }
	@$(PYTHON) -c "$$LOCKED" "$$INSTALL"
