-- Waits in coroutines of other event loops yield to them, and their other coroutines run meanwhile.
local waitgroup = require "waitgroup"
local peer = require "peer"

-- Copas may be packaged for another version of Lua: it is pure Lua.
local function find_copas()
  local path = package.path
  local copas = peer.get "copas"
  if not copas then
    package.path = path .. ";/usr/share/lua/5.2/?.lua;/usr/share/lua/5.1/?.lua"
    copas = peer.get "copas"
    package.path = path
  end
  return copas
end

local loops = {}

local cqueues = peer.get "cqueues"
local copas = find_copas()
local uv = peer.get "luv"

loops.cqueues = function(...)
  local queue = cqueues.new()
  for _, fn in ipairs { ... } do
    queue:wrap(fn)
  end
  assert(queue:loop(30))
  assert(queue:empty())
end

loops.copas = function(...)
  local left = select("#", ...)
  for _, fn in ipairs { ... } do
    copas.addthread(function()
      fn()
      left = left - 1
    end)
  end
  local deadline = os.time() + 30
  while left > 0 do
    assert(os.time() < deadline, "copas does not end")
    copas.step(0.02)
  end
end

loops.luv = function(...)
  local left = select("#", ...)
  local timer = uv.new_timer()
  timer:start(30000, 0, function() error("luv does not end") end)
  for _, fn in ipairs { ... } do
    coroutine.wrap(function()
      fn()
      left = left - 1
      if left == 0 then
        timer:close()
      end
    end)()
  end
  uv.run()
  assert.equal(0, left)
end

-- Each its own: copas tells only one of several coroutines that one descriptor is readable.
local function readable()
  return waitgroup.new()
end
local core = require "waitgroup.core"

-- How a coroutine of the loop lets others run.
local tick = {
  cqueues = function() cqueues.sleep(0.001) end,
  copas = function() -- what every version of copas has: a wait for something that is readable at once
    local asked, wg = 0, readable()
    local object = { close = function() end, dirty = function() return false end }
    function object.getfd() return wg:pollfd() end
    function object.receive()
      asked = asked + 1
      if asked > 1 then
        return "x"
      end
      return nil, "timeout"
    end
    copas.receive(object)
  end,
  luv = function()
    local co, timer = coroutine.running(), uv.new_timer()
    timer:start(1, 0, function()
      timer:close()
      assert(coroutine.resume(co))
    end)
    coroutine.yield()
  end,
}

local versions = {
  cqueues = cqueues and (cqueues.VERSION or cqueues._VERSION),
  copas = copas and copas._VERSION,
  luv = uv and uv.version_string(),
}

for name in pairs(loops) do
  if not versions[name] then
    pending(name .. " is not there")
  end
end

