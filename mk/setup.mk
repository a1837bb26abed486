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

# Each part says in one line what it does; `make V=1` shows every command and what it prints.
V ?= 0
Q := $(if $(filter-out 0,$(V)),,@)
QUIET := $(if $(filter-out 0,$(V)),,>/dev/null)
say = @printf '  %-8s %s\n' $(1) '$(2)'

# What CMake builds: $(call cmake-configure,DIRECTORY,OPTIONS), then $(call cmake-build,DIRECTORY,TARGETS). CFLAGS and
# LDFLAGS have the last word; SANITIZE=address,undefined and COVERAGE=1 are for whole builds. Configuring again is quick.
PREFIX ?= /usr/local
LIBDIR ?= lib
unexport CMAKE_GENERATOR CMAKE_BUILD_TYPE CMAKE_BUILD_PARALLEL_LEVEL CFLAGS CXXFLAGS CPPFLAGS LDFLAGS
cmake-configure = $(Q)CC='$(CC)' CXX='$(CXX)' cmake -S $(if $(3),$(3),.) -B $(1) -G 'Unix Makefiles' \
    -DCMAKE_INSTALL_PREFIX='$(PREFIX)' -DCMAKE_INSTALL_LIBDIR='$(LIBDIR)' \
    -DCMAKE_C_FLAGS='$(CFLAGS)' -DCMAKE_C_FLAGS_RELWITHDEBINFO='-O2 -g $(CFLAGS)' -DCMAKE_EXE_LINKER_FLAGS='$(LDFLAGS)' \
    -DCMAKE_SHARED_LINKER_FLAGS='$(LDFLAGS)' -DCMAKE_MODULE_LINKER_FLAGS='$(LDFLAGS)' \
    -DWAITGROUP_SANITIZE='$(SANITIZE)' -DWAITGROUP_COVERAGE='$(COVERAGE)' \
    -DCMAKE_RULE_MESSAGES=OFF -DCMAKE_TARGET_MESSAGES=OFF $(2) $(QUIET)
cmake-build = $(Q)+cmake --build $(1) $(addprefix --target ,$(2)) -- $(if $(Q),-s,VERBOSE=1)

VENV := .venv
PYTHON := $(VENV)/bin/python
LUA := lua5.4

PY_READY := $(VENV)/.ready-test
PY_READY_DOCS := $(VENV)/.ready-docs
PY_READY_VIEWER := $(VENV)/.ready-viewer
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
	rm -f python/cwaitgroup/*.so python/cwaitgroup/*.so.*

distclean: clean ## remove what was built and installed in the tree
	rm -rf $(VENV) dist python/*.egg-info
