# The sdist and the wheels: Linux with glibc and with musl, x86-64 and aarch64, for each CPython whose headers are here.
PY_READY_WHEELS := $(VENV)/.ready-wheels
WHEELS := dist

.PHONY: wheels
wheels: $(PY_READY) $(PY_READY_WHEELS) ## the sdist, and wheels for each platform, in dist (HEADERS=directories of Python's headers)
	@$(PYTHON) tools/wheels.py $(WHEELS) $(HEADERS)

.PHONY: verify-interpreters
verify-interpreters: $(PYTHON) | system-verify-interpreters ## pip install . and tests/python on each CPython to be had (INTERPRETERS=)
	PYTHON=$(PYTHON) tools/python-suites $(INTERPRETERS)

# The aarch64 ones run under qemu-user, and those for musl in a CPython built with it.
WHEEL_INTERPRETERS ?= bookworm:python3.11:arm64 trixie:python3.13 trixie:python3.13:arm64 trixie:python3.13:musl

.PHONY: verify-wheels
verify-wheels: wheels | system-verify-interpreters system-verify-wheels ## each wheel that can run here, installed without a compiler and tested
	PYTHON=$(PYTHON) tools/python-suites --wheels $(WHEELS) $(WHEEL_INTERPRETERS)
