-- The benchmarks of the Lua module beside its peers. usage: bench.lua FILE (`make bench-lua` calls this)
-- Writes FILE in the format of bench/report.py. All subjects of a comparison are measured in turn, in one process.
local waitgroup = require "waitgroup"
local cqueues = require "cqueues"
local thread = require "cqueues.thread"
local uv = require "luv"
local cjson = require "cjson"
local core = require "waitgroup.core"
-- Copas may be packaged for another version of Lua: it is pure Lua.
package.path = package.path .. ";/usr/share/lua/5.2/?.lua;/usr/share/lua/5.1/?.lua"
local copas = require "copas"

local SAMPLES = tonumber(os.getenv "BENCH_QUICK") and 1 or 9
local measurements = {}

local function quantile(sorted, q)
  local at = 1 + (#sorted - 1) * q
  local low = math.floor(at)
  local high = math.min(low + 1, #sorted)
  return sorted[low] + (sorted[high] - sorted[low]) * (at - low)
end

-- `subjects`: a list of { name, function(), target }, each function gives the measured value once; the first is ours.
local function compare(work, unit, subjects, samples)
  local values = {}
  for i, subject in ipairs(subjects) do
    values[i] = {}
    subject[2]() -- warm up
  end
  for _ = 1, samples or SAMPLES do
    for i, subject in ipairs(subjects) do
      collectgarbage()
      collectgarbage()
      table.insert(values[i], subject[2]())
    end
  end
  for i, subject in ipairs(subjects) do
    table.sort(values[i])
    local m = {
      work = work,
      subject = subject[1],
      value = quantile(values[i], 0.5),
      unit = unit,
      spread = quantile(values[i], 0.75) - quantile(values[i], 0.25),
      samples = #values[i],
      target = subject.target or cjson.null,
    }
    measurements[#measurements + 1] = m
    print(("%-60s %-34s %10.3f %s"):format(i == 1 and work or "", m.subject, m.value, unit))
  end
end

-- The time of `fn(count)`, in microseconds for each of `count`.
local function per_item(count, fn)
  return function()
    local start = core.now()
    fn(count)
    return (core.now() - start) / count / 1000
  end
end

-- Tasks on threads: two arguments, one result.

local function add(a, b)
  return a + b
end

local function threads(limit)
  return function(count)
    local g = waitgroup.errgroup { limit = limit }
    for i = 1, count do
      g:thread(add, i, 1)
    end
    assert(g:wait())
  end
end

local function luv_work(count)
  local work = uv.new_work(add, function() end)
  for i = 1, count do
    work:queue(i, 1)
  end
  uv.run()
end

local function cqueues_threads(count)
  for i = 1, count do
    local t = assert(thread.start(function(_, a, b) return a + b end, i, 1))
    assert(t:join())
  end
end

compare("a task on a thread, limit 2", "us", {
  { "waitgroup", per_item(20000, threads(2)), target = "at most luv's new_work; at least 20 times less than cqueues" },
  { "luv new_work, 2 threads", per_item(20000, luv_work) },
  { "cqueues.thread start and join", per_item(500, cqueues_threads) },
})

compare("a task on a thread, no limit", "us", {
  { "waitgroup", per_item(20000, threads()) },
  { "luv new_work, 2 threads", per_item(20000, luv_work) },
})

-- Coroutines that do nothing.

local function nothing() end

local function coroutines(count)
  local g = waitgroup.errgroup()
  for _ = 1, count do
    g:go(nothing)
  end
  assert(g:wait())
end

local function bare(count)
  local create, resume = coroutine.create, coroutine.resume
  for _ = 1, count do
    resume(create(nothing))
  end
end

local function cqueues_wrap(count)
  local queue = cqueues.new()
  for _ = 1, count do
    queue:wrap(nothing)
  end
  assert(queue:loop())
end

local function copas_threads(count)
  for _ = 1, count do
    copas.addthread(nothing)
  end
end

compare("a coroutine task, 1,000,000 at once", "us", {
  { "waitgroup", per_item(1000000, coroutines),
    target = "less than copas and cqueues" },
  { "coroutine.create and resume", per_item(1000000, bare) },
  { "cqueues wrap (100,000)", per_item(100000, cqueues_wrap) },
  { "copas.addthread (100,000)", per_item(100000, copas_threads) },
}, 5)

-- Memory of coroutines that sleep.

local function memory_per_item(count, fn)
  return function()
    collectgarbage()
    collectgarbage()
    local before = collectgarbage("count")
    local _ <close> = fn(count)
    collectgarbage()
    collectgarbage()
    return (collectgarbage("count") - before) * 1024 / count
  end
end

compare("a suspended coroutine", "bytes", {
  { "waitgroup", memory_per_item(10000, function(count)
    local g, go_on = waitgroup.errgroup(), waitgroup.new(1)
    local started = 0
    for _ = 1, count do
      g:go(function()
        started = started + 1
        go_on:wait()
      end)
    end
    while started < count do
      g:wait(0)
    end
    return setmetatable({}, { __close = function()
      go_on:done()
      assert(g:wait())
    end })
  end), target = "at most 1.3 times a bare suspended coroutine" },
  { "coroutine.create and resume", memory_per_item(10000, function(count)
    local list = {}
    for i = 1, count do
      local co = coroutine.create(function() coroutine.yield() end)
      coroutine.resume(co)
      list[i] = co
    end
    return setmetatable(list, { __close = nothing })
  end) },
})

-- Two computations on two cores.

local function compute(n)
  local x = 0
  for i = 1, n do
    x = x + i % 7
  end
  return x
end

local N <const> = 50000000

compare("two computing tasks", "ms", {
  { "waitgroup", function()
    local start = core.now()
    local g = waitgroup.errgroup()
    g:thread(compute, N)
    g:thread(compute, N)
    assert(g:wait())
    return (core.now() - start) / 1000000
  end, target = "at least 1.9 times as fast as one after the other, on two cores" },
  { "one after the other", function()
    local start = core.now()
    compute(N)
    compute(N)
    return (core.now() - start) / 1000000
  end },
  { "luv new_work, 2 threads", function() -- what the machine allows two threads
    local start = core.now()
    local work = uv.new_work(compute, function() end)
    work:queue(N)
    work:queue(N)
    uv.run()
    return (core.now() - start) / 1000000
  end },
})

-- Values through a channel, from one state to another. With cqueues, lines on the socket pair of its threads.

local VALUES <const> = 50000

compare("a number through a channel from a thread", "us", {
  { "waitgroup", per_item(VALUES, function(count)
    local g, channel = waitgroup.errgroup(), waitgroup.channel(100)
    g:thread(function(ch, n)
      for i = 1, n do
        ch:send(i)
      end
      ch:close()
    end, channel, count)
    local got = 0
    for _ in channel:each() do
      got = got + 1
    end
    assert(g:wait())
    assert(got == count)
  end) },
  { "lines on a socket of cqueues.thread", per_item(VALUES, function(count)
    local t, socket = thread.start(function(con, n)
      for i = 1, n do
        con:write(i, "\n")
      end
      con:flush()
    end, count)
    local got = 0
    for _ in socket:lines() do
      got = got + 1
    end
    t:join()
    assert(got == count)
  end) },
}, 5)

-- Tables there and back.

local TABLES <const> = 100000

local function make_tables()
  local list = {}
  for i = 1, TABLES do
    list[i] = { id = i, name = "name " .. i, a = 1, b = 2.5, c = true, d = "text", e = i * 2, f = false, g = "more",
      h = i / 3 }
  end
  return list
end

local tables = make_tables()

compare("100,000 tables of 10 fields to a thread and back", "ms", {
  { "waitgroup", function()
    local start = core.now()
    local g = waitgroup.errgroup()
    local task = g:thread(function(list) return list end, tables)
    assert(g:wait())
    local _, got = task:result()
    assert(#got == TABLES)
    return (core.now() - start) / 1000000
  end, target = "at most luv with cjson" },
  { "luv new_work and cjson", function()
    local start = core.now()
    local got
    local work = uv.new_work(function(text)
      local json = require "cjson"
      return json.encode(json.decode(text))
    end, function(text) got = cjson.decode(text) end)
    work:queue(cjson.encode(tables))
    uv.run()
    assert(#got == TABLES)
    return (core.now() - start) / 1000000
  end },
}, 5)

local out = assert(io.open(arg[1], "w"))
out:write(cjson.encode(measurements), "\n")
out:close()
