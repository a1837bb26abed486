-- A module of Prosody, which test_prosody.py has it load: logs what it finds.
local async = require "util.async"
local timer = require "util.timer"
local waitgroup = require "waitgroup"
local tour = require "tour"
waitgroup.use "prosody"

local before = tour.threads()

local function in_runner(name, fn)
  async.runner(function()
    local ok, result = pcall(fn)
    module:log("info", "<%s: %s %s>", name, ok, result)
  end):run(true)
end

-- Timers of Prosody run while a coroutine waits.
local function a_wait_does_not_block()
  local wg = waitgroup.new(1)
  local g <close> = waitgroup.errgroup()
  g:thread(function(counter) assert(counter:wait(60)) end, wg)
  timer.add_task(0.01, function() wg:done() end)
  return g:wait(60)
end

-- Tasks wait as runners do.
local function tasks_use_async()
  local g <close> = waitgroup.errgroup { limit = 2 }
  local names = assert(g:map(function(n)
    local wait, done = async.waiter()
    timer.add_task(0.01, done)
    wait()
    return n
  end, { 1, 2, 3 }))
  return table.concat(names, " ")
end

local function runners_join()
  local g <close> = waitgroup.errgroup { limit = 1 }
  for _ = 1, 3 do
    assert(g:enter())
    timer.add_task(0.01, function() g:leave() end)
  end
  assert(g:wait(60))
  return g:completed()
end

module:add_timer(0.1, function()
  in_runner("blocks", a_wait_does_not_block)
  in_runner("async", tasks_use_async)
  in_runner("joined", runners_join)
  in_runner("tour", tour.run)
  in_runner("alone", function() return tour.run(before) end)
end)
