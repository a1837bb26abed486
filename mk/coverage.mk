# Which lines of the core and of the bindings the suites reach, as a table for each. Everything is built apart, for this.

# Children of a fork that end without `exit` write down what they reached if WG_TEST_COVERAGE says so.
COVERAGE_FLAGS := CFLAGS='--coverage -O0 -fprofile-update=atomic -DWG_TEST_COVERAGE' LDFLAGS='--coverage'

.PHONY: coverage coverage-core coverage-python coverage-lua
coverage: coverage-core coverage-python coverage-lua ## which lines of the core and of the bindings no test reaches

coverage-core: | system-coverage
	@rm -rf build/coverage/core
	-@$(MAKE) --no-print-directory --silent test-core CORE_DIR=build/coverage/core CORE_REPORT=build/coverage/core.xml $(COVERAGE_FLAGS)
	@gcovr --root . --filter core/src/ build/coverage/core

coverage-python: setup | system-coverage
	@rm -rf build/coverage/python
	@$(COVERAGE_FLAGS) $(PYTHON) setup.py --quiet build --build-base build/coverage/python --build-lib build/coverage/python/lib
	-@PYTHONPATH=build/coverage/python/lib $(PYTHON) -m pytest --quiet tests/python
	@gcovr --root . --filter bindings/python/ build/coverage/python

coverage-lua: | system-coverage
	@rm -rf build/coverage/lua build/coverage/lua.o
	-@$(MAKE) --no-print-directory --silent test-lua LUA_BUILD=build/coverage/lua LUA_REPORT=build/coverage/lua.xml $(COVERAGE_FLAGS)
	@gcovr --root . --filter bindings/lua/ build/coverage/lua.o
