# The benchmark sets. Each target bench-SET writes build/bench/SET.json; bench/report.py says in which format.

BENCH_SETS := core python lua hub examples
# BENCH_LOADED=1: measure although other programs use the processor.
export BENCH_LOADED

.PHONY: bench bench-report bench-examples
bench: $(PY_READY_BENCH) ## measure beside the peers, in about ten minutes; writes docs/benchmarks*
	@for set in $(BENCH_SETS) growth; do $(MAKE) --no-print-directory bench-$$set || exit 1; done
	@$(MAKE) --no-print-directory bench-report

bench-report: $(PY_READY_BENCH) ## write the report of the benchmarks measured last
	$(PYTHON) bench/report.py $(BENCH_SETS)

bench-quiet: | $(PYTHON)
	@$(PYTHON) bench/quiet.py

.PHONY: bench-quiet bench-growth
bench-growth: build/bench/growth python lua $(PY_READY_BENCH) | system-bench-lua bench-quiet ## what a task costs as they become more
	UV_THREADPOOL_SIZE=2 $(PYTHON) bench/growth/curves.py $< build/bench/growth.json

build/bench/growth: bench/growth/growth.cpp $(CORE_A) $(CORE_HEADERS) mk/bench.mk | system-bench-core
	@mkdir -p $(@D)
	$(call say,bench,$@)
	$(Q)$(CXX) -std=c++20 -O2 -Wall -Wextra -pthread -Icore/include $(BENCH_GLIB) $(CXXFLAGS) -o $@ $< $(CORE_A) \
	    -lnsync_cpp -lglib-2.0 $(LDFLAGS)

.PHONY: bench-hub
bench-hub: python lua build/bench/hub_tasks.so $(PY_READY_BENCH) | bench-quiet ## a task in a group of several languages beside the same in its own (BENCH_QUICK=1: in a minute)
	$(PYTHON) bench/hub/shared.py build/bench/hub.json

build/bench/hub_tasks.so: bench/hub/tasks.c $(PY_BUILT) mk/bench.mk
	@mkdir -p $(@D)
	$(call say,bench,$@)
	$(Q)$(CC) -std=c11 -O2 -Wall -Wextra -fPIC -shared -Icore/include $(CFLAGS) -o $@ $< python/cwaitgroup/libwaitgroup.so.* $(LDFLAGS)

bench-examples: examples | system-bench-examples bench-quiet ## the checksum example beside xargs and a ThreadPoolExecutor
	$(PYTHON) bench/checksum.py
