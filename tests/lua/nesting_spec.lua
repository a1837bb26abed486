-- A wait never nests: wherever a task waits, the others go on, and each wait ends when its own event comes.
local waitgroup = require "waitgroup"

-- Places where a task cannot yield, for a C function that cannot be suspended has called it, or a coroutine of its own.
local places = {
  gsub = function(wait) ("x"):gsub("x", function() wait() end) end,
  sort = function(wait)
    local waited
    table.sort({ 2, 1 }, function(a, b)
      if not waited then
        waited = true
        wait()
      end
      return a < b
    end)
  end,
  ["coroutine.wrap"] = function(wait) coroutine.wrap(wait)() end,
  ["an iterator of coroutine.wrap"] = function(wait)
    for _ in coroutine.wrap(function()
      wait()
      coroutine.yield(1)
    end) do end
  end,
  __tostring = function(wait)
    tostring(setmetatable({}, { __tostring = function()
      wait()
      return ""
    end }))
  end,
  require = function(wait)
    package.preload["a module that waits"] = function() wait() end
    require "a module that waits"
    package.loaded["a module that waits"] = nil
  end,
  ["__close of a coroutine that is closed"] = function(wait)
    local co = coroutine.wrap(function()
      local _ <close> = setmetatable({}, { __close = function() wait() end })
      error "close it"
    end)
    pcall(co)
  end,
}

for name, place in pairs(places) do
  describe("a wait in " .. name, function()
    it("ends when its own event comes, of thousands of tasks", function()
      local g, started, ended, gates = waitgroup.errgroup(), 0, {}, {}
      for i = 1, 2000 do
        gates[i] = waitgroup.new(1)
        g:go(function()
          place(function()
            started = started + 1
            assert(gates[i]:wait(30))
          end)
          ended[#ended + 1] = i
        end)
      end
      while started < 2000 do
        waitgroup.yield()
      end
      local order = {}
      for i = 1, 2000 do
        order[i] = (i * 7919) % 2000 + 1 -- each once
        gates[order[i]]:done()
        waitgroup.yield()
      end
      assert.is_true(g:wait(30))
      assert.same(order, ended)
    end)

    it("does not keep the program from going on", function()
      local g, go_on = waitgroup.errgroup(), waitgroup.new(1)
      g:go(function() place(function() go_on:wait() end) end)
      assert.same({ nil, "timeout" }, { g:wait(0.01) })
      assert.same({ nil, "timeout" }, { waitgroup.new(1):wait(0.001) })
      assert.is_true(waitgroup.sleep(0.001))
      go_on:done()
      assert.is_true(g:wait(30))
    end)

    it("ends with the context of the task", function()
      local g, got = waitgroup.errgroup(), {}
      g:go(function() place(function() got = { waitgroup.sleep(30) } end) end)
      waitgroup.yield()
      g:cancel("enough")
      assert.is_nil(g:wait(30))
      assert.same({ nil, "cancelled", "enough" }, got)
    end)
  end)
end

it("thousands of tasks leave the block of a group, and half of them fail", function()
  local g, ended = waitgroup.errgroup(), 0
  for i = 1, 3000 do
    g:go(function()
      local inner <close> = waitgroup.errgroup { context = waitgroup.root() }
      inner:go(function()
        waitgroup.sleep(0.001)
        ended = ended + 1
      end)
      waitgroup.yield()
      if i % 2 == 0 then
        error("failed", 0)
      end
    end)
  end
  assert.same({ nil, "failed" }, { table.unpack({ g:wait(30) }, 1, 2) })
  assert.equal(3000, ended)
end)

it("a group that a failing block leaves waits in turn with the others", function()
  local g, order = waitgroup.errgroup(), {}
  for _, name in ipairs { "slow", "fast" } do
    g:go(function()
      pcall(function()
        local inner <close> = waitgroup.errgroup()
        inner:go(function()
          waitgroup.sleep(30) -- until the error
          waitgroup.sleep(0)
          waitgroup.new(1):wait(name == "slow" and 0.1 or 0.001, waitgroup.root())
        end)
        waitgroup.yield()
        error "leave"
      end)
      order[#order + 1] = name
    end)
  end
  assert.is_true(g:wait(30))
  assert.same({ "fast", "slow" }, order)
end)

it("a task that blocks is named when nothing can run any more, and hears of it", function()
  local g = waitgroup.errgroup()
  g:go(function() ("x"):gsub("x", function() waitgroup.new(1):wait() end) end)
  local ok, err = g:wait()
  assert.is_nil(ok)
  assert.matches("deadlock: nothing can ever run again", err)
end)

it("the callbacks of a context may wait, and hold up nobody", function()
  local context, begun, go_on, got = waitgroup.context(), waitgroup.new(1), waitgroup.new(1), nil
  context:on_cancel(function()
    begun:done()
    go_on:wait(30)
    got = true
  end)
  local g = waitgroup.errgroup()
  g:thread(function(ctx) ctx:cancel() end, context)
  assert.is_true(g:wait(30))
  assert.is_true(begun:wait(30))
  assert.is_nil(got)
  go_on:done()
  while not got do
    waitgroup.sleep(0.001)
  end
end)
