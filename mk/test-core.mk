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
$(CORE_FAULT_TESTS): CORE_TEST_LIBS = $(WITH_FAULTS)
comma := ,
WITH_FAULTS := $(addprefix -Wl$(comma)--wrap=,malloc calloc realloc free pthread_create)

$(CORE_TEST_DIR)/test_install: tests/core/consumer.c tests/core/plugin.c tests/core/plugin_host.c
$(CORE_TEST_DIR)/test_install: CORE_TEST_LIBS = $(foreach v,CC CXX CORE_DIR PARK SIGNAL,-D$v='"$($v)"') \
    -DTEST_DIR='"$(CORE_TEST_DIR)"'

$(CORE_TEST_DIR)/%: tests/core/%.c tests/core/support.c tests/core/support.h tests/core/tasks.h tests/core/slow_call.h $(CORE_A) mk/test-core.mk | system-test
	@mkdir -p $(@D)
	$(CC) $(CORE_TEST_CFLAGS) $(CFLAGS) -o $@ $(filter %.c,$(filter-out %/consumer.c %/plugin.c %/plugin_host.c,$^)) $(CORE_A) $(CORE_TEST_LIBS) $(LDFLAGS) -lcmocka

# The same tests under sanitizers and valgrind, each in a build of its own. What these cannot do is skipped, and counted
# as skipped; test_install has nothing to do with them.
.PHONY: test-core-instrumented verify-core-tsan verify-core-asan verify-core-valgrind verify-core-portable
test-core-instrumented: test-core-programs
	@python3 tools/run_cmocka.py $(CORE_RUN_FLAGS) $(CORE_REPORT) $(filter-out %/test_install,$(CORE_TESTS))

CORE_INSTRUMENTED = +$(MAKE) --no-print-directory test-core-instrumented CORE_DIR=build/verify-core/$(1) \
    CORE_REPORT=build/reports/core-$(1).xml
CORE_ASAN := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

verify-core-tsan verify-core-asan: export WG_TEST_EFFORT := 5
verify-core-tsan: export TSAN_OPTIONS := halt_on_error=1
verify-core-tsan: | system-verify-core ## the C core's tests under ThreadSanitizer, of gcc and of clang
	$(call CORE_INSTRUMENTED,tsan-gcc) CC=gcc CFLAGS='-fsanitize=thread -O1' LDFLAGS=-fsanitize=thread
	$(call CORE_INSTRUMENTED,tsan-clang) CC=clang CFLAGS='-fsanitize=thread -O1' LDFLAGS=-fsanitize=thread

verify-core-asan: export ASAN_OPTIONS := detect_stack_use_after_return=1
verify-core-asan: export UBSAN_OPTIONS := print_stacktrace=1
verify-core-asan: | system-verify-core ## the C core's tests under AddressSanitizer and UndefinedBehaviorSanitizer
	$(call CORE_INSTRUMENTED,asan) CC=gcc CFLAGS='$(CORE_ASAN) -O1' LDFLAGS='$(CORE_ASAN)'

# It runs one thread at a time, some twenty times slower.
CORE_VALGRIND := valgrind --quiet --fair-sched=yes --suppressions=tests/core/valgrind.supp --error-exitcode=99 \
    --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite

verify-core-valgrind: export WG_TEST_VALGRIND := 1
verify-core-valgrind: export WG_TEST_EFFORT := 0.05
verify-core-valgrind: | system-verify-core ## the C core's tests under valgrind's memcheck, with less repetition
	$(call CORE_INSTRUMENTED,valgrind) CORE_RUN_FLAGS='--under "$(CORE_VALGRIND)"'

# On 32-bit x86 with 64-bit times: other sizes, other alignments, and system calls of their own.
CORE_I386 := -m32 -O1 -D_TIME_BITS=64 -D_FILE_OFFSET_BITS=64 -fsanitize=undefined -fno-sanitize-recover=all

.PHONY: verify-core-i386
verify-core-i386: ## the C core's tests as 32-bit x86, under UndefinedBehaviorSanitizer
	@if tools/system-packages verify-i386; then \
	    $(MAKE) --no-print-directory test-core-instrumented CORE_DIR=build/verify-core/i386 CC=gcc \
	        CORE_REPORT=build/reports/core-i386.xml CFLAGS='$(CORE_I386)' LDFLAGS='-m32 -fsanitize=undefined'; \
	else echo "verify-core-i386: 0 passed, 0 failed, 1 skipped: no compiler or no cmocka for i386"; fi

.PHONY: verify-core-compilers
verify-core-compilers: core $(CORE_TEST_DIR)/test_install ## the core compiles without a warning by every gcc and clang there is
	@tools/newest-compilers
	@WG_TEST='*_has_nothing_to_say' python3 tools/run_cmocka.py build/reports/core-compilers.xml $(CORE_TEST_DIR)/test_install

verify-core-portable: ## the C core's tests, sleeping by pthread and signalling by pipe
	+$(MAKE) --no-print-directory test-core PARK=pthread SIGNAL=pipe CORE_REPORT=build/reports/core-portable.xml
