-- g:start{ fn, ... }: tasks with names, and the backlog of a group.
local waitgroup = require "waitgroup"

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

  it("is 0 unless given, and refused if it is no count", function()
    assert.equal(0, waitgroup.errgroup():backlog())
    assert.equal(3, waitgroup.errgroup({ backlog = 6 / 2 }):backlog())
    for _, value in ipairs { -1, 1.5, "many" } do
      assert.matches("option 'backlog': an integer, not negative, expected, got",
        message_of(waitgroup.errgroup, { backlog = value }))
    end
  end)
end)
