# The Python package: built in place and known to the virtual environment, tested, checked, measured.

PY_INPUTS := $(CORE_INPUTS) pyproject.toml $(wildcard bindings/*.h bindings/python/*) mk/python.mk
PY_BUILT := build/python/.built
PY_OPTIONS = -DWAITGROUP_PYTHON=ON -DWAITGROUP_STATIC_CORE='$(STATIC_CORE)' -DPython_EXECUTABLE='$(CURDIR)/$(PYTHON)'

# The extension and the core are installed into the sources, which the virtual environment knows by a path: not by pip's
# way of an editable installation, whose import hook comes before PYTHONPATH.
$(PY_BUILT): $(PY_INPUTS) $(PY_READY)
	$(call say,python,the Python package in python/cwaitgroup)
	$(call cmake-configure,build/python,$(PY_OPTIONS))
	$(call cmake-build,build/python,_core)
	$(Q)cmake --install build/python --component python --prefix python $(QUIET)
	@$(PYTHON) tools/know_package.py '$(CURDIR)/python' $(QUIET)
	@touch $@

.PHONY: python test-python
python: setup $(PY_BUILT) ## build the Python package in place

test-python: python ## the Python package: pytest
	$(PYTEST) tests/python

# The same suite on an extension with the address and undefined-behaviour sanitizers. What the interpreter itself does
# not free is no leak of ours, and tests of the package, of types and of memory in use would tell nothing new.
PY_SANITIZED := build/python-sanitized
comma := ,

# $(call python-apart,DIRECTORY,VARIABLES): the package built for another way of running it, in DIRECTORY/lib.
python-apart = $(Q)$(MAKE) --no-print-directory python-in PY_DIR=$(1) $(2)

.PHONY: python-in
python-in: $(PY_READY)
	$(call say,python,the Python package in $(PY_DIR)/lib)
	$(call cmake-configure,$(PY_DIR),$(PY_OPTIONS))
	$(call cmake-build,$(PY_DIR),_core)
	$(Q)cmake --install $(PY_DIR) --component python --prefix $(PY_DIR)/lib $(QUIET)
	$(Q)cmake --install $(PY_DIR) --component python_sources --prefix $(PY_DIR)/lib $(QUIET)

.PHONY: verify-python
verify-python: export ASAN_OPTIONS := detect_leaks=0:allocator_may_return_null=1
verify-python: export UBSAN_OPTIONS := print_stacktrace=1
verify-python: $(PY_READY) ## the Python suite under sanitizers and PYTHONMALLOC=debug
	$(call python-apart,$(PY_SANITIZED),SANITIZE=address$(comma)undefined CFLAGS=-Werror)
	PYTHONPATH="$(CURDIR)/$(PY_SANITIZED)/lib" PYTHONMALLOC=debug \
	    LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	    $(PYTHON) -m pytest tests/python --timeout 300 -p no:cacheprovider \
	    --deselect tests/python/test_package.py --deselect tests/python/test_typing.py \
	    --deselect tests/python/test_memory.py::test_nothing_grows \
	    --deselect tests/python/test_memory.py::test_memory_of_a_queued_task

.PHONY: verify-python-fork
verify-python-fork: python ## thousands of forks under load
	WG_TEST_EFFORT=50 $(PYTHON) -m pytest tests/python/test_fork_load.py -p no:cacheprovider

.PHONY: verify-python-executors
verify-python-executors: python ## ten thousand tasks and more on each executor
	WG_TEST_EFFORT=10 $(PYTHON) -m pytest tests/python -k executor --timeout 1200 -p no:cacheprovider

.PHONY: bench-python
bench-python: python $(PY_READY_BENCH) | bench-quiet ## the Python package beside its peers (BENCH_QUICK=1: in a minute)
	$(PYTHON) bench/python/run.py build/bench/python.json
