# The tests of the C core: cmocka programs in tests/core, one a promise. `make test-core PARK=pthread SIGNAL=pipe` tests
# the portable ways of sleeping and signalling; WG_TEST_EFFORT=10 makes the repeated ones ten times as long.
CXX ?= c++
CORE_TEST_DIR = $(CORE_DIR)/tests
CORE_TEST_CFLAGS = -std=c11 -D_GNU_SOURCE -O2 -g $(CORE_WARN) -pthread -Icore/include -Icore/src
CORE_TESTS = $(patsubst tests/core/%.c,$(CORE_TEST_DIR)/%,$(sort $(wildcard tests/core/test_*.c)))
CORE_REPORT ?= build/reports/core.xml

.PHONY: test-core test-core-programs
test-core: core test-core-programs ## the C core: unit, fault and stress tests (PARK=, SIGNAL=, WG_TEST_EFFORT=)
	@python3 tools/run_cmocka.py $(CORE_RUN_FLAGS) $(CORE_REPORT) $(CORE_TESTS)

test-core-programs: $(CORE_TESTS)

CORE_FAULT_TESTS = $(filter $(CORE_TEST_DIR)/test_faults_%,$(CORE_TESTS))
$(CORE_FAULT_TESTS): tests/core/faults.c tests/core/faults.h
$(CORE_FAULT_TESTS): CORE_TEST_LIBS = $(addprefix -Wl$(comma)--wrap=,malloc calloc free pthread_create)
comma := ,

$(CORE_TEST_DIR)/test_install: tests/core/consumer.c
$(CORE_TEST_DIR)/test_install: CORE_TEST_LIBS = $(foreach v,CC CXX CORE_DIR PARK SIGNAL,-D$v='"$($v)"') \
    -DTEST_DIR='"$(CORE_TEST_DIR)"'

$(CORE_TEST_DIR)/%: tests/core/%.c tests/core/support.c tests/core/support.h tests/core/tasks.h $(CORE_A) mk/test-core.mk | system-test
	@mkdir -p $(@D)
	$(CC) $(CORE_TEST_CFLAGS) $(CFLAGS) -o $@ $(filter %.c,$(filter-out %/consumer.c,$^)) $(CORE_A) $(CORE_TEST_LIBS) $(LDFLAGS) -lcmocka
