# make run | test | soak-properties | lint | fmt | bench | mutants | setup | clean. Needs python3 (3.11 or later) and pip, nothing else.
# PYTHON=python3.13 chooses the interpreter, VENV=.venv-3.13 keeps a second environment, ARGS=... is passed on.

VENV ?= .venv
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.ready-run
DEV_STAMP := $(VENV)/.ready-dev
CANDIDATES := $(or $(PYTHON),python3.14 python3.13 python3.12 python3.11 python3)
WHOLE_RUN_S := 1500
BOUNDED := $(if $(shell command -v timeout 2>/dev/null),timeout --kill-after=20 $(WHOLE_RUN_S))

RECORDINGS := $(realpath ../shared/recordings)
ifneq ($(RECORDINGS),)
export FLOW_RECORDINGS ?= $(RECORDINGS)
endif

# An environment that was moved, or made with another interpreter than the one asked for, is made anew.
VERSION := -c 'import sys; print(sys.version_info[:2])'
ifneq ($(shell cat $(RUN_STAMP) 2>/dev/null),$(CURDIR))
$(shell rm -f $(RUN_STAMP) $(DEV_STAMP))
else ifneq ($(PYTHON),)
ifneq ($(shell $(PYTHON) $(VERSION) 2>/dev/null),$(shell $(BIN)/python $(VERSION) 2>/dev/null))
$(shell rm -f $(RUN_STAMP) $(DEV_STAMP))
endif
endif

.PHONY: setup run test soak-properties lint fmt bench mutants clean
.NOTPARALLEL:
.DEFAULT_GOAL := setup

# $(call install,PROJECT): tries every candidate by running it; goes without ensurepip where pip itself is there.
define install
@set -e; \
python=; for p in $(CANDIDATES); do \
  if "$$p" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then python=$$p; break; fi; \
done; \
if [ -z "$$python" ]; then \
  echo "setup: python3 (3.11 or later) is missing; tried: $(CANDIDATES)" >&2; exit 1; \
fi; \
if "$$python" -c 'import ensurepip' >/dev/null 2>&1; then \
  seed=; pip="$(BIN)/python -m pip"; \
elif "$$python" -m pip --version >/dev/null 2>&1; then \
  seed=--without-pip; pip="$$python -m pip --python $(BIN)/python"; \
else \
  echo "setup: pip is missing for $$python (3.11 or later, with pip, is all that is needed)" >&2; exit 1; \
fi; \
if [ ! -f $(RUN_STAMP) ]; then \
  echo "setup: making $(VENV) with $$("$$python" --version), which takes a minute the first time" >&2; \
  "$$python" -m venv --clear $$seed $(VENV); \
fi; \
$$pip install -qq --disable-pip-version-check --constraint constraints.txt --editable '$(1)'; \
echo "$(CURDIR)" > $(RUN_STAMP)
endef

$(RUN_STAMP): pyproject.toml constraints.txt
	$(call install,.)

$(DEV_STAMP): pyproject.toml constraints.txt
	$(call install,.[dev])
	@touch $(DEV_STAMP)

setup: $(DEV_STAMP)

run: $(RUN_STAMP)
	@echo "run: the data is SIMULATED by the embedded exchange (--sim), not live" >&2
	@$(BIN)/flow run graphs/binance.yaml --sim --duration 30s $(ARGS)

test: $(DEV_STAMP)
	$(BOUNDED) $(BIN)/python -X dev -m pytest --cov --cov-report=term $(ARGS)

soak-properties: $(DEV_STAMP)
	$(BIN)/python -X dev -m pytest tests/graphs/test_random_graphs.py -k whatever_fails --hypothesis-profile=nightly \
	  --session-timeout=10000 $(ARGS)

lint: $(DEV_STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo
	$(BIN)/basedpyright --pythonpath $(BIN)/python

fmt: $(DEV_STAMP)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(DEV_STAMP)
	$(BIN)/python -m profiling $(ARGS)

mutants: $(DEV_STAMP)
	$(BIN)/python -m tests.mutation.mutants $(ARGS)

clean:
	rm -rf $(VENV) build *.egg-info .coverage htmlcov .hypothesis .import_linter_cache .pytest_cache .ruff_cache
	find flow operators nodes tests profiling -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
