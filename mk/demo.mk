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

demo: setup examples ## build everything and run the main jobs on real input, in Python, Lua and C
	@tools/demo
