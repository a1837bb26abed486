# Which lines of the core and of the bindings the suites reach, as a table for each. Everything is built apart, for this.

.PHONY: coverage coverage-core coverage-python coverage-lua
coverage: coverage-core coverage-python coverage-lua ## which lines of the core and of the bindings no test reaches

coverage-core: | system-coverage
	@rm -rf build/coverage/core
	-@$(MAKE) --no-print-directory test-core CORE_DIR=build/coverage/core CORE_REPORT=build/coverage/core.xml COVERAGE=1
	@gcovr --gcov-ignore-parse-errors --root . --filter core/src/ build/coverage/core

coverage-python: setup | system-coverage
	@rm -rf build/coverage/python
	$(call python-apart,build/coverage/python,COVERAGE=1)
	-@PYTHONPATH=build/coverage/python/lib $(PYTHON) -m pytest --quiet tests/python
	@gcovr --gcov-ignore-parse-errors --root . --filter bindings/python/ build/coverage/python

coverage-lua: | system-coverage
	@rm -rf build/coverage/lua build/coverage/lua.o
	-@$(MAKE) --no-print-directory test-lua LUA_BUILD=build/coverage/lua LUA_REPORT=build/coverage/lua.xml COVERAGE=1
	@gcovr --gcov-ignore-parse-errors --root . --filter bindings/lua/ build/coverage/lua.o
