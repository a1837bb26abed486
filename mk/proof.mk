# How the core is proven beyond its unit tests: the real sources under a deterministic scheduler, models for Spin, and
# mutants: small bugs that a test must catch.
#
#   build/sim/sim --help           how to run a scenario by hand, and a failed schedule again
#   tests/core/sim/sim.h           what the scheduler does and what it notices
#   make mutants ONLY=timer        only the mutants with that word in their names

SIM_DIR := build/sim
SIM := $(SIM_DIR)/sim
SIM_HEADERS := $(wildcard tests/core/sim/*.h) $(CORE_HEADERS)
SIM_CORE := $(filter-out fork.c os_posix.c signal_%.c,$(notdir $(wildcard core/src/*.c)))
SIM_ENGINE := schedule memory describe os main
SIM_SCENARIOS := $(basename $(notdir $(wildcard tests/core/sim/*_scenarios.c)))
# -no-pie: addresses are the same in every run, since the core hashes them.
SIM_CFLAGS := -std=c11 -O1 -g -fno-omit-frame-pointer -fno-pie $(CORE_WARN) -Icore/include -Icore/src -Itests/core/sim
# Plain accesses are watched through the calls that this makes; the sanitizer's library is not linked.
SIM_WATCHED := -fsanitize=thread -include tests/core/sim/atomics.h
SIM_OBJECTS := $(SIM_ENGINE:%=$(SIM_DIR)/%.o) $(SIM_SCENARIOS:%=$(SIM_DIR)/%.o) $(SIM_CORE:%.c=$(SIM_DIR)/core/%.o)

$(SIM): $(SIM_OBJECTS) | system-test
	$(CC) -no-pie -o $@ $^ -lcmocka

$(SIM_DIR)/core/%.o: core/src/%.c $(SIM_HEADERS) mk/proof.mk
	@mkdir -p $(@D)
	$(CC) $(SIM_CFLAGS) $(SIM_WATCHED) -c -o $@ $<

$(SIM_DIR)/%_scenarios.o: tests/core/sim/%_scenarios.c $(SIM_HEADERS) mk/proof.mk
	@mkdir -p $(@D)
	$(CC) $(SIM_CFLAGS) $(SIM_WATCHED) -c -o $@ $<

$(SIM_DIR)/%.o: tests/core/sim/%.c $(SIM_HEADERS) mk/proof.mk
	@mkdir -p $(@D)
	$(CC) $(SIM_CFLAGS) -D_GNU_SOURCE -c -o $@ $<

.PHONY: test-sim verify-sim
verify-sim: $(SIM) ## the same under very many schedules, and all of those with few preemptions
	$(SIM) --seeds 20000 --limit 100000

test-sim: setup $(SIM) ## the C core under a deterministic scheduler: some thousand schedules
	@$(PYTHON) tools/run_cmocka.py build/reports/sim.xml $(SIM)

.PHONY: mutants verify-mutants
mutants verify-mutants: $(SIM) | $(PYTHON) ## small bugs put into copies of the core, each of which a named test must catch
	@mkdir -p build/mutants
	@MUTANT_CC='$(CC) $(SIM_CFLAGS) $(SIM_WATCHED)' SIM=$(SIM) BUILD=build/mutants $(PYTHON) tests/core/mutants/run.py \
	    $(if $(ONLY),--only '$(ONLY)') --core $(SIM_CORE) --objects $(filter-out $(SIM_DIR)/core/%,$(SIM_OBJECTS))

.PHONY: verify-models
verify-models: system-models ## the models of the pool and the context, for Spin, each with bugs that it must find
	@python3 tests/core/models/verify.py build/models
