# Each target is one command and builds what it needs. PYTHON: the Python 3.11 to 3.13 of .venv.
PYTHON ?= python3
VENV := .venv/bin
PYTEST_ARGS ?=

.PHONY: setup lava clients demo test test-long test310 check clean

setup:
	@$(PYTHON) .ci/environment.py main >/dev/null

# Outside CI a machine without Python 3.10 goes on without Lava, and says so.
lava: setup
	@$(VENV)/neurokd lava install || { test $$? -eq 2 && test "$$CI" != true && \
	  echo "Going on WITHOUT Lava: what needs it is left out." >&2; }

demo: lava
	@if $(VENV)/neurokd lava status --json | grep -q '"available": true'; \
	then $(VENV)/neurokd demo; \
	else $(VENV)/neurokd demo --no-lava; fi

# The frameworks that read and write NIR beside us, each in an environment of its own.
clients: setup
	@for client in spikingjelly norse; do $(VENV)/python .ci/environment.py $$client >/dev/null \
	  || { test "$$CI" != true && echo "Going on WITHOUT $$client: its tests are left out." >&2; } \
	  || exit 1; done

test: lava clients
	$(VENV)/python -m pytest $(PYTEST_ARGS)

test-long: lava
	$(VENV)/python -m pytest -m slow $(PYTEST_ARGS)
	@$(MAKE) --no-print-directory test310

# The full world: Python 3.10, lava-dl, torch 2.3.1, numpy 1.26. Lava is this very interpreter.
test310: setup
	@if python="$$($(VENV)/python .ci/environment.py full)"; then \
	  env -u NEUROKD_LAVA_PYTHON PYTHONPATH="$(CURDIR)" "$$python" -m pytest \
	    -m "not training and not slow" $(PYTEST_ARGS); \
	else test "$$CI" != true && echo "The tests on Python 3.10 are left out." >&2; fi

check: setup
	$(VENV)/ruff format --check . .ci
	$(VENV)/ruff check . .ci
	$(VENV)/mypy
	$(VENV)/python .ci/wheel.py

clean:
	rm -rf .venv .venv.lock build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
