# Style and static checks: clean, or they fail.

C_FILES = $(wildcard core/include/*.h core/include/waitgroup/*.h core/src/*.[ch] core/src/park/*.c bindings/*.h bindings/*/*.[ch] \
    tests/core/*.[ch] tests/core/*/*.[ch] bench/core/*.h bench/core/*.cpp examples/c/*.[ch])
PY_FILES = python tests tools bench examples
LUA_FILES = $(wildcard lua library tests/lua bench/lua) examples/lua docs tools

# A thread's round of calls lives on its stack while it is listed, on purpose; readdir_r is deprecated.
CPPCHECK_FLAGS := --quiet --error-exitcode=1 --std=c11 --library=posix --enable=warning,performance,portability \
    --suppress=autoVariables:core/src/waitqueue.c --suppress=readdirCalled

.PHONY: format lint verify-lint
format: $(PY_READY_LINT) | system-lint ## bring C and Python into the one format
	clang-format -i $(C_FILES)
	$(PYTHON) -m ruff format --quiet $(PY_FILES)

lint: $(PY_READY) $(PY_READY_LINT) $(PY_READY_BENCH) | system-lint ## formats and static checks of C, Python and Lua
	clang-format --dry-run -Werror $(C_FILES)
	$(PYTHON) tools/core_floors.py
	cppcheck $(CPPCHECK_FLAGS) -Icore/include core/src bindings examples/c
	$(PYTHON) -m ruff format --check $(PY_FILES)
	$(PYTHON) -m ruff check $(PY_FILES)
	$(PYTHON) -m mypy python/cwaitgroup
	$(PYTHON) -m mypy tools/*.py bench/*.py
	MYPYPATH=python $(PYTHON) -m mypy examples/python/*.py
	luacheck --quiet $(LUA_FILES)

verify-lint: lint