for name in pairs(versions) do
  local run = loops[name]
  describe(("in %s (%s)"):format(name, versions[name]), function()
    setup(function() waitgroup.use(name) end)
    teardown(function() waitgroup.use(nil) end)

    -- What `fn(go_on)` waits for comes only after another coroutine has run a few times: a wait that blocked the loop
    -- would time out.
    local function beside_another(fn)
      local go_on, done = waitgroup.new(1), false
      run(function()
        fn(go_on)
        done = true
      end, function()
        for _ = 1, 3 do
          tick[name]()
        end
        assert.is_false(done)
        go_on:done()
      end)
      assert.is_true(done)
    end

    it("a wait for threads yields to the loop", function()
      beside_another(function(go_on)
        local g = waitgroup.errgroup()
        local task = g:thread(function(n, wg)
          wg:wait()
          return n + 1
        end, 1, go_on)
        assert.is_true(g:wait(20))
        assert.same({ true, 2 }, { task:result() })
      end)
    end)

    it("a thread that waits for room yields to the loop", function()
      beside_another(function(go_on)
        local g = waitgroup.errgroup { limit = 1 }
        g:thread(function(wg) assert(wg:wait(20)) end, go_on)
        assert.is_true(g:thread(function() end):result(20))
        assert.is_true(g:wait(20))
      end)
    end)

    it("coroutine tasks run, sleep and are limited", function()
      local order = {}
      beside_another(function(go_on)
        local g = waitgroup.errgroup { limit = 2 }
        for i = 1, 5 do
          assert(g:go(function()
            waitgroup.sleep(0.001)
            order[#order + 1] = i
            go_on:wait()
          end))
        end
        assert.is_true(g:wait(20))
      end)
      table.sort(order)
      assert.same({ 1, 2, 3, 4, 5 }, order)
    end)

    it("many coroutines of the loop wait, and all are woken", function()
      local wg, woken, waiters = waitgroup.new(1), 0, {}
      for i = 1, 5 do
        waiters[i] = function()
          assert(wg:wait(20))
          woken = woken + 1
        end
      end
      waiters[6] = function()
        tick[name]()
        wg:done()
      end
      run(table.unpack(waiters))
      assert.equal(5, woken)
    end)

    it("a timeout ends a wait", function()
      local got
      run(function()
        got = { waitgroup.new(1):wait(0.02) }
      end)
      assert.same({ nil, "timeout" }, got)
    end)

    it("a task that is started while others wait runs at once", function()
      local started, waited = waitgroup.new(1), nil
      run(function()
        waited = started:wait(20)
      end, function()
        tick[name]()
        waitgroup.new():go(function() started:done() end)
      end)
      assert.is_true(waited)
    end)

    it("a cancelled context ends a wait", function()
      local context, got = waitgroup.context(), nil
      run(function()
        got = { waitgroup.new(1):wait(20, context) }
      end, function()
        tick[name]()
        context:cancel("loop")
      end)
      assert.same({ nil, "cancelled", "loop" }, got)
    end)

    it("tasks yield to the loop, and go on when it resumes them", function()
      local order = {}
      run(function()
        local g = waitgroup.errgroup()
        for i = 1, 5 do
          g:go(function()
            assert.equal(g:context(), waitgroup.current_context())
            for _ = 1, i do
              tick[name]()
            end
            assert(waitgroup.sleep(0.001))
            tick[name]()
            assert.equal(g:context(), waitgroup.current_context())
            order[#order + 1] = i
          end)
        end
        assert.is_true(g:wait(20))
      end)
      table.sort(order)
      assert.same({ 1, 2, 3, 4, 5 }, order)
    end)

    it("a task that has yielded to the loop fails as any other", function()
      run(function()
        local g = waitgroup.errgroup()
        g:go(function()
          tick[name]()
          error("after a tick", 0)
        end)
        assert.same({ nil, "after a tick" }, { table.unpack({ g:wait(20) }, 1, 2) })
      end)
    end)

    it("tasks run though nobody waits for them, and the loop lasts as long as they do", function()
      require("leak_check").on_purpose()
      local ended = waitgroup.new(1)
      run(function()
        waitgroup.errgroup():go(function()
          waitgroup.sleep(0.01)
          tick[name]()
          ended:done()
        end)
      end, function()
        local deadline = os.time() + 20
        while ended:count() > 0 and os.time() < deadline do
          tick[name]()
        end
      end)
      assert.equal(0, ended:count())
    end)

    it("a group that is polled runs", function()
      local g, polled = waitgroup.errgroup(), false
      run(function()
        g:go(function()
          waitgroup.sleep(0.001)
          tick[name]()
        end)
        local fd = g:pollfd()
        local deadline = os.time() + 20
        while not core.readable(fd) and os.time() < deadline do
          tick[name]()
        end
        polled = core.readable(fd)
      end)
      assert.is_true(polled)
      assert.is_true(g:wait(0))
    end)

    it("coroutines of the loop join a group, and wait for room in it", function()
      local g, now, highest, coroutines = waitgroup.errgroup { limit = 2 }, 0, 0, {}
      for i = 1, 6 do
        coroutines[i] = function()
          assert(g:enter())
          now = now + 1
          highest = math.max(highest, now)
          tick[name]()
          now = now - 1
          g:leave()
        end
      end
      run(table.unpack(coroutines))
      assert.equal(2, highest)
      assert.is_true(g:wait(0))
      assert.equal(6, g:completed())
    end)

    -- In luv, whatever resumes a coroutine may be meant to get its yields.
    if name ~= "luv" then
      it("a wait in an iterator is not taken for what that yields", function()
        local function walk()
          local seen = {}
          for i in coroutine.wrap(function()
            for i = 1, 3 do
              assert(waitgroup.sleep(0.001))
              coroutine.yield(i)
            end
          end) do
            seen[#seen + 1] = i
          end
          return seen
        end
        local alone, in_task, deep
        run(function()
          alone = walk()
          coroutine.wrap(function() deep = walk() end)()
          local g = waitgroup.errgroup()
          local task = g:go(walk)
          assert(g:wait())
          in_task = task:get()
        end)
        assert.same({ { 1, 2, 3 }, { 1, 2, 3 }, { 1, 2, 3 } }, { alone, deep, in_task })
      end)
    end

    it("outside of its coroutines waits work as ever", function()
      local g = waitgroup.errgroup()
      g:go(function() waitgroup.sleep(0.001) end)
      g:thread(function() end)
      assert.is_true(g:wait(20))
    end)
  end)
end

describe("the pollable protocol", function()

  it("makes cqueues wait for our objects as they are", function()
    if not cqueues then
      return pending "cqueues is not there"
    end
    local wg, g, context = waitgroup.new(1), waitgroup.errgroup(), waitgroup.context()
    local seen = {}
    g:thread(function(counter, ctx)
      require("waitgroup").sleep(0.02)
      counter:done()
      ctx:cancel()
    end, wg, context)
    loops.cqueues(function() seen[1] = cqueues.poll(wg, 20) end, function() seen[2] = cqueues.poll(g, 20) end,
      function() seen[3] = cqueues.poll(context, 20) end)
    assert.equal(wg, seen[1])
    assert.equal(g, seen[2])
    assert.equal(context, seen[3])
    assert.is_true(g:wait(20))
  end)

  it("makes coroutine tasks run in cqueues, though no loop is said to be in use", function()
    if not cqueues then
      return pending "cqueues is not there"
    end
    local g, ran, polled = waitgroup.errgroup(), false, nil
    g:go(function()
      waitgroup.sleep(0.001)
      ran = true
    end)
    loops.cqueues(function()
      g:pollfd() -- in a coroutine of the loop
      polled = cqueues.poll(g, 20)
    end)
    assert.equal(g, polled)
    assert.is_true(ran)
    assert.is_true(g:wait(0))
  end)

  it("stays readable", function()
    local wg = waitgroup.new()
    local fd = wg:pollfd()
    assert.is_true(core.readable(fd))
    assert.is_true(core.readable(fd))
    assert.equal(fd, wg:getfd())
    assert.equal("r", wg:events())
    assert.is_nil(wg:timeout())
    wg:add()
    wg:pollfd()
    assert.is_false(core.readable(fd))
    wg:done()
    assert.is_true(core.readable(fd))
  end)

  it("leaves no descriptor open", function()
    local function open()
      local count = 0
      for _ in io.popen("ls /proc/" .. io.open("/proc/self/stat"):read("n") .. "/fd"):lines() do
        count = count + 1
      end
      return count
    end
    collectgarbage()
    collectgarbage()
    local before = open()
    for _ = 1, 50 do
      waitgroup.new():pollfd()
      waitgroup.context():pollfd()
      waitgroup.errgroup():pollfd()
    end
    collectgarbage()
    collectgarbage()
    assert.is_true(open() <= before + 3)
  end)
end)

describe("a coroutine that joins a group", function()
  it("leaves it with an error, which is the group's", function()
    local g = waitgroup.errgroup()
    assert.is_true(g:enter())
    g:leave { code = 1 }
    assert.same({ nil, { code = 1 } }, { table.unpack({ g:wait(20) }, 1, 2) })
    assert.same({ nil, "finished" }, { g:enter() })
  end)

  it("is refused at the limit, or waits", function()
    local g = waitgroup.errgroup { limit = 1 }
    assert.is_true(g:try_enter())
    assert.same({ nil, "limit" }, { g:try_enter() })
    g:leave()
    assert.is_true(g:enter())
    g:leave()
    assert.is_true(g:wait(20))
  end)

  it("cannot leave more often than it has entered", function()
    local g = waitgroup.errgroup { name = "fetch" }
    local ok, message = pcall(g.leave, g)
    assert.is_false(ok)
    assert.matches("leave%(%) without enter%(%): .*ErrGroup fetch", message)
    g:go(function() end)
    assert.is_false((pcall(g.leave, g)))
    assert.is_true(g:wait(20))
  end)
end)

describe("a task that yields where no loop runs it", function()
  it("fails with what to do, where it has yielded", function()
    local g, caught = waitgroup.errgroup(), nil
    g:go(function()
      local _, err = pcall(function()
        local got = coroutine.yield("anything")
        return got
      end)
      caught = err
      assert(waitgroup.sleep(0.001)) -- and may go on
    end)
    assert.is_true(g:wait(20))
    assert.matches("^tests/lua/loops_spec.lua:%d+: a task has yielded, but not to waitgroup, and no other event loop runs it: "
      .. "to let others run, call waitgroup.yield", caught)
  end)

  it("fails so where the loop in use does not run", function()
    if not cqueues then
      return pending "cqueues is not there"
    end
    waitgroup.use "cqueues"
    local g = waitgroup.errgroup()
    g:go(function() coroutine.yield() end)
    local _, err = g:wait(20)
    waitgroup.use(nil)
    assert.matches("no other event loop runs it", err)
  end)
end)

it("a loop that raises in the coroutine of our tasks gets another one with the next task", function()
  local spawned = 0
  waitgroup.use {
    here = function() return false end,
    wait = function() error("stopped", 0) end,
    spawn = function(fn)
      spawned = spawned + 1
      return not pcall(fn)
    end,
  }
  local g = waitgroup.errgroup()
  g:go(function() end)
  g:go(function() end)
  waitgroup.use(nil)
  assert.equal(2, spawned)
  assert.is_true(g:wait(20))
end)

it("the loop of a host is refused elsewhere", function()
  local _, message = pcall(waitgroup.use, "haproxy")
  assert.matches("no adapter for the event loop 'haproxy': this program is not HAProxy", message, 1, true)
  assert.is_false(pcall(waitgroup.use, "prosody"))
end)

it("an unknown loop is refused", function()
  assert.has_error(function() waitgroup.use("nonsense") end)
  assert.has_error(function() waitgroup.use({}) end)
  assert.has_error(function() waitgroup.use(5) end)
end)
