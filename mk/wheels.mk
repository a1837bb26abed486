# The sdist and the wheels: Linux with glibc and with musl, x86-64 and aarch64, for each CPython whose headers are here.
PY_READY_WHEELS := $(VENV)/.ready-wheels
WHEELS := dist

.PHONY: wheels
wheels: $(PY_READY) $(PY_READY_WHEELS) ## the sdist, and wheels for each platform, in dist (HEADERS=directories of Python's headers)
	@$(PYTHON) tools/wheels.py $(WHEELS) $(HEADERS)

.PHONY: verify-interpreters
verify-interpreters: $(PYTHON) | system-verify-interpreters ## pip install . and tests/python on each CPython to be had (INTERPRETERS=)
	PYTHON=$(PYTHON) tools/python-suites $(INTERPRETERS)
