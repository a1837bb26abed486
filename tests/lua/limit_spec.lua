-- At most `limit` tasks run; go waits for room and is woken by a cancellation; try_go never waits; a limit can change.
local waitgroup = require "waitgroup"

describe("the limit", function()
  it("holds for coroutines", function()
    local g, now, highest = waitgroup.errgroup { limit = 3 }, 0, 0
    for _ = 1, 30 do
      g:go(function()
        now = now + 1
        highest = math.max(highest, now)
        waitgroup.sleep(0.001)
        now = now - 1
      end)
    end
    assert.is_true(g:wait(20))
    assert.equal(3, highest)
    assert.equal(30, g:completed())
  end)

  it("holds for threads", function()
    local g, inside, tasks = waitgroup.errgroup { limit = 2 }, waitgroup.new(), {}
    for i = 1, 40 do
      tasks[i] = g:thread(function()
        inside:add()
        require("waitgroup").sleep(0.001)
        local now = inside:count()
        inside:done()
        return now
      end)
    end
    assert.is_true(g:wait(20))
    for i = 1, 40 do
      assert.is_true(select(2, tasks[i]:result()) <= 2)
    end
    assert.equal(40, g:completed())
  end)

  it("makes try_go say so", function()
    local g, go_on = waitgroup.errgroup { limit = 1 }, waitgroup.new(1)
    assert.truthy(g:try_go(function() go_on:wait() end))
    assert.same({ nil, "limit" }, { g:try_go(function() end) })
    assert.same({ nil, "limit" }, { g:try_thread(function() end) })
    go_on:done()
    g:wait(0)
    assert.same({ nil, "finished" }, { g:try_go(function() end) })
  end)

  it("lets go in a task wait, in turn", function()
    local g, order = waitgroup.errgroup { limit = 2 }, {}
    waitgroup.run(function()
      for i = 1, 6 do
        assert(g:go(function()
          waitgroup.sleep(0.001)
          order[#order + 1] = i
        end))
      end
      assert.is_true(g:wait(10))
    end)
    assert.same({ 1, 2, 3, 4, 5, 6 }, order)
  end)

  it("does not keep a waiting go when the group is cancelled", function()
    local g, got = waitgroup.errgroup { limit = 1 }, nil
    local feeder = waitgroup.new()
    g:go(function() waitgroup.sleep(60) end)
    feeder:go(function()
      got = { g:go(function() error("ran") end) }
    end)
    feeder:go(function() g:cancel("stop") end)
    assert.is_true(feeder:wait(10))
    assert.same({ nil, "cancelled", "stop" }, got)
    assert.same({ nil, "cancelled", "stop" }, { g:wait(10) })
  end)

  it("does not keep a waiting thread() when a task of a thread fails", function()
    local g = waitgroup.errgroup { limit = 1 }
    g:thread(function()
      require("waitgroup").sleep(0.02)
      error("failed", 0)
    end)
    assert.same({ nil, "cancelled", "failed" }, { g:thread(function() end) })
    assert.equal("failed", select(2, g:wait(10)))
  end)

  it("does not keep a task's go when the task's own group is cancelled", function()
    local outer, inner = waitgroup.errgroup(), waitgroup.errgroup { limit = 1, context = waitgroup.root() }
    local go_on, got = waitgroup.new(1), nil
    inner:go(function() go_on:wait() end)
    outer:go(function() got = { inner:go(function() end) } end)
    outer:go(function() outer:cancel("mine") end)
    assert.is_nil(outer:wait(10))
    assert.same({ nil, "cancelled", "mine" }, got)
    go_on:done()
    assert.is_true(inner:wait(10))
  end)

  it("does not keep the thread() of a thread's task when the task's own group is cancelled", function()
    local outer, started, go_on = waitgroup.errgroup(), waitgroup.new(1), waitgroup.new(1)
    local task = outer:thread(function()
      local w = require "waitgroup"
      local inner = w.errgroup { limit = 1, context = w.root() }
      inner:thread(function() go_on:wait(nil, require("waitgroup").root()) end)
      started:done()
      local taken, why, cause = inner:thread(function() end)
      go_on:done()
      return taken, why, cause, (inner:close())
    end)
    assert.is_true(started:wait(20))
    waitgroup.sleep(0.01)
    outer:cancel("mine")
    assert.is_nil(outer:wait(20))
    assert.same({ true, nil, "cancelled", "mine", true, n = 5 }, table.pack(task:result()))
  end)

  it("can change while tasks run", function()
    local g, go_on = waitgroup.errgroup { limit = 1 }, waitgroup.new(1)
    local function task() go_on:wait() end
    assert.truthy(g:try_go(task))
    assert.is_nil(g:try_go(task))
    g:set_limit(3)
    assert.equal(3, g:limit())
    assert.truthy(g:try_go(task))
    assert.truthy(g:try_go(task))
    assert.is_nil(g:try_go(task))
    g:set_limit(1)
    assert.is_nil(g:try_go(task))
    g:set_limit()
    assert.truthy(g:try_go(task))
    go_on:done()
    assert.is_true(g:wait(10))
  end)

  it("raised, lets a waiting go in", function()
    local g, started, go_on = waitgroup.errgroup { limit = 1 }, false, waitgroup.new(1)
    local wg = waitgroup.new()
    g:go(function() go_on:wait() end)
    wg:go(function()
      started = g:go(function() end)
    end)
    wg:go(function() g:set_limit(2) end)
    assert.is_true(wg:wait(10))
    assert.truthy(started)
    go_on:done()
    assert.is_true(g:wait(10))
  end)
end)
