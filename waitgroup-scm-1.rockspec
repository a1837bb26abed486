rockspec_format = "3.0"
package = "waitgroup"
version = "scm-1"
source = { url = "git+file://." } -- for `luarocks make` in the tree

description = {
  summary = "Wait groups, error groups and contexts for coroutines and threads",
  detailed = [[
    Wait for any number of tasks, let the first error stop the rest, limit how many run, pass deadlines down: over one
    compact C core, for coroutine tasks of one Lua state and for tasks on other threads, in the same group.
  ]],
  license = "MIT",
  labels = { "concurrency", "threads", "coroutines" },
}

supported_platforms = { "linux" }
dependencies = { "lua >= 5.4, < 5.6" }

-- The Makefile builds with CMake; the module and the core, libwaitgroup, lie side by side.
build = {
  type = "make",
  build_target = "lua",
  install_target = "install-lua",
  variables = {
    CC = "$(CC)",
    CFLAGS = "$(CFLAGS)",
    LUA_INCDIR = "$(LUA_INCDIR)",
    LUA_BUILD = "build/rock",
    PREFIX = "$(PREFIX)",
    LUA_LMOD = "$(LUADIR)",
    LUA_CMOD = "$(LIBDIR)",
  },
}
