-- What is certain to hang is an error that says which wait is for what.
local waitgroup = require "waitgroup"

local function message_of(fn)
  local ok, message = pcall(fn)
  assert.is_false(ok)
  return message
end

describe("a deadlock is an error:", function()
  it("a task waits for its own group", function()
    local g = waitgroup.errgroup()
    g:go(function() g:wait() end)
    local _, err = g:wait(10)
    assert.matches("deadlock_spec.lua:%d+: deadlock: a task waits for the error group that it belongs to", err)
  end)

  it("a thread task waits for its own group", function()
    local g = waitgroup.errgroup()
    local id = g:id()
    g:thread(function() require("waitgroup").attach(id):wait() end)
    local _, err = g:wait(10)
    assert.matches("deadlock_spec.lua:%d+: deadlock: a task waits for the error group that it belongs to", err)
  end)

  it("a task waits for its own result", function()
    local g, task = waitgroup.errgroup(), nil
    task = g:go(function() task:result() end)
    local _, err = g:wait(10)
    assert.matches("deadlock_spec.lua:%d+: deadlock: a task waits for its own result", err)
  end)

  it("a count that nobody can bring to zero", function()
    local wg = waitgroup.new(1)
    local g = waitgroup.errgroup()
    g:go(function() wg:wait() end)
    local message = message_of(function() g:wait() end)
    assert.matches("^deadlock: nothing can ever run again", message)
    assert.matches("the caller waits for waitgroup.ErrGroup %(1 running", message)
    assert.matches("task tests/lua/deadlock_spec.lua:%d+ waits for waitgroup.WaitGroup %(count 1%)", message)
    assert.matches("deadlock_spec.lua:%d+: in function", message)
    wg:done()
    assert.is_true(g:wait())
  end)

  it("a wait outside of tasks that nobody is there to end", function()
    local wg, ctx = waitgroup.new(1), waitgroup.context()
    local message = message_of(function() wg:wait() end)
    assert.matches("deadlock: nothing can ever run again", message)
    assert.matches("the caller waits for waitgroup.WaitGroup %(count 1%)", message)
    assert.matches("the caller waits for waitgroup.Context", message_of(function() ctx:wait() end))
    assert.same({ nil, "timeout" }, { wg:wait(0.001) })
    assert.same({ nil, "timeout" }, { ctx:wait(0.001) })
  end)

  it("all slots of a group are held by tasks that wait for a slot of it", function()
    local g = waitgroup.errgroup { limit = 2 }
    for _ = 1, 2 do
      g:go(function()
        waitgroup.yield()
        g:go(print)
      end)
    end
    local _, err = g:wait(10)
    assert.matches("deadlock_spec.lua:%d+: deadlock: every task of this error group waits for room in it", err)
  end)

  -- What would hide it from who looks only at whether anything could still happen.
  local distractions = {
    ["its id was taken"] = function(g) g:id() end,
    ["a thread runs"] = function() waitgroup.errgroup():thread(function() require("waitgroup").sleep(0.5) end) end,
    ["a coroutine sleeps"] = function() waitgroup.errgroup():go(function() waitgroup.sleep(0.5) end) end,
    ["a context has a callback"] = function() waitgroup.context { timeout = 60 }:on_cancel(print) end,
  }
  for what, distract in pairs(distractions) do
    it("coroutine tasks fill their own group, while " .. what, function()
      require("leak_check").on_purpose()
      local g = waitgroup.errgroup { limit = 3 }
      distract(g)
      for i = 1, 3 do
        g:go(function()
          waitgroup.yield()
          g[i == 2 and "thread" or "go"](g, function() end)
        end)
      end
      local _, err = g:wait(10)
      assert.matches("deadlock: every task of this error group waits for room in it", err)
    end)
  end

  it("a task of each kind feeds its own group at the limit", function()
    local g, both = waitgroup.errgroup { limit = 2 }, waitgroup.new(2)
    g:thread(function(group, all)
      all:done()
      all:wait()
      group:thread(function() end)
    end, g, both)
    g:go(function()
      both:done()
      both:wait()
      g:go(print)
    end)
    local _, err = g:wait(10)
    assert.matches("deadlock: every task of this error group waits for room in it", err)
  end)

  it("a thread task that has set a callback feeds its own group at the limit", function()
    local g = waitgroup.errgroup { limit = 1 }
    g:thread(function(group)
      require("waitgroup").current_context():on_cancel(function() end)
      group:thread(function() end)
    end, g)
    local _, err = g:wait(10)
    assert.matches("deadlock: every task of this error group waits for room in it", err)
  end)

  it("a task that cannot be suspended feeds its own group at the limit", function()
    local g = waitgroup.errgroup { limit = 1 }
    g:go(function() ("x"):gsub("x", function() g:go(print) end) end)
    local _, err = g:wait(10)
    assert.matches("deadlock: every task of this error group waits for room in it", err)
  end)

  it("all slots are held by thread tasks that wait for a slot", function()
    local g = waitgroup.errgroup { limit = 2 }
    local both = waitgroup.new(2)
    local function task(group, all)
      all:done()
      all:wait()
      group:thread(function() end)
    end
    g:thread(task, g, both)
    g:thread(task, g, both)
    local _, err = g:wait(10)
    assert.matches("deadlock: every task of this error group waits for room in it", err)
  end)

  it("a count that nobody can bring to zero, where a task cannot be suspended", function()
    local g = waitgroup.errgroup()
    g:go(function() ("x"):gsub("x", function() waitgroup.new(1):wait() end) end)
    local _, err = g:wait()
    assert.matches("deadlock: nothing can ever run again", err)
    assert.matches("task tests/lua/deadlock_spec.lua:%d+ waits for waitgroup.WaitGroup %(count 1%)", err)
  end)

  it("a wait for what this state has entered, and cannot leave", function()
    local g = waitgroup.errgroup { limit = 1 }
    g:enter()
    assert.error_matches(function() g:wait() end, "deadlock: nothing can ever run again")
    assert.error_matches(function() g:enter() end, "deadlock: nothing can ever run again")
    g:go(function() end, g:leave())
    assert.is_true(g:wait())
  end)

  it("a context that nobody can cancel", function()
    local context = waitgroup.context()
    assert.matches("nothing can ever run again", message_of(function()
      waitgroup.run(function() context:wait() end)
    end))
    context:cancel()
  end)

  it("at the end of a thread task", function()
    require("leak_check").on_purpose()
    local g = waitgroup.errgroup()
    g:thread(function()
      local w = require "waitgroup"
      local wg = w.new(1)
      w.errgroup({ context = w.root() }):go(function() wg:wait(nil, w.root()) end)
    end)
    local _, err = g:wait(10)
    assert.matches("nothing can ever run again", err)
    g = waitgroup.errgroup()
    local inner = waitgroup.errgroup()
    g:thread(function(group)
      group:go(function()
        local _ <close> = setmetatable({}, { __close = function() error("closing", 0) end })
        require("waitgroup").new(1):wait(nil, require("waitgroup").root())
      end)
    end, inner)
    assert.matches("nothing can ever run again", select(2, g:wait(10)))
    assert.equal("closing", select(2, inner:wait(10)))
    -- and the worker goes on with other tasks
    for _ = 1, 10 do
      local again = waitgroup.errgroup()
      again:thread(function() end)
      assert.is_true(again:wait(10))
    end
  end)
end)

