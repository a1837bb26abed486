# The Python package: built in place and known to the virtual environment, tested, checked, measured.

PY_SOURCES := setup.py pyproject.toml $(wildcard bindings/python/*.[ch] core/src/*.[ch] core/src/park/*.c \
    core/include/waitgroup/*.h)
PY_BUILT := build/python/built

$(PY_BUILT): $(PY_SOURCES) $(PY_READY)
	$(PYTHON) -m pip install --quiet --no-build-isolation --no-deps --editable .
	@mkdir -p $(@D) && touch $@

.PHONY: python test-python
python: setup $(PY_BUILT) ## build the Python package in place

test-python: python ## the Python package: pytest
	$(PYTEST) tests/python

# The same suite on an extension with the address and undefined-behaviour sanitizers. What the interpreter itself does
# not free is no leak of ours, and tests of the package, of types and of memory in use would tell nothing new.
PY_SANITIZED := build/python/sanitized

.PHONY: verify-python
verify-python: $(PY_READY) ## the Python suite under sanitizers and PYTHONMALLOC=debug
	CWAITGROUP_DEBUG=1 $(PYTHON) setup.py --quiet build_ext --build-temp $(PY_SANITIZED)/temp \
	    --build-lib $(PY_SANITIZED)/lib
	cp python/cwaitgroup/*.py* $(PY_SANITIZED)/lib/cwaitgroup/
	PYTHONPATH="$(CURDIR)/$(PY_SANITIZED)/lib" PYTHONMALLOC=debug \
	    LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	    ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 \
	    $(PYTHON) -m pytest tests/python --timeout 300 -p no:cacheprovider \
	    --deselect tests/python/test_package.py --deselect tests/python/test_typing.py \
	    --deselect tests/python/test_memory.py::test_nothing_grows \
	    --deselect tests/python/test_memory.py::test_memory_of_a_queued_task

.PHONY: bench-python
bench-python: python $(PY_READY_BENCH) ## the Python package beside its peers (BENCH_QUICK=1: in a minute)
	$(PYTHON) bench/python/run.py build/bench/python.json
