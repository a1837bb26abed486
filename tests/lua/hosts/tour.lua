-- What works in every host.
local waitgroup = require "waitgroup"

local HANG = 60 -- seconds; tells a hang from a slow machine

local tour = {}

--- How many threads this process has.
function tour.threads()
  for line in io.lines("/proc/self/status") do
    local count = line:match("^Threads:%s*(%d+)")
    if count then
      return tonumber(count)
    end
  end
end

local function check(what, ...)
  local got = table.concat({ ... }, " ")
  assert(got == what, ("expected '%s', got '%s'"):format(what, got))
end

local function coroutine_tasks()
  local g <close> = waitgroup.errgroup { limit = 2 }
  local squares = assert(g:map(function(n)
    assert(waitgroup.sleep(0.01))
    return n * n
  end, { 1, 2, 3, 4 }))
  check("1 4 9 16", table.unpack(squares))
end

local function thread_tasks()
  local offset = 100
  local g <close> = waitgroup.errgroup { limit = 2 }
  check("101 104 109", table.unpack(assert(g:thread_map(function(n) return n * n + offset end, { 1, 2, 3 }))))
end

local function both_ways_of_waiting_forever(g)
  g:go(function() waitgroup.sleep(1000) end)
  g:thread(function() require("waitgroup").current_context():wait(1000) end)
end

local function deadline()
  local g <close> = waitgroup.errgroup { timeout = 0.05 }
  both_ways_of_waiting_forever(g)
  local _, why = g:wait(HANG)
  check("deadline exceeded", why)
end

local function error_that_cancels()
  local g <close> = waitgroup.errgroup()
  both_ways_of_waiting_forever(g)
  g:thread(function() error("three", 0) end)
  local _, why = g:wait(HANG)
  check("three", why)
end

local function where_nothing_can_yield()
  local g <close> = waitgroup.errgroup()
  local task = g:go(function()
    return (("a b"):gsub("%a", function(letter)
      waitgroup.sleep(0.01)
      return letter .. letter
    end))
  end)
  check("aa bb", task:get(HANG))
end

local function channel()
  local ch, sum = waitgroup.channel(2), 0
  local g <close> = waitgroup.errgroup()
  g:thread(function(to)
    for n = 1, 10 do assert(to:send(n)) end
    to:close()
  end, ch)
  for n in ch:each() do sum = sum + n end
  check("55", sum)
end

-- Idle threads leave by themselves.
local function no_thread_stays(before)
  local until_then = os.time() + HANG
  while tour.threads() > before do
    assert(os.time() < until_then, tour.threads() - before .. " threads are still there")
    waitgroup.sleep(0.1)
  end
end

--- "ok", or an error. `before`: how many threads may be there in the end; nil: others use threads as well.
function tour.run(before)
  for _ = 1, 3 do
    coroutine_tasks()
    thread_tasks()
    deadline()
    error_that_cancels()
    where_nothing_can_yield()
    channel()
  end
  if before then
    no_thread_stays(before)
  end
  return "ok"
end

return tour
