# Several languages in one process, and hosts with interpreters inside: C programs that embed them, and servers.

.PHONY: test-hub verify-hub-asan verify-hub-tsan hub-sanitized
test-hub: core python lua | system-test ## several languages in one process, and hosts that embed them (WG_TEST_EFFORT=)
	$(PYTEST) tests/hub

# $(call hub-sanitized,SANITIZERS,NAME,TESTS): the C hosts, with both modules and the core, under sanitizers. The interpreters
# themselves are as they come.
HUB_HOSTS := tests/hub/test_three_languages.py tests/hub/test_interpreters.py
hub-sanitized = $(Q)HUB_CFLAGS=-fsanitize=$(1) $(MAKE) --no-print-directory hub-sanitized SANITIZE=$(1) \
    PY_DIR=build/python-$(2) LUA_BUILD=build/lua-$(2) HUB_TESTS='$(3)'

hub-sanitized: lua python-in
	PYTHONPATH="$(CURDIR)/$(PY_DIR)/lib" LUA_BUILD=$(LUA_BUILD) PYTHONMALLOC=malloc WG_TEST_EFFORT=2 \
	    $(PYTHON) -m pytest $(HUB_TESTS) --timeout 900 -p no:cacheprovider

# What Python itself does not free at its end is no leak of ours.
verify-hub-asan: export ASAN_OPTIONS := detect_leaks=0
verify-hub-asan: export UBSAN_OPTIONS := print_stacktrace=1
verify-hub-asan: $(PY_READY) ## hosts of several languages under AddressSanitizer and UndefinedBehaviorSanitizer, with more rounds
	$(call hub-sanitized,address$(comma)undefined,sanitized,tests/hub/test_python_host.py $(HUB_HOSTS))

# Interpreters that are not instrumented write to memory by memcpy and the like, under locks of their own.
verify-hub-tsan: export TSAN_OPTIONS := ignore_interceptors_accesses=1:halt_on_error=1
verify-hub-tsan: $(PY_READY) ## the same under ThreadSanitizer
	$(call hub-sanitized,thread,tsan,$(HUB_HOSTS))

.PHONY: verify-hub-soak
verify-hub-soak: core python lua | system-test ## 10,000 groups shared by three languages: memory, threads and descriptors stay flat
	WG_TEST_EFFORT=10 $(PYTHON) -m pytest tests/hub/test_soak.py --timeout 900 -p no:cacheprovider

# The Python of mod_wsgi is Debian's.
WSGI_PYTHON := /usr/bin/python3
WSGI_BUILD := build/python-wsgi

.PHONY: verify-apache
verify-apache: $(PY_READY) | system-verify-apache ## the real Apache with mod_wsgi
	$(call python-apart,$(WSGI_BUILD),PY_OPTIONS='-DWAITGROUP_PYTHON=ON -DPython_EXECUTABLE=$(WSGI_PYTHON)')
	WAITGROUP_WSGI_PATH="$(CURDIR)/$(WSGI_BUILD)/lib" $(PYTHON) -m pytest tests/hub/test_apache.py -p no:cacheprovider
