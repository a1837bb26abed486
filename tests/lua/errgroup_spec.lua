-- The first task to fail decides; its siblings are cancelled; all errors stay available. For both kinds of tasks.
local waitgroup = require "waitgroup"

-- What assert does outside of busted.
local function must(ok, why, ...)
  if not ok then
    error(why, 2)
  end
  return ok, why, ...
end

local function both(name, test)
  it(name .. ", coroutines", function() test("go", "try_go") end)
  it(name .. ", threads", function() test("thread", "try_thread") end)
end

describe("an error group", function()
  both("without errors ends well", function(go)
    local g = waitgroup.errgroup()
    local task = g[go](g, function(a, b) return a + b, nil, "c" end, 1, 2)
    assert.same({ true, n = 1 }, table.pack(g:wait(20)))
    assert.same({ true, 3, nil, "c", n = 4 }, table.pack(task:result()))
    assert.is_true(task:done())
    assert.is_false(task:cancelled())
    assert.same({}, g:errors())
    assert.equal(1, g:completed())
    assert.is_true(g:wait())
  end)

  both("gives the first error as thrown, with a traceback", function(go)
    local g = waitgroup.errgroup()
    local task = g[go](g, function() error({ code = 42 }) end)
    local ok, err, traceback = g:wait(20)
    assert.is_nil(ok)
    assert.same({ code = 42 }, err)
    assert.matches("errgroup_spec.lua:%d+: in function", traceback)
    local again, same, same_traceback = task:result()
    assert.is_nil(again)
    assert.same(err, same)
    assert.equal(traceback, same_traceback)
    assert.same({ err }, g:errors())
  end)

  both("gives a text with the place", function(go)
    local g = waitgroup.errgroup()
    g[go](g, function() error("broken") end)
    local _, err = g:wait(20)
    assert.matches("errgroup_spec.lua:%d+: broken$", err)
  end)

  both("keeps falsy and odd error values", function(go)
    for _, value in ipairs { false, 0, "", 1.5, math.mininteger } do
      local g = waitgroup.errgroup()
      g[go](g, function() error(value, 0) end)
      local ok, err = g:wait(20)
      assert.is_nil(ok)
      assert.equal(value, err)
    end
    local g = waitgroup.errgroup()
    g[go](g, function() error(nil) end)
    assert.same({ nil, "<no error object>", n = 3 }, { n = 3, (g:wait(20)), (select(2, g:wait(20))) })
    assert.same({ "<no error object>" }, g:errors())
    assert.is_true(g:context():cancelled())
  end)

  both("cancels the siblings, whose stopping is not an error", function(go)
    local g, all = waitgroup.errgroup(), waitgroup.new(4)
    local function together() -- none of them ends before all have started
      all:done()
      must(all:wait(20))
    end
    local sleeper = g[go](g, function()
      together()
      return require("waitgroup").sleep(60)
    end)
    local asserter = g[go](g, function()
      together()
      must(require("waitgroup").sleep(60))
    end)
    local checker = g[go](g, function()
      local w = require "waitgroup"
      together()
      while true do
        w.current_context():check()
        w.sleep(0.001)
      end
    end)
    g[go](g, function()
      together()
      require("waitgroup").sleep(0.02)
      error("the first", 0)
    end)
    local _, err = g:wait(20)
    assert.equal("the first", err)
    assert.same({ "the first" }, g:errors())
    assert.same({ true, nil, "cancelled", "the first" }, { sleeper:result() })
    assert.is_false(sleeper:cancelled())
    for _, task in ipairs { asserter, checker } do
      assert.is_true(task:cancelled())
      local ok, why = task:result()
      assert.is_nil(ok)
      assert.equal("cancelled", why)
    end
  end)

  both("does not start what has not started when it is cancelled", function(go)
    local g = waitgroup.errgroup { limit = 1000 }
    g:cancel("enough")
    local task, why, cause = g[go](g, function() error("ran") end)
    assert.is_nil(task)
    assert.equal("cancelled", why)
    assert.equal("enough", cause)
    assert.same({ nil, "cancelled", "enough" }, { g:wait(20) })
  end)

  it("does not start queued coroutines when it is cancelled", function()
    local g, ran = waitgroup.errgroup(), 0
    local tasks = {}
    for i = 1, 10 do
      tasks[i] = g:go(function()
        ran = ran + 1
        if i == 3 then
          error("third", 0)
        end
      end)
    end
    assert.same({ nil, "third" }, { (function(a, b) return a, b end)(g:wait()) })
    assert.equal(3, ran)
    assert.is_true(tasks[10]:cancelled())
    assert.same({ nil, "cancelled", "third" }, { tasks[10]:result() })
  end)

  both("without a cause is a stop, not an error", function(go)
    local g = waitgroup.errgroup()
    local task = g[go](g, function() must(require("waitgroup").sleep(60)) end)
    waitgroup.sleep(0.01)
    assert.is_true(g:cancel())
    assert.is_false(g:cancel("late"))
    assert.is_true(g:wait(20))
    assert.is_true(task:cancelled())
  end)

  both("that is cancelled still tells an error from a stop", function(go)
    for text, is_stop in pairs { ["cancelled"] = true, ["deadline exceeded"] = true, ["x.lua:1: cancelled"] = true,
      ["not cancelled"] = false, ["cancelled!"] = false, [":: cancelled"] = false, ["12: cancelled"] = false,
      ["x: cancelled"] = false, ["x:1; cancelled"] = false } do
      local g, started = waitgroup.errgroup(), waitgroup.new(1)
      local task = g[go](g, function(wg, what)
        wg:done()
        require("waitgroup").sleep(60)
        error(what, 0)
      end, started, text)
      assert.is_true(started:wait(20))
      g:cancel()
      local ok, err = g:wait(20)
      assert.equal(is_stop or nil, ok, text)
      assert.equal(not is_stop and text or nil, err, text)
      assert.equal(is_stop, task:cancelled())
    end
    local g = waitgroup.errgroup() -- and of one that is not cancelled, it is an error
    g[go](g, function() error("cancelled", 0) end)
    assert.same({ nil, "cancelled" }, { (function(a, b) return a, b end)(g:wait(20)) })
    assert.same({ "cancelled" }, g:errors())
  end)

  both("has a deadline", function(go)
    local g = waitgroup.errgroup { timeout = 0.02 }
    g[go](g, function() require("waitgroup").sleep(60) end)
    local ok, why = g:wait(20)
    assert.is_nil(ok)
    assert.equal("deadline exceeded", why)
  end)

  both("is cancelled with its parent, and gives the parent's cause", function(go)
    local parent = waitgroup.context()
    local g = waitgroup.errgroup { context = parent }
    g[go](g, function() require("waitgroup").sleep(60) end)
    parent:cancel("from above")
    assert.same({ nil, "cancelled", "from above" }, { g:wait(20) })
  end)

  both("is used once", function(go, try)
    local g = waitgroup.errgroup()
    g[go](g, function() end)
    assert.is_true(g:wait(20))
    assert.same({ nil, "finished" }, { g[go](g, function() end) })
    assert.same({ nil, "finished" }, { g[try](g, function() end) })
    assert.is_true(g:context():cancelled())
  end)

  both("that was waited for in vain goes on", function(go)
    local g, go_on = waitgroup.errgroup(), waitgroup.new(1)
    g[go](g, function(wg) wg:wait(20) end, go_on)
    assert.same({ nil, "timeout" }, { g:wait(0) })
    assert.same({ nil, "timeout" }, { g:wait(0.001) })
    go_on:done()
    assert.truthy(g[go](g, function() end))
    assert.is_true(g:wait(20))
  end)

  both("gives all errors in the order in which the tasks failed", function(go)
    local g, all = waitgroup.errgroup(), waitgroup.new(3)
    for i = 1, 3 do
      g[go](g, function(n)
        all:done()
        must(all:wait(20))
        if n > 1 then
          require("waitgroup").sleep(60)
        end
        error(n, 0)
      end, i)
    end
    local _, err = g:wait(20)
    assert.equal(1, err)
    local errors = g:errors()
    assert.equal(3, #errors)
    assert.equal(1, errors[1])
  end)

  it("counts", function()
    local g = waitgroup.errgroup { limit = 10, name = "fetch" }
    assert.equal("fetch", g:name())
    assert.equal(10, g:limit())
    assert.is_nil(waitgroup.errgroup():limit())
    local go_on = waitgroup.new(1)
    for _ = 1, 3 do
      g:go(function() go_on:wait() end)
    end
    assert.equal(3, g:running() + g:pending())
    go_on:done()
    assert.is_true(g:wait())
    assert.equal(3, g:completed())
    assert.equal(0, g:running())
    assert.equal(0, g:pending())
  end)

  it("keeps the very error value within its state", function()
    local thrown = setmetatable({}, { __tostring = function() return "odd" end })
    local g = waitgroup.errgroup()
    local task = g:go(function() error(thrown) end)
    local _, err = g:wait()
    assert.equal(thrown, err)
    assert.equal(thrown, g:errors()[1])
    assert.equal(thrown, select(2, task:result()))
    local co = coroutine.create(print)
    g = waitgroup.errgroup()
    g:cancel(co)
    assert.equal(co, select(3, g:wait()))
  end)

  it("closes the variables of a failed task, which see the error", function()
    local seen
    local g = waitgroup.errgroup()
    g:go(function()
      local _ <close> = setmetatable({}, { __close = function(_, err) seen = err end })
      error("e", 0)
    end)
    g:wait()
    assert.equal("e", seen)
    g = waitgroup.errgroup()
    g:go(function()
      local _ <close> = setmetatable({}, { __close = function() error("second", 0) end })
      error("first", 0)
    end)
    local _, as_in_lua = pcall(function() -- Lua 5.4.0 to 5.4.2 keep the first error
      local _ <close> = setmetatable({}, { __close = function() error("second", 0) end })
      error("first", 0)
    end)
    assert.equal(as_in_lua, select(2, g:wait()))
  end)

  it("takes callable values", function()
    local g = waitgroup.errgroup()
    local task = g:go(setmetatable({}, { __call = function(_, a) return a end }), 5)
    g:wait()
    assert.same({ true, 5 }, { task:result() })
  end)
end)

describe("both kinds of tasks in one group", function()
  it("share the first error and the cancellation", function()
    local g, asleep = waitgroup.errgroup(), waitgroup.new(1)
    local co = g:go(function()
      asleep:done()
      return waitgroup.sleep(60)
    end)
    local thread = g:thread(function(wg)
      wg:wait(20)
      error("thread", 0)
    end, asleep)
    assert.same({ nil, "thread" }, { (function(a, b) return a, b end)(g:wait(20)) })
    assert.same({ true, nil, "cancelled", "thread" }, { co:result() })
    assert.equal("thread", select(2, thread:result()))

    g = waitgroup.errgroup()
    local started = waitgroup.new(1)
    thread = g:thread(function(wg)
      wg:done()
      return require("waitgroup").sleep(60)
    end, started)
    g:go(function()
      must(started:wait(20))
      error("coroutine", 0)
    end)
    assert.equal("coroutine", select(2, g:wait(20)))
    assert.same({ true, nil, "cancelled", "coroutine" }, { thread:result() })
  end)

  it("share the limit", function()
    local g = waitgroup.errgroup { limit = 2 }
    local highest, sum = 0, 0
    local tasks = {}
    for i = 1, 10 do
      if i % 2 == 0 then
        tasks[i] = g:thread(function(n)
          require("waitgroup").sleep(0.002)
          return n
        end, i)
      else
        tasks[i] = g:go(function()
          highest = math.max(highest, g:running() + g:pending())
          waitgroup.sleep(0.002)
          return i
        end)
      end
    end
    assert.is_true(g:wait(20))
    for i = 1, 10 do
      sum = sum + select(2, tasks[i]:result())
    end
    assert.equal(55, sum)
    assert.is_true(highest <= 2)
  end)
end)

describe("a wait group's go", function()
  it("counts the task until it ends, however it ends", function()
    local reported
    local old = waitgroup.on_error(function(err, traceback) reported = { err, traceback } end)
    local wg = waitgroup.new()
    wg:go(function() error("lost", 0) end)
    assert.equal(1, wg:count())
    assert.is_true(wg:wait(10))
    waitgroup.on_error(old)
    assert.equal("lost", reported[1])
    assert.matches("errgroup_spec.lua", reported[2])
  end)

  it("inherits the context of who starts it", function()
    local g, wg = waitgroup.errgroup(), waitgroup.new()
    local got
    g:go(function()
      wg:go(function() got = { waitgroup.sleep(60) } end)
      waitgroup.sleep(0.001)
      g:cancel("stop")
    end)
    assert.is_nil(g:wait(10))
    assert.is_true(wg:wait(10))
    assert.same({ nil, "cancelled", "stop" }, got)
  end)
end)
