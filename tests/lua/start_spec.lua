-- g:start{ fn, ... }: tasks with names, and the backlog of a group.
local waitgroup = require "waitgroup"
local run = require "process"

local function message_of(fn, ...)
  local ok, message = pcall(fn, ...)
  assert.is_false(ok)
  return message
end

-- A thread task that ends when the wait group does.
local function hold(wg) wg:wait() end

describe("start", function()
  it("runs a coroutine task with arguments, also nil ones", function()
    local g = waitgroup.errgroup()
    local task = g:start { function(...) return select("#", ...), ... end, nil, 2, nil, n = 4 }
    assert.is_true(g:wait(20))
    assert.same({ true, 3, nil, 2, nil, n = 5 }, table.pack(task:result()))
  end)

  it("runs a thread task, of a function or a module", function()
    local g = waitgroup.errgroup()
    local of_function = g:start { function(a, b) return a + b end, 1, 2, thread = true }
    local of_module = g:start { "string", "rep", "ab", 2, thread = true, name = "repeats" }
    assert.is_true(g:wait(20))
    assert.same({ true, 3 }, { of_function:result() })
    assert.same({ true, "abab" }, { of_module:result() })
    assert.equal("repeats", of_module:name())
  end)

  it("waits for room, as go does, and with try it does not", function()
    local g, go_on = waitgroup.errgroup { limit = 1 }, waitgroup.new(1)
    g:go(hold, go_on)
    for _, thread in ipairs { true, false } do
      assert.same({ nil, "limit" }, { g:start { function() end, try = true, thread = thread } })
    end
    go_on:done()
    assert.is_truthy(g:start { function() end })
    assert.is_true(g:wait(20))
    assert.same({ nil, "finished" }, { g:start { function() end } })
  end)

  it("refuses what it does not know, at the caller's line", function()
    local g = waitgroup.errgroup()
    local cases = {
      { "a table { function, arguments... } expected, got function", function() g:start(print) end },
      { "unknown field nam: there are name, thread, try, n", function() g:start { print, nam = "x" } end },
      { "field 'name': a string expected, got number", function() g:start { print, name = 1 } end },
      { "field 'name': a string without zero bytes expected", function() g:start { print, name = "a\0b" } end },
      { "field 'thread': a boolean expected, got string", function() g:start { print, thread = "yes" } end },
      { "element 1: a function expected, got nil", function() g:start { name = "x" } end },
      { "a Lua function or the name of a module expected, got a C function",
        function() g:start { print, thread = true } end },
    }
    for _, case in ipairs(cases) do
      local message = message_of(case[2])
      assert.matches("^tests/lua/start_spec.lua:%d+: bad argument #1 to 'start'", message)
      assert.truthy(message:find(case[1], 1, true), message)
    end
    assert.matches("^tests/lua/start_spec.lua:%d+: cannot start a thread task: argument 2: a coroutine",
      message_of(function() g:start { function() end, coroutine.create(print), thread = true } end))
    assert.matches("waitgroup.ErrGroup expected, got table", message_of(g.start, {}, { print }))
    assert.is_true(g:wait(20))
  end)
end)

describe("the name of a task", function()
  for kind, thread in pairs { ["a coroutine"] = false, ["a thread"] = true } do
    it("that is " .. kind .. " is what its texts show", function()
      local g, go_on = waitgroup.errgroup { name = "the group" }, waitgroup.new(1)
      local task = g:start { hold, go_on, name = "the name", thread = thread }
      assert.equal("the name", task:name())
      assert.matches("^waitgroup.Task the name %(", tostring(task))
      go_on:done()
      assert.is_true(g:wait(20))
      assert.equal("the name", task:name())
    end)

    it("that is " .. kind .. " is that of its function otherwise", function()
      local g = waitgroup.errgroup()
      local task = g:start { function() end, thread = thread }
      assert.matches("start_spec.lua:%d+", task:name())
      assert.is_true(g:wait(20))
    end)
  end

  it("is in the word of what a grace period left behind", function()
    local g, go_on, begun = waitgroup.errgroup { grace = 0 }, waitgroup.new(1), waitgroup.new(2)
    local root = waitgroup.root()
    local function linger(b, wg, ctx)
      b:done()
      wg:wait(nil, ctx)
    end
    g:start { linger, begun, go_on, root, name = "one" }
    g:start { linger, begun, go_on, root, name = "two", thread = true }
    assert.is_true(begun:wait(20))
    collectgarbage() -- nobody holds the tasks
    collectgarbage()
    g:cancel("enough")
    local _, _, _, left = g:wait(20)
    assert.matches("left behind after the grace period of 0 s: one %(for .*%), two %(for ", left)
    go_on:done()
  end)

  it("is in the report of a deadlock", function()
    local g, wg = waitgroup.errgroup(), waitgroup.new(1)
    g:start { function() wg:wait(nil, waitgroup.root()) end, name = "sleeper" }
    assert.matches("task sleeper waits for", message_of(function() g:wait() end))
    wg:done()
    assert.is_true(g:wait(20))
  end)

  it("is in a dump", function()
    local g, go_on, begun = waitgroup.errgroup { name = "dumped" }, waitgroup.new(1), waitgroup.new(2)
    local function wait(b, wg)
      b:done()
      wg:wait(20)
    end
    g:start { wait, begun, go_on, name = "coroutine one" }
    g:start { wait, begun, go_on, name = "thread one", thread = true }
    assert.is_true(begun:wait(20))
    local file <close> = assert(io.tmpfile())
    waitgroup.dump(file)
    file:seek("set")
    local text = file:read("a")
    assert.matches("'coroutine one'", text)
    assert.matches("thread one", text)
    go_on:done()
    assert.is_true(g:wait(20))
  end)
end)

