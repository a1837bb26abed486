# The Lua module, in build/lua as it would be installed: waitgroup/*.lua and waitgroup/core.so.
# libwaitgroup lies beside the latter. LUA_PACKAGE is Lua's name for pkg-config; LUA_INCDIR, if given, has its headers.
LUA_PACKAGE ?= lua5.4
LUA_INCDIR ?=
LUA_LMOD ?= $(PREFIX)/share/lua/5.4
LUA_CMOD ?= $(PREFIX)/lib/lua/5.4
LUA_BUILD ?= build/lua
LUA_REPORT ?= build/reports/lua.xml
LUA_OPTIONS = -DWAITGROUP_LUA=ON -DWAITGROUP_STATIC_CORE='$(STATIC_CORE)' -DWAITGROUP_LUA_PACKAGE='$(LUA_PACKAGE)' -DWAITGROUP_LUA_INCDIR='$(LUA_INCDIR)'
# $(call lua-to,DIRECTORY OF LUA FILES,DIRECTORY OF C MODULES): install there.
lua-to = $(call cmake-configure,$(LUA_BUILD).o,$(LUA_OPTIONS) -DWAITGROUP_LUA_LMOD='$(1)' -DWAITGROUP_LUA_CMOD='$(2)')
LUA_INPUTS := $(CORE_INPUTS) $(wildcard bindings/*.h bindings/lua/*) $(shell find lua -name '*.lua') mk/lua.mk

.PHONY: lua install-lua test-lua lua-hosts
lua: $(LUA_BUILD)/waitgroup/core.so ## build the Lua module

$(LUA_BUILD)/waitgroup/core.so: $(LUA_INPUTS) | system-build
	$(call say,lua,the Lua module in $(LUA_BUILD))
	$(call lua-to,$(CURDIR)/$(LUA_BUILD),$(CURDIR)/$(LUA_BUILD))
	$(call cmake-build,$(LUA_BUILD).o,lua_module waitgroup)
	$(Q)cmake --install $(LUA_BUILD).o --component lua $(QUIET)
	@touch $@

install-lua: lua ## install the Lua module (PREFIX=, DESTDIR=, LUA_LMOD=, LUA_CMOD=)
	$(call say,install,the Lua module in $(DESTDIR)$(LUA_CMOD))
	$(call lua-to,$(LUA_LMOD),$(LUA_CMOD))
	$(Q)DESTDIR='$(DESTDIR)' cmake --install $(LUA_BUILD).o --component lua $(QUIET)
	$(Q)DESTDIR='$(DESTDIR)' cmake --install $(LUA_BUILD).o --component lua_headers $(QUIET)

# C programs that embed the module, linked in and loaded.
LUA_HOSTS = $(LUA_BUILD).o/host-linked $(LUA_BUILD).o/host-loading
lua-hosts: $(LUA_HOSTS)

$(LUA_HOSTS) &: $(LUA_INPUTS) tests/lua/host.c $(wildcard tests/core/faults.*) | $(LUA_BUILD)/waitgroup/core.so system-test
	$(call say,tests,of the Lua module in $(LUA_BUILD).o)
	$(call cmake-configure,$(LUA_BUILD).o,$(LUA_OPTIONS) -DWAITGROUP_TESTS=ON)
	$(call cmake-build,$(LUA_BUILD).o,lua_hosts)
	@touch $(LUA_HOSTS)

test-lua: lua lua-hosts | system-test ## the Lua module, with busted
	@mkdir -p build/reports
	$(Q)LUA_BUILD=$(LUA_BUILD) $(LUA) /usr/bin/busted -Xoutput $(LUA_REPORT)

.PHONY: bench-lua
bench-lua: lua | system-test system-bench-lua bench-quiet ## measure the Lua module beside luv, cqueues, copas and bare coroutines
	@mkdir -p build/bench
	UV_THREADPOOL_SIZE=2 tools/in-tree-lua bench/lua/bench.lua build/bench/lua.json

HOST_SCENARIOS := two_states closing out_of_memory at_the_cap refused no_descriptors forking forking_in_a_loop extra_space faults \
    hosting hosting_without_states hosting_badly hosting_bare_states workers_out_of_memory
LUA_IN_TREE := LUA_PATH="$(CURDIR)/build/lua/?.lua;$(CURDIR)/build/lua/?/init.lua;;" LUA_CPATH="$(CURDIR)/build/lua/?.so;;"
RUN_HOST = for s in $(HOST_SCENARIOS); do $(LUA_IN_TREE) timeout 600 $(1) $$s || exit 1; done
VALGRIND := env HOST_WAITS=1 valgrind -q --error-exitcode=9 --leak-check=full --child-silent-after-fork=yes

.PHONY: verify-lua-releases verify-lua-valgrind verify-lua-asan verify-lua-tsan verify-lua-gc verify-lua-hosts lua-host-sanitized
verify-lua-valgrind: lua $(LUA_BUILD).o/host-linked | system-verify-core ## the Lua host under valgrind
	@$(call RUN_HOST,$(VALGRIND) $(LUA_BUILD).o/host-linked)

verify-lua-asan: lua ## the Lua host under AddressSanitizer and UndefinedBehaviorSanitizer
	@HOST_WAITS=1 $(MAKE) --no-print-directory lua-host-sanitized LUA_BUILD=build/lua-asan \
	    SANITIZE=address,undefined

verify-lua-tsan: lua ## the Lua host under ThreadSanitizer
	@TSAN_OPTIONS="halt_on_error=1 die_after_fork=0" $(MAKE) --no-print-directory lua-host-sanitized \
	    LUA_BUILD=build/lua-tsan SANITIZE=thread

lua-host-sanitized: lua-hosts
	@$(call RUN_HOST,$(LUA_BUILD).o/host-linked)

verify-lua-releases: | system-verify-lua ## the Lua suite on the Lua of other releases of Debian; as root
	tools/lua-releases

# Which of them cannot run here, the last lines say.
verify-lua-hosts: lua $(PY_READY) | system-verify-lua-hosts ## the Lua module in HAProxy, Prosody and others
	LUA_BUILD=$(LUA_BUILD) $(PYTHON) -m pytest tests/lua/hosts -p no:cacheprovider

verify-lua-gc: lua $(LUA_BUILD).o/host-linked $(LUA_BUILD).o/host-loading | system-test ## the Lua suite with a collector that never rests
	$(LUA) /usr/bin/busted --helper=tests/lua/aggressive.lua -o plainTerminal
