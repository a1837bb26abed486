# The suites of `make test`. Each target test-SUITE writes the JUnit report build/reports/SUITE.xml: ctest (C),
# `pytest --junitxml` and tools/busted_report.lua (busted) do so.

SUITES := core sim python lua hub examples docs tools

.PHONY: test
test: setup ## build and run every suite: C, pytest, busted, examples, documents
	@MAKE='$(MAKE)' $(PYTHON) tools/run_suites.py $(SUITES)

PYTEST = @$(PYTHON) -m pytest --no-header -o cache_dir=build/pytest_cache --junitxml=build/reports/$(@:test-%=%).xml

.PHONY: test-examples test-docs test-tools
test-examples: setup examples $(RUNNER) ## the examples, in all three languages
	$(PYTEST) tests/examples

test-docs: export CORE_A := $(CURDIR)/$(CORE_A)
test-docs: setup core python lua ## every snippet of the documents, and the versions of every artefact
	$(PYTEST) tests/docs

test-tools: setup ## the tools that build and test
	$(PYTEST) tests/tools
