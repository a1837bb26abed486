-- Results of many tasks: in order, as they come, the first; and groups that go on after an error.
local waitgroup = require "waitgroup"

for _, map in ipairs { "map", "thread_map" } do
  describe(map, function()
    it("gives the results in order", function()
      local g = waitgroup.errgroup { limit = 2 }
      local results = assert(g[map](g, function(n)
        require("waitgroup").sleep((4 - n) / 1000)
        return n > 2 and n * n or nil
      end, { 1, 2, 3, 4 }))
      assert.same({ nil, nil, 9, 16, n = 4 }, results)
      assert.same({ n = 0 }, g[map](g, function() end, {}))
      assert.same({ 1, n = 1 }, g[map](g, function(n) return n end, { 1 }))
      assert.is_true(g:wait(20))
    end)

    it("gives the first error, and the traceback", function()
      local g = waitgroup.errgroup { limit = 1 }
      local results, err, traceback = g[map](g, function(n) if n == 2 then error("two", 0) end return n end, { 1, 2, 3, 4 })
      assert.is_nil(results)
      assert.equal("two", err)
      assert.matches("collect_spec", traceback)
      assert.same({ nil, "two" }, { table.unpack({ g:wait(20) }, 1, 2) })
    end)

    it("gives why the group takes no more", function()
      local g = waitgroup.errgroup()
      g:cancel("why")
      assert.same({ nil, "cancelled", "why" }, { g[map](g, function() end, { 1 }) })
    end)
  end)
end

