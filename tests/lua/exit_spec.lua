-- The end of a process or of a state: no crash, no hang, whatever runs.
local waitgroup = require "waitgroup"
local process = require "process"
local peer = require "peer"

local busy = [[
local w = require "waitgroup"
local g = w.errgroup()
local started = w.new(2)
for _ = 1, 2 do
  g:thread(function(wg) wg:done() while true do end end, started)
end
g:thread(function() require("waitgroup").sleep(60) end)
g:go(function() w.sleep(60) end)
started:wait()
]]

describe("a process ends promptly with tasks running", function()
  it("at the end of its script", function()
    assert.equal("bye\nstatus 0\n", process(busy .. "print 'bye'"))
  end)

  it("by os.exit", function()
    assert.equal("status 3\n", process(busy .. "os.exit(3)"))
  end)

  it("by os.exit that closes the state", function()
    assert.equal("status 4\n", process(busy .. "os.exit(4, true)"))
  end)

  it("by an error", function()
    assert.matches("^[^\n]*lua[%d.]*: .*: the end\n.*status 1\n$", process(busy .. "error 'the end'"))
  end)

  it("and idle threads", function()
    assert.equal("true\nstatus 0\n", process([[
      local g = require("waitgroup").errgroup()
      for _ = 1, 10 do g:thread(function() end) end
      print(g:wait())
    ]]))
  end)

  it("and a signal that Lua handles interrupts a wait", function()
    if not peer.has "luv" then
      return pending "luv is not there"
    end
    local function interrupt(start)
      return process(([[
        local w = require "waitgroup"
        local pid = math.tointeger(require("luv").os_getpid())
        os.execute("(sleep 0.3; kill -INT " .. pid .. ") &")
        local g = w.errgroup()
        %s
        g:wait()
      ]]):format(start))
    end
    assert.matches("interrupted!.*status 1\n$", interrupt('g:thread(function() require("waitgroup").sleep(60) end)'))
    assert.matches("interrupted!.*status 1\n$", interrupt("g:go(function() w.sleep(60) end)"))
  end)
end)

it("a finalizer that runs after ours cannot do harm", function()
  assert.equal("status 0\n", process([[
    late = setmetatable({}, { __gc = function()
      for _, call in ipairs { "sleep", "yield", "run", "new", "errgroup", "context", "current_context", "root" } do
        pcall(w[call], print)
      end
      for _, object in ipairs { wg, g, ctx, task } do
        for name, method in pairs(getmetatable(object).__index) do
          pcall(method, object, print)
        end
        tostring(object)
      end
      pcall(function() w.new(1):wait(0.01) end)
      pcall(function() w.new():go(print) end)
      pcall(function() w.errgroup():thread(function() end) end)
    end })
    w = require "waitgroup"
    wg, g, ctx = w.new(1), w.errgroup(), w.context()
    task = g:thread(function() require("waitgroup").sleep(60) end)
    g:go(function() w.sleep(60) end)
    w.sleep(0.01)
  ]]))
end)

it("a finalizer that still lets tasks run, whose groups are gone, cannot do harm", function()
  assert.equal("ran\nran\nstatus 0\n", process([[
    w = require "waitgroup"
    last = setmetatable({}, { __gc = function()
      pcall(w.sleep, 0.1)
      pcall(w.run, function() w.sleep(0.001) end)
      for _, object in ipairs { wg, g, ctx, thread, task } do
        pcall(object.wait or object.result, object, 0.01)
        tostring(object)
      end
    end })
    wg, g, ctx = w.new(), w.errgroup(), w.context()
    thread = g:thread(function() require("waitgroup").sleep(60) end)
    for _, object in ipairs { wg, g } do
      object:go(function() w.sleep(0.01) w.current_context() print "ran" end)
      object:go(function() wg:wait(60) end) -- without a time it would be a deadlock
      object:go(function() ctx:wait() end)
    end
    task = g:go(function() w.sleep(0.02) error "late" end)
    w.yield()
  ]]))
end)

