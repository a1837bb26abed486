-- What can be asked of a task, of either kind: its result, its name and its state.
local waitgroup = require "waitgroup"

local function both(name, test)
  it(name .. ", coroutine", function() test("go") end)
  it(name .. ", thread", function() test("thread") end)
end

-- The task of a new group that waits for a new wait group, and both.
local function waiting(go)
  local g, go_on = waitgroup.errgroup(), waitgroup.new(1)
  return g[go](g, function(wg) return "result", wg:wait() end, go_on), go_on, g
end

describe("the result of a task", function()
  both("is waited for", function(go)
    local g = waitgroup.errgroup()
    local task = g[go](g, function()
      require("waitgroup").sleep(0.01)
      return 1, nil
    end)
    assert.same({ true, 1, nil, n = 3 }, table.pack(task:result()))
    assert.is_true(task:done())
    assert.is_true(g:wait())
  end)

  both("is waited for in other tasks, which let others run", function(go)
    local task, go_on, own = waiting(go)
    local waiters, got = waitgroup.new(), {}
    for i = 1, 3 do
      waiters:go(function() got[i] = { task:result(20) } end)
    end
    waiters:go(function() go_on:done() end)
    assert.is_true(waiters:wait(20))
    for i = 1, 3 do
      assert.same({ true, "result", true }, got[i])
    end
    assert.is_true(own:wait(20))
  end)

  both("may take too long", function(go)
    local task, go_on, g = waiting(go)
    assert.same({ nil, "timeout" }, { task:result(0) })
    assert.same({ nil, "timeout" }, { task:result(0.01) })
    waitgroup.run(function()
      assert.same({ nil, "timeout" }, { task:result(0) })
      assert.same({ nil, "timeout" }, { task:result(0.01) })
    end)
    assert.is_false(task:done())
    go_on:done()
    assert.same({ true, "result", true }, { task:result(20) })
    assert.same({ true, "result", true }, { task:result(0) })
    assert.is_true(g:wait())
  end)

  both("is not waited for once the waiting task is cancelled", function(go)
    local task, go_on, g = waiting(go)
    local outer, got = waitgroup.errgroup(), nil
    outer:go(function() got = { task:result(20) } end)
    outer:go(function() outer:cancel("enough") end)
    assert.same({ nil, "cancelled", "enough" }, { outer:wait(20) })
    assert.same({ nil, "cancelled", "enough" }, got)
    go_on:done()
    assert.is_true(g:wait(20))
  end)
end)

it("a task that only looks does not let others run", function()
  local g, seen = waitgroup.errgroup(), nil
  waitgroup.run(function()
    local ran = false
    local task = g:go(function() ran = true end)
    for _, object in ipairs { waitgroup.new(1), waitgroup.context(), g } do
      assert(select(2, object:wait(0)) == "timeout")
    end
    assert(select(2, task:result(0)) == "timeout")
    seen = ran
  end)
  assert.is_false(seen)
  assert.is_true(g:wait())
end)

describe("a task", function()
  it("is named by its function", function()
    local g = waitgroup.errgroup()
    assert.matches("^tests/lua/task_spec.lua:%d+$", g:go(function() end):name())
    assert.equal("[C]", g:go(print):name())
    assert.equal("?", g:go(setmetatable({}, { __call = function() end })):name())
    g:cancel()
    assert.is_true(g:wait())
  end)

  both("says in which state it is", function(go)
    local suffix = go == "go" and ")" or ", thread)"
    local function shows(state, task)
      local text = tostring(task)
      assert.equal((" (%s%s"):format(state, suffix), text:sub(-#state - #suffix - 2))
      assert.equal("waitgroup.Task " .. task:name(), text:sub(1, -#state - #suffix - 3))
    end
    local task, go_on, own = waiting(go)
    local deadline = os.time() + 20
    while tostring(task):find "%(waiting" and os.time() < deadline do
      waitgroup.sleep(0.001)
    end
    shows("running", task)
    go_on:done()
    task:result(20)
    shows("ended", task)
    assert.is_true(own:wait(20))
    local g = waitgroup.errgroup()
    task = g[go](g, function() error "x" end)
    g:wait(20)
    shows("failed", task)
    g = waitgroup.errgroup()
    task = g[go](g, function()
      require("waitgroup").sleep(60)
      require("waitgroup").current_context():check()
    end)
    waitgroup.sleep(0.01)
    g:cancel()
    g:wait(20)
    shows("cancelled", task)
  end)

  it("that has not started waits", function()
    local g, go_on, tasks, waits = waitgroup.errgroup(), waitgroup.new(1), {}, false
    local task = g:go(function() end)
    assert.matches("%(waiting%)$", tostring(task))
    for i = 1, 50 do -- they compute: so many need not run at once
      tasks[i] = g:thread(function(wg)
        while wg:count() > 0 do end
      end, go_on)
      waits = waits or tostring(tasks[i]):find("%(waiting, thread%)$")
    end
    go_on:done()
    assert.truthy(waits)
    assert.is_true(g:wait(60))
  end)
end)
