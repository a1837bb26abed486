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
dependencies = { "lua >= 5.4, < 5.5" }

build = {
  type = "builtin",
  modules = {
    ["waitgroup"] = "lua/waitgroup/init.lua",
    ["waitgroup.context"] = "lua/waitgroup/context.lua",
    ["waitgroup.errgroup"] = "lua/waitgroup/errgroup.lua",
    ["waitgroup.scheduler"] = "lua/waitgroup/scheduler.lua",
    ["waitgroup.loops.copas"] = "lua/waitgroup/loops/copas.lua",
    ["waitgroup.loops.cqueues"] = "lua/waitgroup/loops/cqueues.lua",
    ["waitgroup.loops.luv"] = "lua/waitgroup/loops/luv.lua",
    ["waitgroup.core"] = {
      sources = {
        "bindings/lua/context.c",
        "bindings/lua/code.c",
        "bindings/lua/coroutine.c",
        "bindings/lua/decode.c",
        "bindings/lua/encode.c",
        "bindings/lua/errgroup.c",
        "bindings/lua/failure.c",
        "bindings/lua/home.c",
        "bindings/lua/module.c",
        "bindings/lua/names.c",
        "bindings/lua/object.c",
        "bindings/lua/orphan.c",
        "bindings/lua/sandbox.c",
        "bindings/lua/task.c",
        "bindings/lua/waitgroup.c",
        "bindings/lua/worker.c",
        "core/src/context.c",
        "core/src/deadline.c",
        "core/src/errgroup.c",
        "core/src/error.c",
        "core/src/fork.c",
        "core/src/go.c",
        "core/src/lock.c",
        "core/src/os_posix.c",
        "core/src/pool.c",
        "core/src/slab.c",
        "core/src/signal_eventfd.c",
        "core/src/status.c",
        "core/src/stripe.c",
        "core/src/timer.c",
        "core/src/wait.c",
        "core/src/waitgroup.c",
        "core/src/watch.c",
        "core/src/park/futex.c",
      },
      incdirs = { "core/include" },
      libraries = { "pthread", "dl" },
    },
  },
}
