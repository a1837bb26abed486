# The benchmark sets. Each target bench-SET writes build/bench/SET.json; bench/report.py says in which format.

BENCH_SETS := core python lua examples

.PHONY: bench bench-report bench-examples
bench: $(PY_READY_BENCH) ## measure beside the peers; writes docs/benchmarks.{json,md,svg}
	@for set in $(BENCH_SETS); do $(MAKE) --no-print-directory bench-$$set || exit 1; done
	@$(MAKE) --no-print-directory bench-report

bench-report: $(PY_READY_BENCH) ## write the report of the benchmarks measured last
	$(PYTHON) bench/report.py $(BENCH_SETS)

bench-examples: examples | system-bench-examples ## the checksum example beside xargs and a ThreadPoolExecutor
	$(PYTHON) bench/checksum.py