it("a finalizer that lets tasks run which wait for a thread, or for room for one, cannot do harm", function()
  assert.matches("^false\tthis task cannot be used any more: its handle was finalized\ntrue\tnil\tcancelled\t.*\nstatus 0\n$", process([[
    local w = require "waitgroup"
    last = setmetatable({}, { __gc = function() w.sleep(0.3) end })
    local function nap() require("waitgroup").sleep(0.1) end
    local one, g = w.errgroup { limit = 1 }, w.errgroup()
    task = one:thread(nap)
    g:go(function() print(pcall(task.result, task)) end)
    g:go(function() print(pcall(one.thread, one, nap)) end)
    w.yield()
  ]]))
end)

it("a finalizer that starts tasks of the groups collected with it cannot do harm", function()
  assert.equal("ended\nstatus 0\n", process([[
    local w = require "waitgroup"
    for _, new in ipairs { w.new, w.errgroup } do
      setmetatable({ group = new() }, { __gc = function(self)
        self.group:go(function() w.sleep(0.001) end)
      end })
      collectgarbage()
      collectgarbage()
      w.sleep(0.01)
    end
    print "ended"
  ]]))
end)

it("a finalizer called by hand cannot do harm", function()
  assert.equal("true\tnil\ttrue\nstatus 0\n", process([[
    local w = require "waitgroup"
    local wg, g, ctx = w.new(), w.errgroup(), w.context()
    local function finalize(object)
      getmetatable(object).__gc(object)
      getmetatable(object).__gc(object)
      return tostring(object):find "closed" ~= nil, (pcall(getmetatable(object).__gc, io.stdout))
    end
    local task = g:go(function() w.sleep(0.001) finalize(g) w.sleep(0.001) return "x" end)
    wg:go(function() finalize(wg) w.sleep(0.001) end)
    repeat w.sleep(0.01) until task:done()
    local thread = w.errgroup():thread(function() end)
    finalize(thread)
    assert(not pcall(thread.done, thread) and not pcall(thread.result, thread))
    print(finalize(ctx) and task:done(), (pcall(tostring, nil)) == nil and 1 or nil,
      not pcall(getmetatable(wg).__tostring, io.stdout))
  ]]))
end)

describe("errors that nobody waits for", function()
  it("go to the standard error stream, with a traceback", function()
    assert.matches("^waitgroup: .*:2: lost\nstack traceback:\n.*in function.*true\nstatus 0\n$", process([[
      local wg = require("waitgroup").new()
      wg:go(function() error "lost" end)
      print(wg:wait())
    ]]))
  end)

  it("go there when the handler fails itself", function()
    assert.matches("^waitgroup: .*: lost\n", process([[
      local w = require "waitgroup"
      local wg = w.new()
      w.on_error(function() error "too" end)
      wg:go(function() error "lost" end)
      wg:wait()
    ]]))
  end)
end)

describe("a state that is closed", function()
  it("leaves no task of its coroutines for others to wait for", function()
    -- the worker's state goes away with its thread; here the thread's task leaves one behind on purpose
    local g, runner = waitgroup.errgroup(), waitgroup.errgroup()
    runner:thread(function(group)
      local w = require "waitgroup"
      local never = w.new(1)
      group:go(function() never:wait(nil, w.root()) end)
    end, g)
    local ok, err = runner:wait(20)
    assert.is_nil(ok)
    assert.matches("nothing can ever run again", err)
    ok, err = g:wait(20)
    assert.is_nil(ok)
    assert.equal("this task can never run again", err)
  end)
end)

it("threads go away when they are idle", function()
  local function threads()
    return tonumber(io.open("/proc/self/status"):read("a"):match("Threads:%s+(%d+)"))
  end
  local g, go_on = waitgroup.errgroup(), waitgroup.new(1)
  for _ = 1, 5 do
    g:thread(function(wg) wg:wait() end, go_on)
  end
  waitgroup.sleep(0.05)
  go_on:done()
  assert.is_true(g:wait(20))
  local deadline = os.time() + 25
  while threads() > 3 and os.time() < deadline do
    waitgroup.sleep(0.2)
  end
  assert.is_true(threads() <= 3)
end)
