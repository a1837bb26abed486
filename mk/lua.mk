# The Lua module, in build/lua as it would be installed: waitgroup/*.lua and waitgroup/core.so.
# WG_API: the core is part of the module and keeps its names inside.
# Asked when it is needed: set-up may install pkg-config and Lua first.
LUA_CFLAGS = -DWG_API= $(shell pkg-config --cflags lua5.4 2>/dev/null)
LUA_LMOD ?= $(PREFIX)/share/lua/5.4
LUA_CMOD ?= $(PREFIX)/lib/lua/5.4
LUA_BUILD ?= build/lua
LUA_REPORT ?= build/reports/lua.xml
LUA_SOURCES := $(wildcard bindings/lua/*.c)
LUA_OBJECTS = $(LUA_SOURCES:bindings/lua/%.c=$(LUA_BUILD).o/%.o) $(CORE_SOURCES:core/src/%.c=$(LUA_BUILD).o/core/%.o)
LUA_FILES_IN := $(shell find lua -name '*.lua')
LUA_FILES_OUT = $(LUA_FILES_IN:lua/%=$(LUA_BUILD)/%)

.PHONY: lua install-lua test-lua
lua: $(LUA_BUILD)/waitgroup/core.so $(LUA_FILES_OUT) ## build the Lua module

$(LUA_BUILD)/%.lua: lua/%.lua
	@mkdir -p $(@D)
	cp $< $@

$(LUA_BUILD).o/core/%.o: core/src/%.c $(CORE_HEADERS) mk/lua.mk
	@mkdir -p $(@D)
	$(CC) -O2 -g $(CORE_CFLAGS) $(LUA_CFLAGS) $(CFLAGS) -c -o $@ $<

$(LUA_BUILD).o/%.o: bindings/lua/%.c $(wildcard bindings/lua/*.h) $(CORE_HEADERS) mk/lua.mk | system-build
	@mkdir -p $(@D)
	$(CC) -O2 -g $(CORE_CFLAGS) $(LUA_CFLAGS) $(CFLAGS) -c -o $@ $<

# nodelete: threads of the module may outlive the Lua state that loaded it.
$(LUA_BUILD)/waitgroup/core.so: $(LUA_OBJECTS)
	@mkdir -p $(@D)
	$(CC) -shared -pthread -Wl,-z,nodelete $(LDFLAGS) -o $@ $^ -ldl

install-lua: lua ## install the Lua module (PREFIX=, DESTDIR=, LUA_LMOD=, LUA_CMOD=)
	install -d "$(DESTDIR)$(LUA_LMOD)" "$(DESTDIR)$(LUA_CMOD)/waitgroup" "$(DESTDIR)$(PREFIX)/include"
	cp -R lua/waitgroup "$(DESTDIR)$(LUA_LMOD)"
	install -m 755 $(LUA_BUILD)/waitgroup/core.so "$(DESTDIR)$(LUA_CMOD)/waitgroup"
	install -m 644 bindings/lua/waitgroup_lua.h "$(DESTDIR)$(PREFIX)/include"

# A C program that embeds the module: linked in, with memory and threads that can be made to fail; and loaded.
LUA_LIBS = $(shell pkg-config --libs lua5.4 2>/dev/null)

$(LUA_BUILD).o/host-linked: tests/lua/host.c tests/core/faults.c $(LUA_OBJECTS)
	$(CC) -O2 -g -std=c11 $(CORE_WARN) -pthread -DLINKED -Ibindings/lua -Itests/core $(LUA_CFLAGS) $(CFLAGS) $(LDFLAGS) \
	    $(WITH_FAULTS) -o $@ $^ $(LUA_LIBS) -ldl

$(LUA_BUILD).o/host-loading: tests/lua/host.c $(LUA_BUILD)/waitgroup/core.so
	$(CC) -O2 -g -std=c11 $(CORE_WARN) -pthread $(LUA_CFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< $(LUA_LIBS)

test-lua: lua $(LUA_BUILD).o/host-linked $(LUA_BUILD).o/host-loading | system-test ## the Lua module, with busted
	@mkdir -p build/reports
	LUA_BUILD=$(LUA_BUILD) $(LUA) /usr/bin/busted -Xoutput $(LUA_REPORT)

.PHONY: bench-lua
bench-lua: lua | system-test system-bench-lua ## measure the Lua module beside luv, cqueues, copas and bare coroutines
	@mkdir -p build/bench
	UV_THREADPOOL_SIZE=2 tools/in-tree-lua bench/lua/bench.lua build/bench/lua.json

HOST_SCENARIOS := two_states closing out_of_memory no_descriptors forking faults \
    hosting hosting_without_states hosting_badly hosting_bare_states workers_out_of_memory
LUA_IN_TREE := LUA_PATH="$(CURDIR)/build/lua/?.lua;$(CURDIR)/build/lua/?/init.lua;;" LUA_CPATH="$(CURDIR)/build/lua/?.so;;"
RUN_HOST = for s in $(HOST_SCENARIOS); do $(LUA_IN_TREE) timeout 600 $(1) $$s || exit 1; done
VALGRIND := env HOST_WAITS=1 valgrind -q --error-exitcode=9 --leak-check=full --child-silent-after-fork=yes

.PHONY: verify-lua-valgrind verify-lua-asan verify-lua-tsan verify-lua-gc lua-host-sanitized
verify-lua-valgrind: lua $(LUA_BUILD).o/host-linked | system-verify-core ## the Lua host under valgrind
	@$(call RUN_HOST,$(VALGRIND) $(LUA_BUILD).o/host-linked)

verify-lua-asan: lua ## the Lua host under AddressSanitizer and UndefinedBehaviorSanitizer
	@HOST_WAITS=1 $(MAKE) --no-print-directory lua-host-sanitized LUA_BUILD=build/lua-asan \
	    SANITIZER="-fsanitize=address,undefined -fno-sanitize-recover=all"

verify-lua-tsan: lua ## the Lua host under ThreadSanitizer
	@TSAN_OPTIONS="halt_on_error=1 die_after_fork=0" $(MAKE) --no-print-directory lua-host-sanitized \
	    LUA_BUILD=build/lua-tsan SANITIZER="-fsanitize=thread"

lua-host-sanitized:
	@$(MAKE) --no-print-directory $(LUA_BUILD).o/host-linked CFLAGS="$(SANITIZER)" LDFLAGS="$(SANITIZER)"
	@$(call RUN_HOST,$(LUA_BUILD).o/host-linked)

verify-lua-gc: lua $(LUA_BUILD).o/host-linked $(LUA_BUILD).o/host-loading | system-test ## the Lua suite with a collector that never rests
	$(LUA) /usr/bin/busted --helper=tests/lua/aggressive.lua -o plainTerminal
