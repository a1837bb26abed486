# Several languages in one process, and hosts with interpreters inside: C programs that embed them, and servers.

.PHONY: test-hub verify-hub-asan
test-hub: core python lua | system-test ## several languages in one process, and hosts that embed them (WG_TEST_EFFORT=)
	$(PYTEST) tests/hub

# What Python itself does not free at its end is no leak of ours.
verify-hub-asan: export ASAN_OPTIONS := detect_leaks=0
verify-hub-asan: export UBSAN_OPTIONS := print_stacktrace=1
verify-hub-asan: export HUB_CFLAGS := -fsanitize=address,undefined
verify-hub-asan: $(PY_READY) ## the same under AddressSanitizer and UndefinedBehaviorSanitizer, with more rounds
	$(call python-apart,$(PY_SANITIZED),SANITIZE=address$(comma)undefined CFLAGS=-Werror)
	PYTHONPATH="$(CURDIR)/$(PY_SANITIZED)/lib" PYTHONMALLOC=malloc WG_TEST_EFFORT=2 \
	    $(PYTHON) -m pytest tests/hub/test_python_host.py --timeout 900 -p no:cacheprovider

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
