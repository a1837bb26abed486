-- Tasks on other threads: what they get, what they give, and that none sees what another did.
local waitgroup = require "waitgroup"
local process = require "process"

-- Run one task on a thread: true and its results, or nil, error, traceback.
local function thread(...)
  local g = waitgroup.errgroup()
  local task = assert(g:thread(...))
  g:wait(30)
  return task:result(30)
end

local function results(...)
  return table.pack(thread(...))
end

describe("a task on a thread", function()
  it("takes arguments and gives results, holes included", function()
    assert.same({ true, nil, 2, nil, n = 4 }, results(function(...) return ... end, nil, 2, nil))
    assert.same({ true, n = 1 }, results(function() end))
    assert.same({ true, 250, n = 2 }, results(function(...) return select("#", ...) end, table.unpack({}, 1, 250)))
  end)

  it("has the upvalues of its function", function()
    local a, t, missing = 7, { 1, 2 }, nil
    local function helper(x) return x * a end
    assert.same({ true, 14, 2, nil, n = 4 }, results(function() return helper(2), #t, missing end))
  end)

  it("has upvalues that are shared, recursive, and set by what it runs", function()
    local count = 0
    local function up() count = count + 1 end
    local function fib(n)
      up()
      return n < 2 and n or fib(n - 1) + fib(n - 2)
    end
    assert.same({ true, 55, 177, n = 3 }, results(function() return fib(10), count end))
    assert.equal(0, count)
    assert.same({ true, 55, 177, n = 3 }, results(function() return fib(10), count end))
  end)

  it("has fresh upvalues each time, though its code is kept", function()
    local function counter()
      local n = 0
      return function(step)
        n = n + step
        return n
      end
    end
    local f = counter()
    for _ = 1, 5 do
      assert.same({ true, 3, n = 2 }, results(f, 3))
    end
    f(10)
    assert.same({ true, 13, n = 2 }, results(f, 3))
  end)

  it("can be any of many functions", function()
    local g, tasks = waitgroup.errgroup { limit = 1 }, {}
    for i = 1, 600 do
      tasks[i] = g:thread(load(("return %d, ..."):format(i)), -i)
    end
    assert.is_true(g:wait(30))
    for i = 1, 600 do
      assert.same({ true, i, -i }, { tasks[i]:result() })
    end
  end)

  it("may use modules and library functions as upvalues", function()
    local format, insert = string.format, table.insert
    assert.same({ true, "5", 1, "table", n = 4 }, results(function()
      local t = {}
      insert(t, format("%d", 5))
      return t[1], #t, type(waitgroup.new) == "function" and type(waitgroup)
    end))
  end)

  it("may use a module as an upvalue that is not loaded there yet", function()
    local path = package.path
    package.path = "tests/lua/modules/?.lua;" .. path
    local sample = require "sample"
    assert.same({ true, 3, 1, n = 3 }, results(function() return sample.add(1, 2) end))
    package.path, package.loaded.sample, SAMPLE_WAS_LOADED = path, nil, nil
  end)

  it("can be a function of a module, by name", function()
    local path = package.path
    package.path = "tests/lua/modules/?.lua;" .. path
    assert.same({ true, 5, 1, n = 3 }, results("sample", "add", 2, 3))
    assert.same({ true, 2, nil, "x", n = 4 }, results("callable", nil, nil, "x"))
    assert.same({ true, 0, n = 2 }, results("callable"))
    local ok, err, traceback = thread("sample", "fail")
    assert.is_nil(ok)
    assert.matches("modules/sample.lua:10: in the module", err)
    assert.matches("modules/sample.lua:10: in function 'sample.fail'", traceback)
    package.path = path
  end)

  it("says what is missing", function()
    assert.matches("module 'no.such.module' not found", select(2, thread("no.such.module")))
    assert.matches("module 'string' has no function 'nope'", select(2, thread("string", "nope")))
    assert.matches("module 'string' is a table, not a function: name the function to call", select(2, thread("string")))
    local path = package.path
    package.path = "tests/lua/modules/?.lua;" .. path
    assert.matches("module 'callable' is a function, not a table with functions", select(2, thread("callable", "call")))
    package.path = path
  end)

  it("has package.path, package.cpath and package.preload of its parent", function()
    local path, cpath = package.path, package.cpath
    package.path, package.cpath = "/one/?.lua;" .. path, "/two/?.so;" .. cpath
    local secret = { 42 }
    package.preload["made.up"] = function(name) return { name = name, secret = secret[1] } end
    package.preload["bad.one"] = function() return io.stdout, coroutine.running() end
    local co = coroutine.create(print)
    package.preload["worse"] = function() return co end
    package.preload[1] = print
    assert.same({ true, package.path, package.cpath, "made.up", 42, n = 5 }, results(function()
      local m = require "made.up"
      return package.path, package.cpath, m.name, m.secret
    end))
    assert.matches("this preloaded module is not here: loader, upvalue 'co': a coroutine cannot cross threads",
      select(2, thread(function() require "worse" end)))
    package.path, package.cpath = path, cpath
    package.preload["made.up"], package.preload["bad.one"], package.preload["worse"] = nil, nil, nil
    package.preload[1] = nil
    assert.is_false(select(2, thread(function() return (pcall(require, "made.up")) end)))
  end)

  it("gives its error as thrown, with the place", function()
    local ok, err, traceback = thread(function() error({ code = 5, list = { 1, 2 } }) end)
    assert.is_nil(ok)
    assert.same({ code = 5, list = { 1, 2 } }, err)
    assert.matches("thread_spec.lua:%d+: in", traceback)
    assert.matches("thread_spec.lua:%d+: attempt to index a nil value %(local 'x'%)",
      select(2, thread(function(x) return x.y end)))
  end)

  it("gives a text for errors that cannot cross", function()
    assert.matches("^thread: 0x", select(2, thread(function() error(coroutine.create(print)) end)))
    assert.matches("^file %(", select(2, thread(function() error(io.stdout) end)))
    assert.equal("shown", select(2, thread(function()
      error(setmetatable({ print = coroutine.create(print) }, { __tostring = function() return "shown" end }))
    end)))
    assert.equal("(error object is a table value)", select(2, thread(function()
      error(setmetatable({ print = coroutine.create(print) }, { __tostring = function() error {} end }))
    end)))
  end)

  it("that overflows the stack fails, and its thread lives on", function()
    assert.matches("stack overflow", select(2, thread(function()
      local function f() return 1 + f() end
      return f()
    end)))
    assert.same({ true, 1, n = 2 }, results(function() return 1 end))
  end)

  it("that recurses for ever in whatever way fails, however small the stacks of the system's threads are", function()
    local code = [[
      local waitgroup = require "waitgroup"
      local ways = {
        calls = function() local function f() return 1 + f() end f() end,
        pcall = function() local function f() assert(pcall(f)) end f() end,
        xpcall = function() xpcall(error, function() error() end) error "handled" end,
        gsub = function() local function f() return (("x"):gsub("x", f)) end f() end,
        sort = function() local function f() table.sort({ 1, 2, 3 }, f) return false end f() end,
        index = function() local t = setmetatable({}, {}) getmetatable(t).__index = function(_, k) return t[k] end
          return t.x end,
        tostring = function() local t = setmetatable({}, { __tostring = tostring }) return tostring(t) end,
        concat = function() local t = setmetatable({}, {}) getmetatable(t).__concat = function(a, b) return a .. b end
          return t .. t end,
        close = function() local function f() local x <close> = setmetatable({}, { __close = f }) end f() end,
        wrap = function() local function f() return coroutine.wrap(f)() end f() end,
        load = function() assert(load("return " .. ("("):rep(100000))) end,
        dostring = function() local function f() return assert(load(function() return f() end))() end f() end,
        pattern = function() return (("x"):rep(1000000)):match((".-"):rep(1000) .. "y") end,
        format = function() local t = setmetatable({}, {}) getmetatable(t).__tostring = function()
          return ("%s"):format(t) end return ("%s"):format(t) end,
        require = function() package.preload.m = function() return require "m" end return require "m" end,
      }
      local names = {}
      for name in pairs(ways) do names[#names + 1] = name end
      table.sort(names)
      for _, name in ipairs(names) do
        local g = waitgroup.errgroup { grace = 5 }
        g:thread(ways[name])
        local ok, why = g:wait(15)
        print(name, ok, type(why))
      end
    ]]
    local small, usual = process(code, "ulimit -s 200"), process(code)
    assert.matches("calls\tnil\tstring", usual)
    assert.matches("wrap\tnil\tstring.*status 0\n$", usual)
    assert.equal(usual, small)
  end)

  it("fails when a result cannot cross", function()
    assert.matches("^task tests/lua/thread_spec.lua:%d+: result 2: a coroutine cannot cross threads$",
      select(2, thread(function() return 1, coroutine.create(print) end)))
  end)

  it("may start others, with functions that lead out of its own globals", function()
    local require, setmetatable, rawset, input = require, setmetatable, rawset, io.input
    assert.same({ true, true, true, true, true, n = 5 }, results(function()
      local g = require("waitgroup").errgroup()
      local task = g:thread(function(...)
        local same = { ... }
        return same[1] == require, same[2] == setmetatable, same[3] == rawset, same[4] == input
      end, require, setmetatable, rawset, input)
      assert(g:wait(20))
      return select(2, task:result())
    end))
  end)

  it("may start coroutines, which end before it does", function()
    local wg = waitgroup.new(3)
    assert.is_true(thread(function(counter)
      local w = require "waitgroup"
      local local_wg = w.new()
      for i = 1, 3 do
        local_wg:go(function()
          w.sleep(i / 1000)
          counter:done()
        end)
      end
    end, wg))
    assert.equal(0, wg:count())
  end)

  it("may start coroutines in a group, or by a module, that it was given: they too end before it does", function()
    for _, start in ipairs {
      function(group, wg) group:go(function() wg:done() end) end,
      function(_, wg) waitgroup.new():go(function() wg:done() end) end,
    } do
      local g, wg = waitgroup.errgroup(), waitgroup.new(1)
      assert.is_true(thread(start, g, wg))
      assert.equal(0, wg:count())
      assert.is_true(g:wait(20))
    end
  end)

  it("sees that it is cancelled", function()
    local g, started = waitgroup.errgroup(), waitgroup.new(1)
    local task = g:thread(function(wg)
      local n, context = 0, require("waitgroup").current_context()
      wg:done()
      while not context:cancelled() do
        n = n + 1
      end
      return n, context:err()
    end, started)
    assert.is_true(started:wait(20))
    g:cancel { "because" }
    assert.is_nil(g:wait(20))
    local ok, n, why, cause = task:result()
    assert.is_true(ok)
    assert.equal("integer", math.type(n))
    assert.equal("cancelled", why)
    assert.same({ "because" }, cause)
  end)

  for how, after in pairs {
    ["it ends well"] = function() end,
    ["it fails"] = function() error "by itself" end,
    ["its coroutine still sleeps"] = function() require("waitgroup").new():go(require("waitgroup").sleep, 0.001) end,
  } do
    it("calls back when its context has ended, though it never waits: " .. how, function()
      local g, started, called = waitgroup.errgroup(), waitgroup.new(1), waitgroup.new(2)
      g:thread(function(wg, count, finish)
        local context = require("waitgroup").current_context()
        context:on_cancel(function()
          count:done()
          require("waitgroup").new():go(function() count:done() end)
        end)
        wg:done()
        while not context:cancelled() do end
        finish()
      end, started, called, after)
      assert.is_true(started:wait(20))
      g:cancel()
      g:wait(20)
      assert.equal(0, called:count())
    end)
  end

  it("is interrupted in a busy loop, if the group says so", function()
    local g, started = waitgroup.errgroup { interrupt = 1000 }, waitgroup.new(1)
    local task = g:thread(function(wg)
      wg:done()
      while true do
        pcall(function() while true do end end)
      end
    end, started)
    assert.is_true(started:wait(20))
    g:cancel()
    assert.is_true(g:wait(20))
    assert.is_true(task:cancelled())
    assert.same({ true, 1, n = 2 }, results(function()
      local n = 0
      for _ = 1, 100000 do n = 1 end
      return n
    end))
  end)

  for _, how in ipairs { "the task", "pcall", "xpcall", "a block that a caught error has left", "a coroutine" } do
    it("that is interrupted cleans up undisturbed: " .. how, function()
      local g, started, lines = waitgroup.errgroup { interrupt = 100 }, waitgroup.new(1), waitgroup.new()
      g:thread(function(wg, counter, place)
        local function cleaner()
          return setmetatable({}, { __close = function()
            for _ = 1, 201 do
              counter:add()
              local busy
              for i = 1, 1000 do busy = i end
              assert(busy == 1000)
            end
          end })
        end
        local function work()
          local _ <close> = cleaner()
          while true do end
        end
        wg:done()
        if place == "the task" then
          work()
        elseif place == "a coroutine" then
          coroutine.wrap(work)()
        elseif place:find "block" then
          local _ <close> = cleaner()
          pcall(function() while true do end end)
        else
          _G[place](work, print)
          while true do end
        end
      end, started, lines, how)
      assert.is_true(started:wait(20))
      waitgroup.sleep(0.01)
      g:cancel()
      assert.is_true(g:wait(20))
      assert.equal(201, lines:count())
    end)
  end

  it("has a name", function()
    local g = waitgroup.errgroup()
    local task = g:thread(function() end)
    assert.matches("^tests/lua/thread_spec.lua:%d+$", task:name())
    assert.matches("^waitgroup.Task tests/lua/thread_spec.lua:%d+ %(%a+, thread%)$", tostring(task))
    assert.equal("string.len", g:thread("string", "len", "x"):name())
    g:wait(20)
    assert.matches("%(ended, thread%)$", tostring(task))
  end)

  it("runs beside others", function()
    local g, both = waitgroup.errgroup(), waitgroup.new(2)
    for _ = 1, 2 do
      g:thread(function(wg)
        wg:done()
        assert(wg:wait(20))
      end, both)
    end
    assert.is_true(g:wait(30))
  end)
end)

describe("a task never sees what another did to", function()
  -- Both run in the same state: with one slot, the second follows the first on a thread that is there already.
  local function after(first, second)
    local g = waitgroup.errgroup { limit = 1 }
    for _ = 1, 4 do
      g:thread(first)
    end
    local tasks = {}
    for i = 1, 4 do
      tasks[i] = g:thread(second)
    end
    assert(g:wait(30))
    for i = 2, 4 do
      assert.same(table.pack(tasks[1]:result()), table.pack(tasks[i]:result()))
    end
    return select(2, tasks[1]:result())
  end

  it("globals", function()
    assert.is_nil(after(function() leaked = 1 _G.leaked = 2 rawset(_G, "leaked", 3) load("leaked = 4")() end,
      function() return leaked or _G.leaked or rawget(_G, "leaked") or load("return leaked")() end))
  end)

  it("globals that replace those of the real ones, and _G itself", function()
    assert.same({ "function", true, "nil" }, after(function() print, _G, mine = nil, 5, _G end,
      function() return { type(print), _G == load("return _G")(), type(mine) } end))
  end)

  it("globals in a finalizer, which runs when the next task does", function()
    assert.equal("nil", after(function()
      setmetatable({}, { __gc = function() late = true end })
    end, function()
      collectgarbage()
      return type(late)
    end))
  end)

  for how, spoil in pairs {
    ["by _G"] = function() setmetatable({}, { __gc = function() _G.late = true end }) end,
    ["by code that is loaded then"] = function() setmetatable({}, { __gc = function() load("late = true")() end }) end,
    ["of what a global refers to"] = function() kept = setmetatable({}, { __gc = function() _G.late = true end }) end,
    ["of what a library refers to"] = function() string.kept = setmetatable({}, { __gc = function() _G.late = true end }) end,
  } do
    it("globals in a finalizer, " .. how, function()
      assert.equal("nil", after(spoil, function()
        collectgarbage()
        return type(late)
      end))
    end)
  end

  it("libraries, in a finalizer", function()
    assert.same({ "nil", "nil" }, after(function()
      setmetatable({}, { __gc = function() string.late = true getmetatable("").late = true end })
    end, function()
      collectgarbage()
      return { type(string.late), type(getmetatable("").late) }
    end))
  end)

  it("libraries, by functions that do not look like it", function()
    local rawset, insert = rawset, table.insert
    for _, change in ipairs {
      function() rawset(string, "one", 1) end,
      function() _G.rawset(string, "one", 1) end,
      function() for name, f in pairs(_G) do if name == "rawset" then f(string, "one", 1) end end end,
      function() load("two = 2", "chunk", "t", string)() end,
      function() math.three = 3 end,
      function() for name in pairs(io) do io[name] = nil end io.four = 4 end,
      function() insert(os, 1) table.move({ 1, 2 }, 1, 2, 1, os) end,
      load("local _ENV = utf8 six = 6"),
    } do
      assert.same({ "nil", "nil", "nil", "nil", 0, "nil", "function" }, after(change, function()
        return { type(string.one), type(string.two), type(math.three), type(io.four), #os, type(utf8.six),
          type(io.write) }
      end))
    end
  end)

  it("library functions", function()
    assert.same({ false, false, true, true }, after(function()
      function string.shout(s) return s:upper() .. "!" end
      assert(("x"):shout() == "X!")
      string.format, math.pi, print = nil, 3, nil
      table.insert = function() error "mine" end
      os.exit = error
    end, function()
      return { string.shout ~= nil, pcall(function() return ("x"):shout() end), math.pi > 3 and print ~= nil,
        pcall(table.insert, {}, 1) and string.format("%d", 1) == "1" }
    end))
  end)

  it("package.loaded and its kin", function()
    local path = package.path
    package.path = "tests/lua/modules/?.lua;" .. path
    assert.same({ 1, false, 4, "nil" }, after(function()
      local sample = require "sample"
      sample.calls = 10
      package.loaded.mine = true
      package.preload.mine = print
      package.searchers[5] = print
      package.path, package.loaded.string, package.loaded._G = "", nil, nil
    end, function()
      local _, calls = require("sample").add(1, 1)
      return { calls, (pcall(require, "mine")), #package.searchers, type(package.preload.mine) }
    end))
    package.path = path
  end)

  it("package.path, whatever way it took", function()
    local path, here = package.path, package
    for _, change in ipairs {
      function() package.path = "mine" end,
      function() here.path = "mine" end,
      function() require("package").path = "mine" end,
      function() for name, value in pairs(_G) do if name == "package" then value.path = "mine" end end end,
    } do
      assert.equal(path, after(change, function() return package.path end))
    end
  end)

  it("metatables of strings and other types", function()
    assert.same({ false, false, false }, after(function()
      getmetatable("").__call = function() return true end
      getmetatable("").__index = nil
      debug.setmetatable(1, { __index = { x = 1 } })
      debug.setmetatable(print, { __index = { x = 1 } })
    end, function()
      return { (pcall(function() return ("x")() end)), (pcall(function() return (1).x end)),
        (pcall(function() return print.x end)) }
    end))
  end)

  it("metatables, with the debug library as an upvalue", function()
    local inspect = debug
    assert.is_false(after(function() inspect.setmetatable(1, { __index = { x = 1 } }) end,
      function() return (pcall(function() return (1).x end)) end))
  end)

  it("default files", function()
    local output = io.output
    for _, change in ipairs { function() io.output(io.stderr) end, function() output(io.stderr) end } do
      assert.is_true(after(change, function() return io.output() == io.stdout end))
    end
  end)

  it("this module", function()
    assert.is_true(after(function() waitgroup.on_error(print) end,
      function() return waitgroup.on_error(nil) == nil end))
  end)

  it("hooks and the collector", function()
    assert.same({ true, true }, after(function()
      debug.sethook(function() error "hooked" end, "", 1000)
      collectgarbage("stop")
    end, function()
      local n = 0
      for _ = 1, 10000 do n = n + 1 end
      return { n == 10000, collectgarbage("isrunning") }
    end))
  end)

  it("random numbers", function()
    local seed = math.randomseed
    for _, change in ipairs { function() math.randomseed(42) end, function() seed(42) end,
                              function() for name, f in pairs(math) do if name == "randomseed" then f(42) end end end } do
      local numbers = {}
      local g = waitgroup.errgroup { limit = 1 }
      for i = 1, 8 do
        g:thread(change)
        numbers[i] = g:thread(function() return math.random(0) end)
      end
      assert(g:wait(30))
      for i = 2, 8 do
        assert.is_true(select(2, numbers[1]:result()) ~= select(2, numbers[i]:result()))
      end
    end
  end)

  it("settings of the collector", function()
    local function set(name, value) -- gives what was set before
      if _VERSION == "Lua 5.4" then
        return collectgarbage("set" .. name, value)
      end
      return collectgarbage("param", name, value)
    end
    local pause, stepmul = set("pause", 200), set("stepmul", 100)
    set("pause", pause)
    set("stepmul", stepmul)
    assert.same({ "incremental", pause, stepmul }, after(function()
      collectgarbage("incremental")
      set("pause", 555)
      set("stepmul", 111)
    end, function() return { collectgarbage("incremental"), set("pause", 1), set("stepmul", 1) } end))
    assert.equal("incremental", after(function() collectgarbage("generational") end,
      function() return collectgarbage("incremental") end))
  end)

  it("warnings", function()
    assert.equal("ended\nstatus 0\n", process [[
      local waitgroup = require "waitgroup"
      local on = warn
      for _, change in ipairs { function() warn("@on") end, function() on("@on") end } do
        local g = waitgroup.errgroup { limit = 1 }
        for _ = 1, 4 do
          g:thread(change)
          g:thread(function() warn("seen") end)
        end
        assert(g:wait(20))
      end
      print("ended")
    ]])
  end)

  it("metatables of files, and of this module's objects, and the module", function()
    assert.same({ "function", "function", "function", "nil" }, after(function()
      local w = require "waitgroup"
      local files, groups = getmetatable(io.stdout), getmetatable(w.errgroup())
      files.__index.write, files.mine, groups.__index.go, w.sleep, w.mine = nil, 1, nil, nil, 1
      package.loaded.waitgroup = w
    end, function()
      local w = require "waitgroup"
      return { type(io.stdout.write), type(w.errgroup().go), type(w.sleep), type(getmetatable(io.stdout).mine or w.mine) }
    end))
  end)

  it("whatever the debug library can reach", function()
    assert.same({ true, "nil", "nil" }, after(function()
      debug.getregistry().mine = 1
      debug.setupvalue(math.random, 1, "broken")
      debug.setmetatable({}, { __gc = function() late = 1 end })
    end, function()
      collectgarbage()
      return { (pcall(math.random)), type(debug.getregistry().mine), type(late) }
    end))
  end)

  it("and walks over globals and libraries as ever", function()
    assert.same({ true, true, true }, after(function() end, function()
      local seen, count = {}, 0
      mine = 1
      for k in pairs(_G) do seen[k] = true end
      for _ in pairs(string) do count = count + 1 end
      return { seen.print and seen.mine and seen._G, count >= 17, next(_G) ~= nil }
    end))
  end)
end)