-- The call that closes a ring of tasks raises, whatever else runs. Each case runs with something that hides the ring from
-- what looks only at whether anything could still happen.
describe("a ring of tasks is an error at the call that closes it:", function()
  local stop, bystanders

  before_each(function()
    stop, bystanders = waitgroup.new(1), waitgroup.errgroup { name = "bystanders" }
    bystanders:thread(function(w) w:wait() end, stop)
  end)

  after_each(function()
    stop:done()
    assert.is_true(bystanders:wait(30))
  end)

  -- The errors of the groups; one of them is that of the ring.
  local function outcomes(...)
    local errors = {}
    for i, g in ipairs { ... } do
      errors[i] = select(2, g:wait(30)) or nil
    end
    local text = {}
    for _, err in pairs(errors) do
      text[#text + 1] = tostring(err)
    end
    assert.equal(1, #text, "errors: " .. table.concat(text, "; "))
    assert.matches("deadlock", text[1])
    return text[1]
  end

  it("two coroutine tasks wait for each other's group", function()
    local a, b = waitgroup.errgroup { name = "a" }, waitgroup.errgroup { name = "b" }
    a:go(function() b:wait() end)
    b:go(function() a:wait() end)
    local text = outcomes(a, b)
    assert.matches("deadlock_spec.lua:%d+: deadlock: tasks wait for each other, and none can go on:", text)
    assert.matches("this call, in task 'tests/lua/deadlock_spec.lua:%d+' of group 'b' %(Lua%), waits for all tasks of "
      .. "group 'a', at tests/lua/deadlock_spec.lua:%d+", text)
    assert.matches("in task 'tests/lua/deadlock_spec.lua:%d+' of group 'a' %(Lua%), has waited %d+.%d s for all tasks of "
      .. "group 'b', at tests/lua/deadlock_spec.lua:%d+", text)
  end)

  it("three coroutine tasks of which one cannot be suspended", function()
    local g = {}
    for i = 1, 3 do
      g[i] = waitgroup.errgroup { name = "group " .. i }
    end
    g[1]:go(function() g[2]:wait() end)
    g[2]:go(function() ("x"):gsub("x", function() g[3]:wait() end) end)
    g[3]:go(function() g[1]:wait() end)
    local text = outcomes(g[1], g[2], g[3])
    assert.matches("group 'group 1'.*group 'group 2'.*group 'group 3'", text)
  end)

  it("a task at the limit of a group whose only running task waits for it", function()
    local narrow, other = waitgroup.errgroup { name = "narrow", limit = 1 }, waitgroup.errgroup { name = "other" }
    narrow:go(function() other:wait() end)
    other:go(function() narrow:go(print) end)
    local text = outcomes(narrow, other)
    assert.matches("waits for a slot of group 'narrow', all of which are held %(limit 1%)", text)
    assert.matches("in task 'tests/lua/deadlock_spec.lua:%d+' of group 'narrow' %(Lua%), has waited", text)
  end)

  it("two tasks wait for each other's result", function()
    local a, b, second = waitgroup.errgroup { name = "a" }, waitgroup.errgroup { name = "b" }, nil
    local first = a:go(function() second:result() end)
    second = b:go(function() first:result() end)
    assert.matches("waits for a task of group 'a'", outcomes(a, b))
  end)

  it("a thread task waits for a group whose coroutine waits for it", function()
    local threads, coroutines = waitgroup.errgroup { name = "threads" }, waitgroup.errgroup { name = "coroutines" }
    coroutines:go(function() threads:wait() end)
    threads:thread(function(g) g:wait() end, coroutines)
    local text = outcomes(threads, coroutines)
    assert.matches("in task 'tests/lua/deadlock_spec.lua:%d+' of group 'threads' %(Lua%)", text)
    assert.matches("in task 'tests/lua/deadlock_spec.lua:%d+' of group 'coroutines' %(Lua%)", text)
  end)

  it("a coroutine waits for the result of a thread task that waits for its group", function()
    local threads, coroutines = waitgroup.errgroup { name = "threads" }, waitgroup.errgroup { name = "coroutines" }
    local task
    coroutines:go(function() task:result() end)
    task = threads:thread(function(g) g:wait() end, coroutines)
    assert.matches("group 'threads'", outcomes(threads, coroutines))
  end)

  it("two thread tasks wait for each other's group", function()
    local a, b = waitgroup.errgroup { name = "a" }, waitgroup.errgroup { name = "b" }
    local both = waitgroup.new(2)
    local function wait_for(g, all)
      all:done()
      all:wait()
      g:wait()
    end
    a:thread(wait_for, b, both)
    b:thread(wait_for, a, both)
    assert.matches("this call, in task 'tests/lua/deadlock_spec.lua:%d+' of group '[ab]' %(Lua%), waits for all tasks",
      outcomes(a, b))
  end)

  it("a coroutine inside a thread task waits for that", function()
    local g = waitgroup.errgroup { name = "outer" }
    g:thread(function(outer)
      local inner = require("waitgroup").errgroup { name = "inner" }
      inner:go(function() outer:wait() end)
      assert(inner:wait())
    end, g)
    assert.matches("deadlock: a task waits for the error group that it belongs to", outcomes(g))
  end)

  it("a coroutine inside a thread task waits for another that waits for that", function()
    local g, far = waitgroup.errgroup { name = "outer" }, waitgroup.errgroup { name = "far" }
    far:go(function() g:wait() end)
    g:thread(function(other)
      local inner = require("waitgroup").errgroup { name = "inner" }
      inner:go(function() other:wait() end)
      assert(inner:wait())
    end, far)
    local text = outcomes(g, far)
    assert.matches("in task '.-' of group 'inner' %(Lua%)", text)
    assert.matches("in task '.-' of group 'outer' %(Lua%), h?a?s? ?waite?[ds].- for all tasks of group 'inner'", text)
    assert.matches("in task '.-' of group 'far' %(Lua%)", text)
  end)

  it("a coroutine that a thread task has left behind waits for that", function()
    require("leak_check").on_purpose()
    local g = waitgroup.errgroup { name = "outer" }
    g:thread(function(outer)
      local w = require "waitgroup"
      w.errgroup({ name = "inner", context = w.root() }):go(function() outer:wait() end)
    end, g)
    assert.is_true(g:wait(30)) -- its own group has the error, which nobody waits for
  end)

  it("what a `run` inside a task started waits for that task", function()
    local g = waitgroup.errgroup { name = "outer" }
    g:go(function()
      assert(waitgroup.run(function() g:wait() end))
    end)
    assert.matches("has waited %d+.%d s for all that `run` started", outcomes(g))
  end)

  it("a wait group whose task waits for a task that waits for it", function()
    local wg, g = waitgroup.new(), waitgroup.errgroup { name = "group" }
    wg:go(function() g:wait() end)
    g:go(function() wg:wait() end)
    assert.matches("waits for all tasks of a wait group", outcomes(g))
    assert.is_true(wg:wait(30))
  end)

  it("is none with a timeout, another context, or a group with a deadline", function()
    local a, b, wg = waitgroup.errgroup(), waitgroup.errgroup(), waitgroup.new()
    a:go(function() assert.same({ nil, "timeout" }, { b:wait(0.02) }) end)
    b:go(function() a:wait() end)
    assert.is_true(a:wait(30))
    assert.is_true(b:wait(30))
    a = waitgroup.errgroup()
    local context = waitgroup.context()
    wg:go(function() a:wait() end)
    a:go(function() assert.same({ nil, "cancelled" }, { wg:wait(nil, context) }) end)
    a:go(function()
      waitgroup.sleep(0.02)
      context:cancel()
    end)
    assert.is_true(a:wait(30))
    assert.is_true(wg:wait(30))
    a, b = waitgroup.errgroup { timeout = 0.02 }, waitgroup.errgroup()
    a:go(function() b:wait() end)
    b:go(function() a:wait() end)
    assert.same({ nil, "deadline exceeded" }, { a:wait(30) })
    assert.is_true(b:wait(30))
  end)
end)

describe("no deadlock is", function()
  for what, fn in pairs {
    ["of its group"] = function(w) return w.current_context():wait() end,
    ["of a context below"] = function(w) return w.context():wait() end,
    ["of a context below, in a coroutine"] = function(w) return w.run(function() return w.context():wait() end) end,
    ["of anything, by the context of its group"] = function(w) return w.new(1):wait() end,
  } do
    it("a thread task's wait for the end " .. what .. ", as the state that started it may cancel the group", function()
      local g, begun = waitgroup.errgroup(), waitgroup.new(1)
      local task = g:thread(function(begins, wait)
        begins:done()
        return wait(require "waitgroup")
      end, begun, fn)
      assert.is_true(begun:wait(20))
      assert.same({ nil, "timeout" }, { task:result(0.05) })
      g:cancel()
      assert.is_true(g:wait(20))
    end)
  end

  it("a wait that a thread will end", function()
    local wg, g = waitgroup.new(1), waitgroup.errgroup()
    g:thread(function(w)
      require("waitgroup").sleep(0.05)
      w:done()
    end, wg)
    waitgroup.run(function() assert.is_true(wg:wait()) end)
    assert.is_true(g:wait(10))
  end)

  it("a wait for what a task will leave that entered it", function()
    local g, other = waitgroup.errgroup { limit = 1 }, waitgroup.errgroup()
    g:enter()
    other:go(function()
      waitgroup.sleep(0.01)
      g:leave()
    end)
    assert.is_true(g:enter())
    g:leave()
    assert.is_true(g:wait() and other:wait())
  end)

  it("a wait that a timer or a deadline will end", function()
    local wg = waitgroup.new(1)
    waitgroup.run(function()
      assert.same({ nil, "timeout" }, { wg:wait(0.01) })
      assert.same({ nil, "deadline exceeded" }, { wg:wait(nil, waitgroup.context { timeout = 0.01 }) })
    end)
  end)

  it("a wait for a shared object", function()
    local wg, feeder = waitgroup.new(1), waitgroup.errgroup()
    local id = wg:id()
    feeder:thread(function()
      require("waitgroup").sleep(0.02)
      require("waitgroup").attach(id):done()
    end)
    waitgroup.run(function() wg:wait() end)
    assert.is_true(feeder:wait(10))
  end)
end)

-- The thread may end at any moment: also just before we look whether anybody is left who could end the wait.
describe("no deadlock is a wait that a thread ends just now:", function()
  local function often(fn)
    for _ = 1, 3000 do
      local g = waitgroup.errgroup { limit = 2 }
      g:go(function() end)
      fn(g)
    end
  end

  it("for a group", function()
    often(function(g)
      g:thread(function() end)
      assert.is_true(g:wait())
    end)
  end)

  it("for room in a group", function()
    often(function(g)
      waitgroup.run(function()
        for _ = 1, 3 do
          g:thread(function() end)
        end
      end)
      assert.is_true(g:wait())
    end)
  end)

  it("for a context", function()
    often(function(g)
      g:thread(function() error("failed", 0) end)
      waitgroup.run(function() assert.is_true(g:context():wait()) end)
      assert.equal("failed", select(2, g:wait()))
    end)
  end)
end)

-- The thread whose task is the only hope ends it after the main thread has gone to sleep: its end is what wakes the loop.
describe("a deadlock that the end of another task makes certain is an error:", function()
  local function main_thread(field)
    local file = assert(io.open("/proc/self/status"))
    local text = file:read("a")
    file:close()
    return text:match("\n" .. field .. ":%s*(%S+)")
  end

  -- Until the main thread has slept for a while.
  local function wait_for_sleep(field_of_main)
    local sleep, slept, switches = require("waitgroup").sleep, 0, nil
    while slept < 20 do
      local now = field_of_main "voluntary_ctxt_switches"
      slept = (now == switches and field_of_main "State" == "S") and slept + 1 or 0
      switches = now
      sleep(0.005)
    end
    return switches
  end

  -- How a coroutine task that sleeps for ever makes the wait for its group one: the message, after which the task ends.
  local function deadlock_of_group(g)
    local wg = waitgroup.new(1)
    g:go(function() wg:wait(nil, waitgroup.root()) end)
    waitgroup.yield() -- so that the task waits first
    local message = message_of(function() g:wait() end)
    wg:done()
    assert.is_true(g:wait(10))
    assert.matches("deadlock: nothing can ever run again", message)
  end

  -- Only a failing task could cancel its context.
  local function deadlock_of_context()
    local context = waitgroup.context()
    local message = message_of(function() waitgroup.run(function() context:wait() end) end)
    context:cancel()
    assert.matches("deadlock: nothing can ever run again", message)
  end

  it("of a thread task", function()
    local g = waitgroup.errgroup()
    g:thread(wait_for_sleep, main_thread)
    deadlock_of_context()
    assert.is_true(g:wait(10))
  end)

  it("of the last thread task of a group, which is waited for after its coroutine sleeps", function()
    local g, alive = waitgroup.errgroup(), waitgroup.errgroup()
    local stop = waitgroup.new(1)
    alive:thread(function(wg) wg:wait() end, stop) -- other thread tasks are no hope for the group
    g:thread(wait_for_sleep, main_thread)
    deadlock_of_group(g)
    stop:done()
    assert.is_true(alive:wait(10))
  end)

  it("of a coroutine task of another state", function()
    local g, alive, entered = waitgroup.errgroup(), waitgroup.errgroup(), waitgroup.new(1)
    alive:thread(function(group, wait, field, wg)
      group:go(wait, field)
      wg:done()
    end, g, wait_for_sleep, main_thread, entered)
    entered:wait()
    deadlock_of_group(g)
    assert.is_true(alive:wait(10))
  end)

  it("of a thread task that another thread task waits for", function()
    require("leak_check").on_purpose()
    local g, hopeless = waitgroup.errgroup(), waitgroup.errgroup()
    hopeless:thread(function() -- below the root, so that the state that started it cannot cancel the wait
      local w = require "waitgroup"
      w.errgroup({ context = w.root() }):go(function() w.context({ parent = w.root() }):wait() end)
    end)
    g:thread(wait_for_sleep, main_thread)
    local _, err = hopeless:wait(10)
    assert.matches("deadlock: nothing can ever run again", err)
    assert.is_true(g:wait(10))
  end)

  it("without waking up to look", function()
    local g = waitgroup.errgroup()
    local task = g:thread(function(wait, field)
      local before = wait(field)
      require("waitgroup").sleep(0.5)
      return before, field "voluntary_ctxt_switches"
    end, wait_for_sleep, main_thread)
    deadlock_of_context()
    local ok, before, after = task:result(10)
    assert.is_true(ok)
    assert.equal(before, after)
    assert.is_true(g:wait(10))
  end)
end)

describe("groups inside of tasks of groups", function()
  it("of coroutines, to any depth", function()
    local function nest(depth)
      if depth == 0 then
        return 1
      end
      local g, sum = waitgroup.errgroup { limit = 2 }, 0
      for _ = 1, 2 do
        g:go(function()
          local part = nest(depth - 1)
          sum = sum + part
        end)
      end
      assert(g:wait())
      return sum
    end
    assert.same({ true, 64 }, { waitgroup.run(nest, 6) })
  end)

  it("of threads, to any depth", function()
    local function nest(self, depth)
      if depth == 0 then
        return 1
      end
      local g, tasks, sum = require("waitgroup").errgroup(), {}, 0
      for i = 1, 3 do
        tasks[i] = g:thread(self, self, depth - 1)
      end
      assert(g:wait(30))
      for i = 1, 3 do
        sum = sum + select(2, tasks[i]:result())
      end
      return sum
    end
    local g = waitgroup.errgroup()
    local task = g:thread(nest, nest, 4)
    assert.is_true(g:wait(60))
    assert.same({ true, 81 }, { task:result() })
  end)
end)
