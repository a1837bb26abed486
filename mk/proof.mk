# How the core is proven beyond its unit tests: the real sources under a deterministic scheduler, models for Spin, and
# mutants: small bugs that a test must catch.
#
#   build/sim/sim --help           how to run a scenario by hand, and a failed schedule again
#   tests/core/sim/sim.h           what the scheduler does and what it notices
#   tests/core/relacy          the lowest of its sources under Relacy, which tries what the C memory model allows
#   make mutants ONLY=timer        only the mutants with that word in their names

SIM := build/sim/sim

$(SIM): $(CORE_INPUTS) $(wildcard tests/core/*.cmake tests/core/sim/*) mk/proof.mk | system-test
	$(call say,sim,the core under the simulator in build/sim)
	$(call cmake-configure,build/sim,,tests/core/sim)
	$(call cmake-build,build/sim)
	@touch $@

.PHONY: test-sim verify-sim
verify-sim: $(SIM) ## the same under very many schedules, and all of those with few preemptions
	$(SIM) --seeds 20000 --limit 100000

test-sim: setup $(SIM) ## the C core under a deterministic scheduler: some thousand schedules
	$(call run-ctest,build/sim,build/reports/sim.xml)

.PHONY: mutants verify-mutants
mutants verify-mutants: $(SIM) | $(PYTHON) ## small bugs put into copies of the core, each of which a named test must catch
	@mkdir -p build/mutants
	@SIM=$(SIM) BUILD=build/mutants $(PYTHON) tests/core/mutants/run.py $(if $(ONLY),--only '$(ONLY)') @build/sim/mutants.args

.PHONY: verify-models
verify-models: system-models ## the models of the pool, the context and deadlocks, for Spin, each with bugs that it must find
	@python3 tests/core/models/verify.py build/models

# The bugs are those of BROKEN in tests/core/relacy/atomics.h and main.cpp.
RELACY = $(CXX) -std=gnu++17 -w -O1 -Icore/include -include cstdint tests/core/relacy/main.cpp

.PHONY: verify-relacy
verify-relacy: system-relacy ## mutex and references under Relacy, a model checker of memory orders, with bugs that it must find
	@mkdir -p build/relacy
	@$(RELACY) -o build/relacy/sound && build/relacy/sound | grep -E ': (holds|a fault)'; test $${PIPESTATUS[0]} -eq 0
	@for bug in 1 2 3 4 5; do \
	    $(RELACY) -DBROKEN=$$bug -o build/relacy/bug-$$bug || exit 1; \
	    if build/relacy/bug-$$bug >build/relacy/bug-$$bug.log 2>&1; then echo "bug $$bug: not found"; exit 1; fi; \
	    echo "bug $$bug: found"; \
	done
