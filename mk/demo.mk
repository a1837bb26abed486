# The examples, built and run.

EXAMPLES_C := $(addprefix build/examples/,squares product checksum)
EXAMPLES_CFLAGS := -std=c11 -O2 $(CORE_WARN) -pthread -Icore/include

.PHONY: examples demo
examples: $(EXAMPLES_C) python lua

build/examples/%: examples/c/%.c $(wildcard examples/c/*.h) $(CORE_A) | system-test
	@mkdir -p $(@D)
	$(call say,example,$@)
	$(Q)$(CC) $(EXAMPLES_CFLAGS) $(CFLAGS) -o $@ $(filter %.c,$^) $(CORE_A) $(LIBS) $(LDFLAGS)

build/examples/product: examples/c/http.c
build/examples/checksum: examples/c/tree.c
build/examples/checksum: LIBS := -lcrypto

# A program with Python and Lua in it, and the one library that all three use.
RUNNER := build/examples/runner

$(RUNNER): examples/hub/runner.c tools/embed_flags.py $(CORE_SO) $(PY_READY) | system-test
	@mkdir -p $(@D)
	$(call say,example,$@)
	$(Q)$(CC) $(EXAMPLES_CFLAGS) -D_GNU_SOURCE $(CFLAGS) -o $@ $< $(CORE_SO) -Wl,-E,-rpath,'$(CURDIR)/$(CORE_DIR)' \
	    $$(pkg-config --cflags --libs $(LUA_PACKAGE)) $$($(PYTHON) tools/embed_flags.py) $(LDFLAGS)

demo: setup examples $(RUNNER) ## build everything and run the main jobs on real input, in Python, Lua, C, and all three at once
	@tools/demo
