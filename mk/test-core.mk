# The tests of the C core: cmocka programs in tests/core, one a promise. `make test-core PARK=pthread SIGNAL=pipe` tests
# the portable ways of sleeping and signalling; WG_TEST_EFFORT=10 makes the repeated ones ten times as long.
CORE_REPORT ?= build/reports/core.xml
CORE_TEST_INPUTS = $(CORE_INPUTS) $(wildcard tests/core/*.[ch] tests/core/*.txt tests/core/*.cmake) mk/test-core.mk
CORE_TESTS = $(patsubst tests/core/%.c,$(CORE_DIR)/tests/%,$(sort $(wildcard tests/core/test_*.c)))
# $(call run-ctest,DIRECTORY,REPORT,FLAGS): each test of each program, by name, into a JUnit report.
run-ctest = @mkdir -p build/reports && ctest --test-dir $(1) --output-junit '$(CURDIR)/$(2)' --no-tests=error --progress \
    --output-on-failure $(3)

.PHONY: test-core test-core-programs
test-core: core test-core-programs ## the C core: unit, fault and stress tests (PARK=, SIGNAL=, WG_TEST_EFFORT=)
	$(call run-ctest,$(CORE_DIR),$(CORE_REPORT))

test-core-programs: $(CORE_DIR)/tests/.built

$(CORE_TESTS): $(CORE_DIR)/tests/.built

$(CORE_DIR)/tests/.built: $(CORE_TEST_INPUTS) | $(CORE_SO) system-test
	$(call say,tests,of the C library in $(CORE_DIR)/tests)
	$(call cmake-configure,$(CORE_DIR),$(CORE_OPTIONS) -DWAITGROUP_TESTS=ON)
	$(call cmake-build,$(CORE_DIR),core_tests)
	@touch $@

# The same tests under sanitizers and valgrind, each in a build of its own. What these cannot do is skipped, and counted
# as skipped; test_install has nothing to do with them.
.PHONY: test-core-instrumented verify-core-tsan verify-core-asan verify-core-valgrind verify-core-portable
test-core-instrumented: test-core-programs
	$(call run-ctest,$(CORE_DIR),$(CORE_REPORT),--label-exclude '^test_install$$')

CORE_INSTRUMENTED = +$(MAKE) --no-print-directory test-core-instrumented CORE_DIR=build/verify-core/$(1) \
    CORE_REPORT=build/reports/core-$(1).xml

verify-core-tsan verify-core-asan: export WG_TEST_EFFORT := 5
verify-core-tsan: export TSAN_OPTIONS := halt_on_error=1
verify-core-tsan: | system-verify-core ## the C core's tests under ThreadSanitizer, of gcc and of clang
	$(call CORE_INSTRUMENTED,tsan-gcc) CC=gcc SANITIZE=thread
	$(call CORE_INSTRUMENTED,tsan-clang) CC=clang SANITIZE=thread

verify-core-asan: export ASAN_OPTIONS := detect_stack_use_after_return=1
verify-core-asan: export UBSAN_OPTIONS := print_stacktrace=1
verify-core-asan: | system-verify-core ## the C core's tests under AddressSanitizer and UndefinedBehaviorSanitizer
	$(call CORE_INSTRUMENTED,asan) CC=gcc SANITIZE=address,undefined

# It runs one thread at a time, some twenty times slower.
CORE_VALGRIND := valgrind --quiet --fair-sched=yes --suppressions=$(CURDIR)/tests/core/valgrind.supp --error-exitcode=99 \
    --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite

verify-core-valgrind: export WG_TEST_VALGRIND := 1
verify-core-valgrind: export WG_TEST_EFFORT := 0.05
verify-core-valgrind: export WG_TEST_UNDER := $(CORE_VALGRIND)
verify-core-valgrind: | system-verify-core ## the C core's tests under valgrind's memcheck, with less repetition
	$(call CORE_INSTRUMENTED,valgrind)

.PHONY: verify-core-compilers
verify-core-compilers: core test-core-programs ## the core compiles without a warning by every gcc and clang there is
	@tools/newest-compilers
	$(call run-ctest,$(CORE_DIR),build/reports/core-compilers.xml,--tests-regex has_nothing_to_say)

verify-core-portable: ## the C core's tests, sleeping by pthread and signalling by pipe
	+$(MAKE) --no-print-directory test-core PARK=pthread SIGNAL=pipe CORE_REPORT=build/reports/core-portable.xml
