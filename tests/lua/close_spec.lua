-- `local g <close>`: cancels on an error, and waits. Closing twice is harmless; a closed handle says so.
local waitgroup = require "waitgroup"

describe("closing an error group", function()
  it("waits for its tasks", function()
    local ended = 0
    do
      local g <close> = waitgroup.errgroup()
      for _ = 1, 3 do
        g:go(function()
          waitgroup.sleep(0.01)
          ended = ended + 1
        end)
      end
      g:thread(function() require("waitgroup").sleep(0.02) end)
    end
    assert.equal(3, ended)
  end)

  it("cancels it when the block fails", function()
    local seen
    local ok, err = pcall(function()
      local g <close> = waitgroup.errgroup()
      g:go(function() seen = { waitgroup.sleep(60) } end)
      g:thread(function() require("waitgroup").sleep(60) end)
      waitgroup.sleep(0.001)
      error("the block", 0)
    end)
    assert.is_false(ok)
    assert.equal("the block", err)
    assert.same({ nil, "cancelled", "the block" }, seen)
  end)

  it("works in a task that fails", function()
    local seen
    local outer = waitgroup.errgroup()
    outer:go(function()
      local g <close> = waitgroup.errgroup { context = waitgroup.root() }
      g:go(function() seen = { waitgroup.sleep(60) } end)
      waitgroup.sleep(0.001)
      error("the task", 0)
    end)
    assert.equal("the task", select(2, outer:wait(10)))
    assert.same({ nil, "cancelled", "the task" }, seen)
  end)

  it("works in a task of a thread that fails", function()
    local outer, wg = waitgroup.errgroup(), waitgroup.new(1)
    outer:thread(function(counter)
      local g <close> = require("waitgroup").errgroup { context = require("waitgroup").root() }
      g:go(function()
        require("waitgroup").sleep(60)
        counter:done()
      end)
      require("waitgroup").sleep(0.001)
      error("the task", 0)
    end, wg)
    assert.equal("the task", select(2, outer:wait(10)))
    assert.equal(0, wg:count())
  end)

  -- Lua 5.4.0 to 5.4.2 cannot yield in __close: there a task keeps its C stack.
  local function can_yield_in_close()
    local co = coroutine.wrap(function()
      local _ <close> = setmetatable({}, { __close = function() coroutine.yield(true) end })
    end)
    return (select(2, pcall(co))) == true
  end

  it("yields in a task, also in one that fails", function()
    local expected = can_yield_in_close() and "suspended" or "normal"
    for _, new in ipairs { waitgroup.errgroup, waitgroup.new } do
      for _, fails in ipairs { false, true } do
        local status
        waitgroup.run(function()
          local co = coroutine.running()
          local group <close> = new()
          group:go(function()
            waitgroup.sleep(0.01)
            status = coroutine.status(co)
          end)
          waitgroup.yield()
          if fails then
            error("failed", 0)
          end
        end)
        assert.equal(expected, status)
      end
    end
  end)

  it("gives the outcome, when called", function()
    local g = waitgroup.errgroup()
    g:go(error, "oops")
    local ok, err = g:close()
    assert.is_nil(ok)
    assert.equal("oops", err)
    assert.is_true(g:close())
    assert.equal("waitgroup.ErrGroup (closed)", tostring(g))
  end)

  it("refuses further calls, naming them", function()
    local g = waitgroup.errgroup()
    g:close()
    for _, call in ipairs { "go(print)", "try_go(print)", "thread(f)", "try_thread(f)", "wait()", "cancel()", "errors()",
      "context()", "id()", "running()", "pollfd()" } do
      local code = load(("local g, f = ... ; local _ = g:%s"):format(call), "=here")
      local ok, message = pcall(code, g, function() end)
      assert.is_false(ok)
      assert.equal(("here:1: calling '%s' on bad self (this waitgroup.ErrGroup is closed)"):format(call:match("^%a+[_%a]*")),
        message)
    end
  end)

  it("leaves the tasks that a grace period gives up", function()
    local g, go_on = waitgroup.errgroup { grace = 0.01 }, waitgroup.new(1)
    local task = g:go(function() go_on:wait(nil, waitgroup.root()) end)
    waitgroup.sleep(0.001)
    g:cancel()
    g:close()
    assert.is_false(task:done())
    go_on:done()
    assert.same({ true }, { task:result(10) })
  end)
end)

