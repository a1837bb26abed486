-- A context ends once, with its children, and everybody hears of it.
local waitgroup = require "waitgroup"

describe("a context", function()
  it("lives until it is cancelled; the first call wins", function()
    local context = waitgroup.context()
    assert.is_false(context:cancelled())
    assert.is_nil(context:err())
    context:check()
    assert.is_true(context:cancel("first"))
    assert.is_false(context:cancel("second"))
    assert.is_true(context:cancelled())
    assert.same({ "cancelled", "first" }, { context:err() })
    assert.has_error(function() context:check() end, "cancelled")
  end)

  it("keeps the cause as it is", function()
    for _, cause in ipairs { {}, print, coroutine.create(print), false, 0, io.stdout } do
      local context = waitgroup.context()
      context:cancel(cause)
      assert.equal(cause, select(2, context:err()))
    end
  end)

  it("ends its children, with its cause, but not its parent", function()
    local parent = waitgroup.context()
    local context = waitgroup.context { parent = parent }
    local child = waitgroup.context { parent = context }
    local cause = {}
    context:cancel(cause)
    assert.is_false(parent:cancelled())
    assert.same({ "cancelled", cause }, { child:err() })
    assert.equal(cause, select(2, child:err()))
    assert.is_true(waitgroup.context { parent = child }:cancelled())
  end)

  it("is over when nothing remains, whatever is asked", function()
    for i = 1, 60 do
      local context = waitgroup.context { timeout = 0.001 }
      local child = waitgroup.context { parent = context }
      while context:remaining() > 0 do end
      assert.is_true(context:cancelled())
      if i % 3 == 0 then
        assert.same({ "deadline exceeded", "deadline exceeded" }, { child:err() })
      elseif i % 3 == 1 then
        assert.same({ false, "deadline exceeded" }, { pcall(child.check, child) })
      else
        assert.is_true(child:wait(0))
      end
      assert.is_true(child:cancelled())
    end
  end)

  it("has a deadline", function()
    local context = waitgroup.context { timeout = 0.02 }
    local child = waitgroup.context { parent = context, timeout = 60 }
    assert.is_true(context:remaining() <= 0.02)
    assert.is_true(child:remaining() <= 0.02)
    assert.is_nil(waitgroup.context():remaining())
    assert.is_true(context:wait(10))
    assert.equal("deadline exceeded", (context:err()))
    assert.equal(0, context:remaining())
    assert.is_true(child:wait(10))
    assert.equal("deadline exceeded", (child:err()))
    assert.is_true(waitgroup.context { timeout = 0 }:cancelled())
    assert.is_nil(waitgroup.context { timeout = math.huge }:remaining())
  end)

  it("can be slept on", function()
    local context = waitgroup.context()
    assert.same({ nil, "timeout" }, { context:wait(0) })
    assert.same({ nil, "timeout" }, { context:wait(0.001) })
    local woken
    local wg = waitgroup.new()
    wg:go(function() woken = context:wait() end)
    wg:go(function() context:cancel() end)
    assert.is_true(wg:wait(10))
    assert.is_true(woken)
    assert.is_true(context:wait())
  end)

  it("is not slept on once the sleeping task's own context ends", function()
    local g, other, got = waitgroup.errgroup(), waitgroup.context(), {}
    g:go(function() got[1] = { other:wait(20) } end)
    g:go(function() got[2] = { g:context():wait(20) } end)
    g:go(function() g:cancel("mine") end)
    assert.is_nil(g:wait(20))
    assert.same({ nil, "cancelled", "mine" }, got[1])
    assert.same({ true }, got[2])
    assert.is_false(other:cancelled())
  end)

  it("calls back once, before cancel returns", function()
    local context, calls = waitgroup.context(), 0
    context:on_cancel(function(...)
      assert(select("#", ...) == 0)
      calls = calls + 1
    end)
    context:cancel()
    assert.equal(1, calls)
    context:cancel()
    context:on_cancel(function() calls = calls + 1 end)
    assert.equal(2, calls)
  end)

  it("does not call back when told to stop", function()
    local context, calls = waitgroup.context(), 0
    local stop = context:on_cancel(function() calls = calls + 1 end)
    assert.is_true(stop())
    assert.is_false(stop())
    context:cancel()
    assert.equal(0, calls)
    stop = context:on_cancel(function() calls = calls + 1 end)
    assert.equal(1, calls)
    assert.is_false(stop())
  end)

  it("calls back for a deadline, while somebody drives", function()
    local context, called = waitgroup.context { timeout = 0.01 }, false
    context:on_cancel(function() called = true end)
    for _ = 1, 10000 do
      if called then
        break
      end
      waitgroup.sleep(0.001)
    end
    assert.is_true(called)
  end)

  it("reports a callback that fails, and disturbs nobody", function()
    local reported, after
    local old = waitgroup.on_error(function(err) reported = err end)
    local context = waitgroup.context()
    context:on_cancel(function() error("bad", 0) end)
    context:on_cancel(function() after = true end)
    context:cancel()
    waitgroup.on_error(old)
    assert.equal("bad", reported)
    assert.is_true(after)
  end)

  it("in a task is that of its group, and the parent of what is made there", function()
    local g, made = waitgroup.errgroup(), nil
    assert.is_nil(waitgroup.current_context())
    g:go(function()
      assert.equal(g:context(), waitgroup.current_context())
      made = { waitgroup.context(), waitgroup.errgroup(), waitgroup.context { parent = waitgroup.root() } }
      coroutine.wrap(function() assert.equal(g:context(), waitgroup.current_context()) end)()
      waitgroup.sleep(0.001)
      assert.equal(g:context(), waitgroup.current_context())
    end)
    assert.is_true(g:wait(10))
    assert.is_true(made[1]:cancelled())
    assert.is_true(made[2]:context():cancelled())
    assert.is_false(made[3]:cancelled())
    assert.is_nil(waitgroup.current_context())
  end)

  it("of a thread's task can be had there", function()
    local g = waitgroup.errgroup()
    local task = g:thread(function(group)
      local w = require "waitgroup"
      return w.current_context() == group:context(), w.context():remaining() ~= nil
    end, g)
    assert.is_true(g:wait(10))
    assert.same({ true, true, false }, { task:result() })
  end)

  it("that is the root never ends", function()
    local root = waitgroup.root()
    assert.equal("waitgroup.Context (root)", tostring(root))
    assert.has_error(function() root:cancel() end)
    assert.has_error(function() root:pollfd() end)
    assert.same({ nil, "timeout" }, { root:wait(0.001) })
  end)

  it("does not grow from children that are gone", function()
    local parent = waitgroup.context()
    collectgarbage()
    local before = collectgarbage("count")
    for _ = 1, 2000 do
      local child = waitgroup.context { parent = parent }
      child:cancel()
    end
    collectgarbage()
    collectgarbage()
    assert.is_true(collectgarbage("count") - before < 100)
  end)

  -- What nothing can reach is freed, with its callbacks, whatever could still end it.
  do
    local parent = waitgroup.context()
    local made = {
      ["with a callback that refers to it"] = function()
        local context = waitgroup.context()
        context:on_cancel(function() return context end)
      end,
      ["below a parent"] = function() waitgroup.context({ parent = parent }):on_cancel(function() end) end,
      ["with a deadline"] = function() waitgroup.context({ timeout = 3600 }):on_cancel(function() end) end,
      ["of a group that nobody waited for"] = function()
        local g = waitgroup.errgroup { timeout = 3600, context = parent, grace = 5 }
        g:context():on_cancel(function() return g end)
        g:go(function() end)
        waitgroup.yield()
      end,
      ["that has ended a wait"] = function()
        waitgroup.new(1):wait(0.0000001, waitgroup.context { timeout = 3600 })
      end,
    }
    for what, make in pairs(made) do
      it("is freed when nothing can reach it: one " .. what, function()
        require("leak_check").on_purpose()
        local function bytes()
          for _ = 1, 2000 do
            make()
          end
          collectgarbage()
          collectgarbage()
          return collectgarbage("count") * 1024
        end
        bytes()
        local before = bytes()
        assert.is_true(bytes() - before < 100 * 1024)
      end)
    end

    it("calls back as long as a context below it can be reached", function()
      local called
      local below
      do
        local context = waitgroup.context { parent = parent }
        context:on_cancel(function() called = true end)
        below = waitgroup.context { parent = context }
      end
      collectgarbage()
      collectgarbage()
      parent:cancel()
      assert.is_true(called and below:cancelled())
    end)
  end

  it("says what it is", function()
    local context = waitgroup.context()
    assert.equal("waitgroup.Context (alive)", tostring(context))
    assert.matches("waitgroup.Context %(alive, [%d.]+ s left%)", tostring(waitgroup.context { timeout = 60 }))
    context:cancel()
    assert.equal("waitgroup.Context (cancelled)", tostring(context))
    assert.equal("waitgroup.Context (deadline exceeded)", tostring(waitgroup.context { timeout = 0 }))
  end)
end)
