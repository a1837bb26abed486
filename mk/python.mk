# The Python package: built in place, tested, checked, measured.

PY_CORE := python/cwaitgroup/.built
PY_SOURCES := setup.py $(wildcard bindings/python/*.[ch] core/src/*.[ch] core/src/park/*.c core/include/waitgroup/*.h)

$(PY_CORE): $(PY_SOURCES) $(PY_READY)
	$(PYTHON) setup.py --quiet build_ext --inplace --force
	@touch $@

.PHONY: python test-python
python: setup $(PY_CORE) ## build the Python package in place

test-python: export PYTHONPATH := python
test-python: python ## the Python package: pytest
	$(PYTEST) tests/python
