# The suites of `make test`. Each target test-SUITE writes the JUnit report build/reports/SUITE.xml; tools/run_cmocka.py
# (C), `pytest --junitxml` and tools/busted_report.lua (busted) do so.

ALL_SUITES := core sim python lua examples docs tools
# For as long as parts are missing:
SUITES := $(if $(wildcard mk/test-core.mk),core) $(if $(wildcard mk/proof.mk),sim) $(if $(wildcard mk/python.mk),python) $(if $(wildcard mk/lua.mk),lua) \
    $(if $(wildcard pyproject.toml),$(if $(wildcard mk/python.mk),$(if $(wildcard mk/lua.mk),examples docs)) tools)

.PHONY: test
test: setup ## build and run every suite: C, pytest, busted, examples, documents
	@for suite in $(filter-out $(SUITES),$(ALL_SUITES)); do echo "NOT RUN: the suite $$suite is not there yet"; done
	@MAKE='$(MAKE)' python3 tools/run_suites.py $(SUITES)

PYTEST = @$(PYTHON) -m pytest --no-header -o cache_dir=build/pytest_cache --junitxml=build/reports/$(@:test-%=%).xml

.PHONY: test-examples test-docs test-tools
test-examples: setup examples ## the examples, in all three languages
	$(PYTEST) tests/examples

test-docs: export CORE_A := $(CURDIR)/$(CORE_A)
test-docs: setup core python lua ## every snippet of the documents, and the versions of every artefact
	$(PYTEST) tests/docs

test-tools: setup ## the tools that build and test
	$(PYTEST) tests/tools
