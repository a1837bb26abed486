# The C library, by CMake: `make core PARK=pthread SIGNAL=pipe` for systems without futex and eventfd.
CC ?= cc
CXX ?= c++
PARK ?= futex
SIGNAL ?= eventfd
CORE_VERSION := $(shell sed -n 's/^\#define WG_VERSION "\(.*\)"/\1/p' core/include/waitgroup/status.h)
CORE_WARN := -Wall -Wextra -Wpedantic -Wconversion
CORE_DIR := build/core-$(PARK)-$(SIGNAL)
CORE_A := $(CORE_DIR)/libwaitgroup.a
CORE_SO := $(CORE_DIR)/libwaitgroup.so.$(CORE_VERSION)
CORE_HEADERS := $(wildcard core/include/*.h core/include/waitgroup/*.h)
CORE_OPTIONS = -DWAITGROUP_PARK=$(PARK) -DWAITGROUP_SIGNAL=$(SIGNAL)
# What make watches, to know when to ask CMake; which of it is compiled, core/sources.cmake says.
CORE_INPUTS := CMakeLists.txt $(CORE_HEADERS) \
    $(wildcard core/*.txt core/*.cmake core/*.in core/src/*.[ch] core/src/*/*.[ch] mk/core.mk mk/setup.mk)

.PHONY: core install
core: $(CORE_SO) ## build the C library, static and shared

$(CORE_A) $(CORE_SO) &: $(CORE_INPUTS) | system-build
	$(call say,core,the C library in $(CORE_DIR))
	$(call cmake-configure,$(CORE_DIR),$(CORE_OPTIONS))
	$(call cmake-build,$(CORE_DIR),waitgroup waitgroup_static)
	@touch $(CORE_A) $(CORE_SO)

install: core ## install the C library (PREFIX=, LIBDIR=, DESTDIR=)
	$(call say,install,the C library in $(DESTDIR)$(PREFIX))
	$(call cmake-configure,$(CORE_DIR),$(CORE_OPTIONS))
	$(Q)DESTDIR='$(DESTDIR)' cmake --install $(CORE_DIR) --component library $(QUIET)
	@[ -n '$(DESTDIR)' ] || [ "$$(id -u)" -ne 0 ] || ! command -v ldconfig >/dev/null || ldconfig
