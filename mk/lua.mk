# The Lua module, in build/lua as it would be installed: waitgroup/*.lua and waitgroup/core.so.
# WG_API: the core is part of the module and keeps its names inside.
LUA_CFLAGS := -DWG_API= $(shell pkg-config --cflags lua5.4 2>/dev/null)
LUA_LMOD ?= $(PREFIX)/share/lua/5.4
LUA_CMOD ?= $(PREFIX)/lib/lua/5.4
LUA_BUILD ?= build/lua
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
	install -d "$(DESTDIR)$(LUA_LMOD)" "$(DESTDIR)$(LUA_CMOD)/waitgroup"
	cp -R lua/waitgroup "$(DESTDIR)$(LUA_LMOD)"
	install -m 755 $(LUA_BUILD)/waitgroup/core.so "$(DESTDIR)$(LUA_CMOD)/waitgroup"

test-lua: lua | system-test ## the Lua module, with busted
	@mkdir -p build/reports
	$(LUA) /usr/bin/busted -Xoutput build/reports/lua.xml
