# What the other rules stand on: system packages, and a virtual environment in the tree for Python.
#
#   system-SET      makes sure that the packages of SET in tools/packages.txt are there; use it order-only (`| system-SET`)
#   $(PYTHON)       the interpreter of the virtual environment
#   $(PY_READY)     the environment has the build and test requirements of pyproject.toml; a file, made once
#   $(PY_READY_X)   the same for the optional requirements X of pyproject.toml: docs, lint, bench

# Settings of the caller's shell that would change what runs here.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONWARNINGS PYTEST_ADDOPTS VIRTUAL_ENV CDPATH BASH_ENV GREP_OPTIONS
unexport LUA_PATH LUA_CPATH LUA_INIT LUA_PATH_5_4 LUA_CPATH_5_4 LUA_INIT_5_4
export LC_ALL := C.UTF-8
export PIP_DISABLE_PIP_VERSION_CHECK := 1

VENV := .venv
PYTHON := $(VENV)/bin/python
LUA := lua5.4

PY_READY := $(VENV)/.ready-test
PY_READY_DOCS := $(VENV)/.ready-docs
PY_READY_LINT := $(VENV)/.ready-lint
PY_READY_BENCH := $(VENV)/.ready-bench

.PHONY: setup
setup: system-build system-test $(PY_READY) ## install what building and testing need

system-%: FORCE
	@tools/system-packages $*

.PHONY: FORCE
FORCE:

$(PYTHON): | system-build
	@tools/make-venv $(VENV)

$(VENV)/.ready-%: pyproject.toml | $(PYTHON)
	@tools/pip-extra $(PYTHON) $*
	@touch $@

.PHONY: clean distclean
clean: ## remove what was built
	rm -rf build
	find python -name '*.so' -delete

distclean: clean ## remove what was built and installed in the tree
	rm -rf $(VENV) dist python/*.egg-info