describe("a backlog", function()
  -- A group whose only slot a thread task holds until the wait group is done.
  local function full_group(options)
    local g, go_on, begun = waitgroup.errgroup(options), waitgroup.new(1), waitgroup.new(1)
    g:thread(function(b, wg)
      b:done()
      wg:wait()
    end, begun, go_on)
    assert.is_true(begun:wait(20))
    return g, go_on
  end

  it("takes thread tasks ahead of the slots", function()
    local g, go_on = full_group { limit = 1, backlog = 2 }
    assert.equal(2, g:backlog())
    local tasks = {}
    for i = 1, 2 do -- would block without a backlog
      tasks[i] = assert(g:thread(function(n) return n end, i))
    end
    assert.equal(1, g:running())
    assert.equal(2, g:pending())
    assert.same({ nil, "limit" }, { g:try_thread(function() end) })
    go_on:done()
    assert.is_true(g:wait(20))
    assert.same({ true, 2 }, { tasks[2]:result() })
  end)

  it("takes them from coroutines too, which wait for room once it is full", function()
    local g, go_on = full_group { limit = 1, backlog = 2 }
    local count = 0
    local feeder = waitgroup.errgroup()
    feeder:go(function()
      for _ = 1, 5 do
        assert(g:thread(function() end))
        count = count + 1
      end
    end)
    while count < 2 do
      waitgroup.yield()
    end
    waitgroup.yield()
    assert.equal(2, count)
    go_on:done()
    assert.is_true(feeder:wait(20))
    assert.is_true(g:wait(20))
    assert.equal(6, g:completed())
  end)

  it("never starts what is in it once the group is cancelled", function()
    local g, go_on = full_group { limit = 1, backlog = 1 }
    local task = g:thread(function() end)
    g:cancel()
    go_on:done()
    assert.is_true(g:wait(20))
    assert.is_true(task:cancelled())
  end)

  -- A group whose slots coroutine tasks hold until the wait group is done.
  local function full_of_coroutines(options)
    local g, go_on = waitgroup.errgroup(options), waitgroup.new(1)
    for _ = 1, options.limit do
      g:go(hold, go_on)
    end
    return g, go_on
  end

  it("takes coroutine tasks ahead of the slots, which start in their order", function()
    local g, go_on = full_of_coroutines { limit = 1, backlog = 3 }
    local order, tasks = {}, {}
    for i = 1, 3 do -- would wait without a backlog, here for ever
      tasks[i] = assert(g:go(function(n)
        order[#order + 1] = n
        return n
      end, i))
    end
    assert.same({ 1, 3, 0 }, { g:running(), g:pending(), g:completed() })
    assert.matches("1 of 1 running, 3 pending", tostring(g))
    assert.same({ nil, "limit" }, { g:try_go(function() end) })
    assert.same({ nil, "timeout" }, { g:wait(0) })
    assert.equal(0, #order)
    go_on:done()
    assert.is_true(g:wait(20))
    assert.same({ 1, 2, 3 }, order)
    assert.same({ true, 3 }, { tasks[3]:result() })
    assert.same({ 0, 0, 4 }, { g:running(), g:pending(), g:completed() })
  end)

  it("lets the next coroutine in as soon as one of its tasks has started", function()
    local g, go_on = full_of_coroutines { limit = 1, backlog = 1 }
    local second, taken, feeders = waitgroup.new(1), {}, waitgroup.errgroup()
    assert(g:go(hold, second))
    for i = 1, 2 do
      feeders:go(function()
        assert(g:go(function() end))
        taken[#taken + 1] = i
      end)
    end
    waitgroup.yield()
    waitgroup.yield()
    assert.same({}, taken)
    go_on:done() -- the task that holds `second` starts, and leaves its place to the first feeder
    while #taken == 0 do
      assert(waitgroup.sleep(0.001))
    end
    assert.same({ 1 }, taken)
    second:done()
    assert.is_true(feeders:wait(20))
    assert.is_true(g:wait(20))
    assert.same({ 1, 2 }, taken)
    assert.equal(4, g:completed())
  end)

  it("that coroutines wait for refuses all of them when the group ends", function()
    local g, go_on = full_of_coroutines { limit = 1, backlog = 1 }
    local never, feeders, refused = assert(g:go(function() error "started" end)), waitgroup.errgroup(), 0
    for _ = 1, 5 do
      feeders:go(function()
        local task, why, cause = g:go(function() error "started" end)
        assert.same({ nil, "cancelled", "enough" }, { task, why, cause })
        refused = refused + 1
      end)
    end
    waitgroup.yield()
    g:cancel "enough"
    go_on:done()
    assert.is_true(feeders:wait(20))
    assert.equal(5, refused)
    assert.same({ nil, "cancelled", "enough" }, { g:wait(20) })
    assert.is_true(never:cancelled())
    assert.equal(2, g:completed())
  end)

  it("ends the wait for a place with the context of the task", function()
    local g, go_on = full_of_coroutines { limit = 1, backlog = 1 }
    assert(g:go(function() end))
    local feeder = waitgroup.errgroup { timeout = 0.01 }
    local task = feeder:go(function() return g:go(function() end) end)
    feeder:wait(20)
    assert.same({ true, nil, "deadline exceeded" }, { table.unpack({ task:result() }, 1, 3) })
    go_on:done()
    assert.is_true(g:wait(20))
    assert.equal(2, g:completed())
  end)

  it("that all tasks of the group wait for is a deadlock", function()
    local g, errors = waitgroup.errgroup { limit = 1, backlog = 1, name = "feeder" }, {}
    g:go(function()
      assert(g:go(function() end))
      errors[1] = select(2, pcall(g.go, g, function() end))
    end)
    assert.is_true(g:wait(20))
    assert.matches("deadlock: every task of this error group waits for room in it", errors[1])
  end)

  it("is one for coroutines and threads together", function()
    local g, go_on = full_group { limit = 1, backlog = 2 }
    local tasks = { assert(g:go(function() return "coroutine" end)), assert(g:go(function() return "another" end)) }
    local feeders, third = waitgroup.errgroup(), nil
    feeders:go(function() third = assert(g:thread(function() return "thread" end)) end)
    waitgroup.yield()
    assert.is_nil(third)
    go_on:done()
    assert.is_true(feeders:wait(20))
    assert.is_true(g:wait(20))
    assert.same({ true, "another" }, { tasks[2]:result() })
    assert.same({ true, "thread" }, { third:result() })
  end)

  it("grows into slots when the limit is raised", function()
    local g, go_on = full_of_coroutines { limit = 1, backlog = 2 }
    local began = 0
    for _ = 1, 2 do
      g:go(function()
        began = began + 1
        go_on:wait()
      end)
    end
    g:set_limit(3)
    while began < 2 do
      assert(waitgroup.sleep(0.001))
    end
    assert.same({ 3, 0 }, { g:running(), g:pending() })
    go_on:done()
    assert.is_true(g:wait(20))
  end)

  it("gives its slots back where the state goes", function()
    local text = run [[
      local w = require "waitgroup"
      local g, go_on = w.errgroup { limit = 1, backlog = 2 }, w.new(1)
      g:go(function() go_on:wait() end)
      g:go(function() print "never" end)
      g:go(function() print "never" end)
      print(g:wait(0))]]
    assert.equal("nil\ttimeout\nstatus 0\n", text)
  end)

  it("is 0 unless given, and refused if it is no count", function()
    assert.equal(0, waitgroup.errgroup():backlog())
    assert.equal(3, waitgroup.errgroup({ backlog = 6 / 2 }):backlog())
    for _, value in ipairs { -1, 1.5, "many" } do
      assert.matches("option 'backlog': an integer, not negative, expected, got",
        message_of(waitgroup.errgroup, { backlog = value }))
    end
  end)
end)