describe("as_completed", function()
  it("gives the tasks as they end, of both kinds", function()
    local g, order, tasks = waitgroup.errgroup(), {}, {}
    local second, third = waitgroup.new(1), waitgroup.new(1)
    tasks[1] = g:go(function() third:wait() return "third" end)
    tasks[2] = g:thread(function(wg) wg:wait() return "second" end, second)
    tasks[3] = g:go(function() return "first" end)
    for task, i in g:as_completed(tasks) do
      assert.equal(tasks[i], task)
      order[#order + 1] = select(2, task:result())
      if #order == 1 then second:done() elseif #order == 2 then third:done() end
    end
    assert.same({ "first", "second", "third" }, order)
    assert.is_true(g:wait(20))
  end)

  it("without a list gives every task of the group, also those that start while it goes on", function()
    local g, order, go_on = waitgroup.errgroup { limit = 2, backlog = 8 }, {}, waitgroup.new(1)
    local ended = g:as_completed()
    local tasks = { g:thread(function(wg) wg:wait() return "last" end, go_on), g:go(function() return "first" end) }
    for task, i in ended do
      assert.equal(tasks[i], task)
      order[#order + 1] = task:get()
      if order[#order] == "first" then
        tasks[3] = g:start { function() return "second" end }
      elseif order[#order] == "second" then
        tasks[4] = g:start { function() return "third" end, thread = true }
      elseif order[#order] == "third" then
        go_on:done()
      end
    end
    assert.same({ "first", "second", "third", "last" }, order)
    assert.is_nil((ended()))
    assert.is_true(g:wait(20))
  end)

  it("without a list knows the coroutine tasks that have not ended, and errors", function()
    local g, names = waitgroup.errgroup { on_error = "continue" }, {}
    for i = 1, 3 do
      g:go(function() if i == 2 then error("two", 0) end return i end)
    end
    for task in g:as_completed() do
      names[#names + 1] = tostring(select(2, task:result()))
    end
    table.sort(names) -- they end in one go
    assert.same({ "1", "3", "two" }, names)
    for _ in g:as_completed() do error "all have been given" end
    g:go(function() return 4 end)
    for task in g:as_completed() do
      names[#names + 1] = task:get()
    end
    assert.same({ "1", "3", "two", 4 }, names)
    assert.same({ nil, "two" }, { table.unpack({ g:wait(20) }, 1, 2) })
  end)

  it("without a list gives tasks that are refused a start when the group ends", function()
    local g, count = waitgroup.errgroup { limit = 1, backlog = 1 }, 0
    local ended = g:as_completed()
    g:go(function() waitgroup.sleep(20) end)
    g:go(error)
    g:cancel "enough"
    for task in ended do
      count = count + (task:done() and 1 or 0)
    end
    assert.equal(2, count)
    assert.same({ nil, "cancelled", "enough" }, { g:wait(20) })
  end)

  it("without a list is refused once it has missed tasks", function()
    for kind, start in pairs { coroutine = function(g) g:go(function() end) g:wait(0) waitgroup.yield() end,
                               thread = function(g) g:thread(function() end) end } do
      local g = waitgroup.errgroup()
      start(g)
      local ok, message = pcall(function() g:as_completed() end)
      assert.is_false(ok, kind)
      assert.matches("^tests/lua/collect_spec.lua:%d+: bad call of 'as_completed' %(it has missed 1 tasks", message)
      assert.is_true(g:wait(20))
    end
  end)

  it("that was left early follows no more", function()
    local g, go_on = waitgroup.errgroup(), waitgroup.new(1)
    g:go(function() end)
    g:go(function() go_on:wait() end)
    for task in g:as_completed() do
      if task:done() then break end
    end
    g:go(function() end)
    go_on:done()
    assert.is_true(g:wait(20))
    assert.equal(3, g:completed())
  end)

  it("ends with the context of the task", function()
    local g, outer = waitgroup.errgroup(), waitgroup.errgroup()
    local go_on = waitgroup.new(1)
    local tasks = { g:go(function() go_on:wait() end) }
    local walk = outer:go(function()
      for _ in g:as_completed(tasks) do error "none has ended" end
      return "out"
    end)
    outer:go(function() outer:cancel() end) -- when the other waits
    outer:wait(20)
    assert.same({ true, "out" }, { walk:result() })
    go_on:done()
    assert.is_true(g:wait(20))
  end)

  it("of none is empty", function()
    for _ in waitgroup.errgroup():as_completed {} do error "one" end
  end)
end)

describe("wait_any", function()
  it("gives the first that has ended", function()
    local g, go_on = waitgroup.errgroup(), waitgroup.new(1)
    local slow = g:go(function() go_on:wait() end)
    assert.same({ nil, "timeout" }, { waitgroup.wait_any({ slow }, 0.01) })
    local quick = g:thread(function() return "quick" end)
    local task, i = waitgroup.wait_any { slow, quick }
    assert.equal(quick, task)
    assert.equal(2, i)
    assert.equal(quick, waitgroup.wait_any { slow, quick })
    go_on:done()
    assert.is_true(g:wait(20))
  end)
end)

describe("what watches tasks", function()
  local core = require "waitgroup.core"

  -- Two tasks of each kind, which go on until the wait group is done.
  local function slow()
    local g, go_on = waitgroup.errgroup(), waitgroup.new(1)
    local tasks = {}
    for i = 1, 4 do
      tasks[i] = g[i < 3 and "go" or "thread"](g, function(wg) wg:wait() end, go_on)
    end
    waitgroup.yield()
    return g, tasks, go_on
  end

  for how, stop in pairs {
    ["a timeout"] = function(tasks) assert.same({ nil, "timeout" }, { waitgroup.wait_any(tasks, 0.001) }) end,
    ["a timeout of 0"] = function(tasks) assert.same({ nil, "timeout" }, { waitgroup.wait_any(tasks, 0) }) end,
    ["the first that ends"] = function(tasks, g)
      table.insert(tasks, (g:go(waitgroup.sleep, 0.001)))
      assert.equal(tasks[5], (waitgroup.wait_any(tasks)))
    end,
    ["a loop that is left"] = function(tasks, g)
      table.insert(tasks, (g:go(waitgroup.sleep, 0.001)))
      local seen = {}
      for task in g:as_completed(tasks) do
        seen[#seen + 1] = task
        if task == tasks[5] then break end
      end
      assert.same({ tasks[5] }, seen)
    end,
    ["a loop that fails"] = function(tasks, g)
      table.insert(tasks, (g:go(waitgroup.sleep, 0.001)))
      assert.has_error(function()
        for _ in g:as_completed(tasks) do error("enough", 0) end
      end, "enough")
    end,
  } do
    for where, run in pairs { [""] = function(fn, ...) fn(...) end, [", in a task"] = waitgroup.run } do
      it("is gone after " .. how .. where, function()
        local g, tasks, go_on = slow()
        local alive, asleep = core.alive(), core.asleep()
        run(stop, tasks, g)
        assert.same({ alive, asleep }, { core.alive(), core.asleep() })
        go_on:done()
        assert.is_true(g:wait(20))
      end)
    end
  end

  it("is named in the report of a deadlock", function()
    local g = waitgroup.errgroup()
    local alone
    alone = g:go(function() return waitgroup.wait_any { alone } end)
    local _, report = pcall(g.wait, g)
    assert.matches("deadlock: .*waits for the end of one of several tasks", report)
    g:cancel()
    assert.is_true(g:wait(20))
  end)

  it("tells why a task cannot be waited for", function()
    local g = waitgroup.errgroup()
    local alone
    alone = g:go(function() return pcall(waitgroup.wait_any, { alone }, 0.05) end)
    assert.same({ true, true, nil, "timeout" }, { alone:result(20) })
    assert.is_true(g:wait(20))
  end)
end)

describe("get", function()
  it("gives the results, or raises the error as it was thrown", function()
    local g, thrown = waitgroup.errgroup(), { code = 1 }
    assert.same({ 1, nil, 3, n = 3 }, table.pack(g:go(function() return 1, nil, 3 end):get()))
    assert.same({ 4, n = 1 }, table.pack(g:thread(function() return 4 end):get()))
    local ok, err = pcall(g:go(function() waitgroup.sleep(0.01) end).get, g:go(error, thrown))
    assert.is_false(ok)
    assert.equal(thrown, err)
    g:wait(10)
    g = waitgroup.errgroup()
    local go_on = waitgroup.new(1)
    local task = g:go(function() go_on:wait() end)
    assert.same({ false, "timeout" }, { pcall(task.get, task, 0.01) })
    go_on:done()
    assert.is_true(g:wait(20))
  end)
end)

describe("a group that goes on after an error", function()
  it("runs all its tasks, and gives the first error", function()
    local g, ran = waitgroup.errgroup { on_error = "continue", limit = 1 }, 0
    for i = 1, 4 do
      g:go(function()
        ran = ran + 1
        if i % 2 == 0 then error("error " .. i, 0) end
      end)
    end
    g:thread(function() error("in a thread", 0) end)
    assert.same({ nil, "error 2" }, { table.unpack({ g:wait(20) }, 1, 2) })
    assert.equal(4, ran)
    assert.same({ "error 2", "error 4", "in a thread" }, g:errors())
  end)
end)

describe("cores", function()
  it("are as many as this process may use", function()
    local count = waitgroup.cores()
    assert.equal("integer", math.type(count))
    assert.is_true(count >= 1)
    local nproc = assert(io.popen("nproc")):read("n")
    assert.equal(nproc, count)
  end)
end)
