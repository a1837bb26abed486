-- A wait returns once the count has been zero, or when its time or its context is over; then it leaves nothing behind.
local waitgroup = require "waitgroup"
local core = require "waitgroup.core"

describe("a wait", function()
  it("returns at zero", function()
    assert.is_true(waitgroup.new():wait())
    assert.is_true(waitgroup.new():wait(0))
  end)

  it("times out", function()
    local wg = waitgroup.new(1)
    assert.same({ nil, "timeout" }, { wg:wait(0) })
    assert.same({ nil, "timeout" }, { wg:wait(0.01) })
    wg:done()
    assert.is_true(wg:wait(0.01))
  end)

  it("ends with its context, and gives the cause", function()
    local wg, cause = waitgroup.new(1), { "why" }
    local context = waitgroup.context { timeout = 0.01 }
    assert.same({ nil, "deadline exceeded" }, { wg:wait(nil, context) })
    context = waitgroup.context()
    context:cancel(cause)
    local ok, why, got = wg:wait(10, context)
    assert.is_nil(ok)
    assert.equal("cancelled", why)
    assert.equal(cause, got)
    wg:done()
    assert.is_true(wg:wait(nil, context))
  end)

  it("is woken in a coroutine, all waiters at once", function()
    local wg, order = waitgroup.new(1), {}
    local tasks = waitgroup.new()
    for i = 1, 5 do
      tasks:go(function()
        assert(wg:wait())
        order[#order + 1] = i
      end)
    end
    tasks:go(function() wg:done() end)
    assert.is_true(tasks:wait(10))
    assert.same({ 1, 2, 3, 4, 5 }, order)
  end)

  it("belongs to its generation: adding again before it woke is legal", function()
    local wg, woken = waitgroup.new(1), false
    local tasks = waitgroup.new()
    tasks:go(function()
      assert(wg:wait())
      woken = wg:count()
    end)
    tasks:go(function()
      wg:done()
      wg:add(7)
    end)
    assert.is_true(tasks:wait(10))
    assert.equal(7, woken)
  end)

  it("passes through pcall and metamethods that can yield", function()
    local wg, tasks = waitgroup.new(1), waitgroup.new()
    local got
    tasks:go(function()
      got = { pcall(function() return wg:wait(10) end) }
    end)
    tasks:go(function() wg:done() end)
    assert.is_true(tasks:wait(10))
    assert.same({ true, true }, got)
  end)

  it("in a place that cannot yield runs the others all the same", function()
    local wg, tasks = waitgroup.new(1), waitgroup.new()
    local waited
    tasks:go(function()
      ("x"):gsub("x", function() waited = wg:wait(10) end)
    end)
    tasks:go(function()
      waitgroup.sleep(0.01)
      wg:done()
    end)
    assert.is_true(tasks:wait(10))
    assert.is_true(waited)
  end)

  it("in a coroutine of the user's own within a task runs the others all the same", function()
    local wg, tasks = waitgroup.new(1), waitgroup.new()
    local got
    tasks:go(function()
      got = { coroutine.wrap(function() return wg:wait(10) end)() }
    end)
    tasks:go(function() wg:done() end)
    assert.is_true(tasks:wait(10))
    assert.same({ true }, got)
  end)

  it("that times out leaves no registration", function()
    local wg, context = waitgroup.new(1), waitgroup.context()
    for _ = 1, 100 do
      assert.is_nil(wg:wait(0.0001, context))
    end
    local tasks = waitgroup.new()
    tasks:go(function()
      for _ = 1, 100 do
        wg:wait(0.0001, context)
      end
    end)
    assert.is_true(tasks:wait(10))
    assert.equal(0, core.asleep())
    assert.equal(0, core.alive())
  end)
end)

describe("a sleep", function()
  it("lasts at least as long as asked, and the earliest ends first", function()
    local order, tasks = {}, waitgroup.new()
    local start = core.now()
    for _, i in ipairs { 5, 1, 4, 2, 3 } do
      tasks:go(function()
        assert(waitgroup.sleep(i / 100))
        order[#order + 1] = i
      end)
    end
    assert.is_true(tasks:wait(10))
    assert.same({ 1, 2, 3, 4, 5 }, order)
    assert.is_true(core.now() - start >= 50000000)
  end)

  it("outside of tasks lets them run", function()
    local ran
    waitgroup.new():go(function() ran = true end)
    waitgroup.sleep(0.001)
    assert.is_true(ran)
  end)

  it("of none of many tasks ends too early", function()
    local count, tasks = 0, waitgroup.new()
    local random = 12345
    for _ = 1, 2000 do
      random = (random * 1103515245 + 12345) % 2147483648
      local time = random % 997
      tasks:go(function()
        local start = core.now()
        waitgroup.sleep(time / 100000)
        assert(core.now() - start >= time * 10000, "too early")
        count = count + 1
      end)
    end
    assert.is_true(tasks:wait(20))
    assert.equal(2000, count)
  end)

  it("does not use the processor", function()
    local cpu = os.clock()
    waitgroup.run(function() waitgroup.sleep(0.3) end)
    waitgroup.sleep(0.2)
    assert.is_true(os.clock() - cpu < 0.1)
  end)
end)

-- What others bring about after 0.3 seconds: threads, and the clock.
describe("a wait that does not use the processor:", function()
  local function nap() require("waitgroup").sleep(0.3) end

  local waits = {
    ["for a wait group"] = function(g)
      local wg = waitgroup.new(1)
      g:thread(function(group) require("waitgroup").sleep(0.3) group:done() end, wg)
      assert(wg:wait())
    end,
    ["for an error group"] = function()
      local g = waitgroup.errgroup()
      g:thread(nap)
      assert(g:wait())
    end,
    ["for a task"] = function(g) assert(g:thread(nap):result()) end,
    ["for a context"] = function() assert(waitgroup.context { timeout = 0.3 }:wait()) end,
    ["for room for a coroutine"] = function()
      local g = waitgroup.errgroup { limit = 1 }
      g:thread(nap)
      assert(g:go(function() end))
      assert(g:wait())
    end,
    ["for room for a thread"] = function()
      local g = waitgroup.errgroup { limit = 1 }
      g:thread(nap)
      assert(g:thread(function() end))
      assert(g:wait())
    end,
  }
  local places = {
    outside = function(fn) fn() end,
    ["in a task"] = function(fn) assert(waitgroup.run(fn)) end,
    ["in a coroutine of the user's"] = function(fn) assert(coroutine.wrap(function() fn() return true end)()) end,
    ["where a task cannot be suspended"] = function(fn)
      assert(waitgroup.run(function() ("x"):gsub("x", function() fn() end) end))
    end,
  }
  for what, wait in pairs(waits) do
    for where, run in pairs(places) do
      it(what .. ", " .. where, function()
        local g = waitgroup.errgroup()
        local cpu = os.clock()
        run(function() wait(g) end)
        assert.is_true(os.clock() - cpu < 0.15)
        assert(g:wait())
      end)
    end
  end
end)

describe("yield", function()
  it("lets all others run in turn", function()
    local trace, tasks = {}, waitgroup.new()
    for _, name in ipairs { "a", "b", "c" } do
      tasks:go(function()
        for _ = 1, 3 do
          trace[#trace + 1] = name
          assert(waitgroup.yield())
        end
      end)
    end
    tasks:wait()
    assert.equal("abcabcabc", table.concat(trace))
  end)

  it("outside of tasks, or where a task cannot be suspended, lets the others run", function()
    local ran = 0
    local function task() ran = ran + 1 end
    waitgroup.new():go(task)
    assert.is_true(waitgroup.yield())
    assert.equal(1, ran)
    waitgroup.run(function()
      waitgroup.new():go(task)
      ;("x"):gsub("x", function() assert.is_true(waitgroup.yield()) end)
      assert.equal(2, ran)
    end)
  end)

  it("does not starve timers", function()
    local stop, tasks = false, waitgroup.new()
    tasks:go(function()
      while not stop do
        waitgroup.yield()
      end
    end)
    tasks:go(function()
      waitgroup.sleep(0.01)
      stop = true
    end)
    assert.is_true(tasks:wait(10))
  end)
end)

describe("run", function()
  it("gives the results of its function", function()
    assert.same({ true, 1, nil, 3, n = 4 }, table.pack(waitgroup.run(function(...) return ... end, 1, nil, 3)))
    assert.same({ true, n = 1 }, table.pack(waitgroup.run(function() end)))
  end)

  it("gives the error of its function, with a traceback", function()
    local thrown = { code = 7 }
    local ok, err, traceback = waitgroup.run(function() error(thrown) end)
    assert.is_nil(ok)
    assert.equal(thrown, err)
    assert.matches("wait_spec.lua:%d+: in function", traceback)
  end)

  it("waits for all that was started within, but for nothing else", function()
    require("leak_check").on_purpose() -- `run` waits for all
    local ended, outer = 0, waitgroup.new()
    local forever = waitgroup.new(1)
    outer:go(function() forever:wait() end)
    waitgroup.run(function()
      local wg = waitgroup.new()
      for i = 1, 3 do
        wg:go(function()
          waitgroup.sleep(i / 1000)
          wg:go(function()
            waitgroup.sleep(0.001)
            ended = ended + 1
          end)
        end)
      end
      local g = waitgroup.errgroup()
      g:thread(function() require("waitgroup").sleep(0.02) end)
    end)
    assert.equal(3, ended)
    assert.equal(1, outer:count())
    forever:done()
    assert.is_true(outer:wait(10))
  end)

  it("nests", function()
    local trace = {}
    waitgroup.run(function()
      assert.same({ true, "inner" }, { waitgroup.run(function()
        waitgroup.sleep(0.001)
        trace[#trace + 1] = "inner"
        return "inner"
      end) })
      trace[#trace + 1] = "outer"
    end)
    assert.same({ "inner", "outer" }, trace)
  end)
end)