describe("closing", function()
  it("a wait group waits for its count", function()
    local ended
    do
      local wg <close> = waitgroup.new()
      wg:go(function()
        waitgroup.sleep(0.01)
        ended = true
      end)
    end
    assert.is_true(ended)
    local wg = waitgroup.new()
    wg:close()
    wg:close()
    assert.has_error(function() wg:add() end)
    assert.equal("waitgroup.WaitGroup (closed)", tostring(wg))
  end)

  it("a context cancels it", function()
    local child
    do
      local context <close> = waitgroup.context()
      child = waitgroup.context { parent = context }
      assert.is_false(child:cancelled())
    end
    assert.is_true(child:cancelled())
    local context = waitgroup.context()
    context:close()
    context:close()
    assert.has_error(function() context:check() end)
    assert.equal("waitgroup.Context (closed)", tostring(context))
  end)
end)

describe("waits after the context of their task was closed", function()
  it("end as of one that was cancelled", function()
    local g, got = waitgroup.errgroup(), {}
    g:go(function()
      g:context():close("closed")
      got[1] = { waitgroup.sleep(60) }
      got[2] = { waitgroup.new(1):wait(60) }
      got[3] = { waitgroup.yield() }
    end)
    assert.same({ nil, "cancelled", "closed" }, { g:wait(20) })
    for i = 1, 3 do
      assert.same({ nil, "cancelled", "closed" }, got[i])
    end
  end)
end)

describe("a handle that is given up", function()
  it("does not end its tasks", function()
    require("leak_check").on_purpose()
    local wg = waitgroup.new(2)
    do
      local g = waitgroup.errgroup()
      g:thread(function(w)
        assert(require("waitgroup").sleep(0.02))
        w:done()
      end, wg)
      g:go(function() wg:done() end)
    end
    collectgarbage()
    collectgarbage()
    assert.is_true(wg:wait(10))
  end)

  it("does not end them, however many are given up", function()
    require("leak_check").on_purpose()
    local wg, gates = waitgroup.new(60), { waitgroup.new(1), waitgroup.new(1), waitgroup.new(1) }
    for _, gate in ipairs(gates) do
      for _ = 1, 20 do
        waitgroup.errgroup():thread(function(w, g)
          assert(g:wait(20))
          w:done()
        end, wg, gate)
      end
      collectgarbage()
      collectgarbage()
      waitgroup.sleep(0.01)
      gate:done()
      waitgroup.sleep(0.01)
    end
    assert.is_true(wg:wait(10))
  end)
end)

describe("a grace period", function()
  it("ends the wait and names who was left", function()
    local g, go_on, started = waitgroup.errgroup { grace = 0.02 }, waitgroup.new(1), waitgroup.new(1)
    g:go(function() go_on:wait(nil, waitgroup.root()) end)
    g:thread(function(w, begun)
      begun:done()
      w:wait(nil, require("waitgroup").root())
    end, go_on, started)
    g:go(function()
      started:wait(20)
      error("failed", 0)
    end)
    local ok, err, note = g:wait(20)
    assert.is_nil(ok)
    assert.equal("failed", err)
    assert.matches("left behind after the grace period of 0.02 s: tests/lua/close_spec.lua:%d+ %(for [%d.]+ s%), "
      .. "tests/lua/close_spec.lua:%d+ %(for [%d.]+ s%)", note)
    go_on:done()
  end)

  it("may be 0", function()
    local g, go_on = waitgroup.errgroup { grace = 0 }, waitgroup.new(1)
    g:go(function() go_on:wait(nil, waitgroup.root()) end)
    waitgroup.sleep(0.001)
    g:cancel("now")
    local ok, why, cause, note = g:wait(20)
    assert.same({ nil, "cancelled", "now" }, { ok, why, cause })
    assert.matches("^left behind after the grace period of 0 s: tests/lua/close_spec.lua:%d+ %(for [%d.e-]+ s%)$", note)
    go_on:done()
  end)

  it("is waited for without using the processor", function()
    local g, go_on = waitgroup.errgroup { grace = 0.3 }, waitgroup.new(1)
    g:go(function() go_on:wait(nil, waitgroup.root()) end)
    waitgroup.sleep(0.001)
    g:cancel()
    local cpu = os.clock()
    assert.is_true(g:wait(20))
    assert.is_true(os.clock() - cpu < 0.15)
    go_on:done()
  end)

  it("is not used up by tasks that end in time", function()
    local g = waitgroup.errgroup { grace = 30 }
    g:go(function() waitgroup.sleep(60) end)
    waitgroup.sleep(0.001)
    g:cancel()
    assert.same({ true, n = 1 }, table.pack(g:wait(20)))
  end)
end)
