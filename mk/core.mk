# The C library: `make core PARK=pthread SIGNAL=pipe` for systems without futex and eventfd.
CC ?= cc
PARK ?= futex
SIGNAL ?= eventfd
PREFIX ?= /usr/local
CORE_VERSION := $(shell sed -n 's/^\#define WG_VERSION "\(.*\)"/\1/p' core/include/waitgroup/status.h)
CORE_ABI := $(firstword $(subst ., ,$(CORE_VERSION)))
CORE_WARN := -Wall -Wextra -Wpedantic -Wconversion
# exceptions: the unwinder that ends a thread, and the exceptions of C++ tasks, find our frames described.
CORE_CFLAGS := -std=c11 $(CORE_WARN) -fvisibility=hidden -fexceptions -fPIC -pthread -Icore/include
CORE_SOURCES := $(filter-out core/src/signal_%.c,$(wildcard core/src/*.c)) core/src/signal_$(SIGNAL).c core/src/park/$(PARK).c
CORE_HEADERS := $(wildcard core/include/*.h core/include/waitgroup/*.h core/src/*.h)
CORE_DIR := build/core-$(PARK)-$(SIGNAL)
CORE_OBJECTS := $(CORE_SOURCES:core/src/%.c=$(CORE_DIR)/%.o)
CORE_A := $(CORE_DIR)/libwaitgroup.a
CORE_SO := $(CORE_DIR)/libwaitgroup.so.$(CORE_VERSION)

.PHONY: core install
core: $(CORE_A) $(CORE_SO) $(CORE_DIR)/waitgroup.pc ## build the C library, static and shared

$(CORE_DIR)/%.o: core/src/%.c $(CORE_HEADERS) mk/core.mk
	@mkdir -p $(@D)
	$(CC) -O2 -g $(CORE_CFLAGS) $(CFLAGS) -c -o $@ $<

$(CORE_A): $(CORE_OBJECTS)
	$(AR) rcs $@ $^

# nodelete: threads of the library may outlive the handle by which a program loaded it.
$(CORE_SO): $(CORE_OBJECTS)
	$(CC) -shared -pthread -Wl,-soname,libwaitgroup.so.$(CORE_ABI) -Wl,-z,nodelete $(LDFLAGS) -o $@ $^
	ln -sf $(@F) $(CORE_DIR)/libwaitgroup.so.$(CORE_ABI)
	ln -sf $(@F) $(CORE_DIR)/libwaitgroup.so

$(CORE_DIR)/waitgroup.pc: core/waitgroup.pc.in core/include/waitgroup/status.h mk/core.mk
	@mkdir -p $(@D)
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(CORE_VERSION)|' $< > $@

install: core ## install the C library (PREFIX=, DESTDIR=)
	install -d "$(DESTDIR)$(PREFIX)/include/waitgroup" "$(DESTDIR)$(PREFIX)/lib/pkgconfig"
	install -m 644 core/include/waitgroup.h "$(DESTDIR)$(PREFIX)/include"
	install -m 644 core/include/waitgroup/*.h "$(DESTDIR)$(PREFIX)/include/waitgroup"
	install -m 644 $(CORE_A) "$(DESTDIR)$(PREFIX)/lib"
	install -m 755 $(CORE_SO) "$(DESTDIR)$(PREFIX)/lib"
	cp -P $(CORE_DIR)/libwaitgroup.so $(CORE_DIR)/libwaitgroup.so.$(CORE_ABI) "$(DESTDIR)$(PREFIX)/lib"
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(CORE_VERSION)|' core/waitgroup.pc.in > "$(DESTDIR)$(PREFIX)/lib/pkgconfig/waitgroup.pc"
