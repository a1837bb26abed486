-- One point of a curve. usage: growth.lua WORK SUBJECT N; prints nanoseconds for each of N. curves.py lists the works.
local waitgroup = require "waitgroup"
local core = require "waitgroup.core"

local function nothing() end

local works = { coroutines = {}, thread_tasks = {}, waiters = {} }

function works.coroutines.waitgroup(n)
  local g = waitgroup.errgroup()
  for _ = 1, n do
    g:go(nothing)
  end
  assert(g:wait())
end

works.coroutines["cqueues"] = function(n)
  local queue = require("cqueues").new()
  for _ = 1, n do
    queue:wrap(nothing)
  end
  assert(queue:loop())
end

function works.thread_tasks.waitgroup(n)
  local g = waitgroup.errgroup()
  for _ = 1, n do
    g:thread(nothing)
  end
  assert(g:wait())
end

works.thread_tasks["luv new_work"] = function(n)
  local uv = require "luv"
  local work = uv.new_work(nothing, nothing)
  for _ = 1, n do
    work:queue()
  end
  uv.run()
end

-- Coroutines that all wait for one thing, and are released.
function works.waiters.waitgroup(n)
  local g, gate = waitgroup.errgroup(), waitgroup.new(1)
  for _ = 1, n do
    g:go(function() gate:wait() end)
  end
  g:go(function() gate:done() end)
  assert(g:wait())
end

works.waiters["cqueues condition"] = function(n)
  local queue, gate, waiting = require("cqueues").new(), require("cqueues.condition").new(), 0
  for _ = 1, n do
    queue:wrap(function()
      waiting = waiting + 1
      gate:wait()
    end)
  end
  while waiting < n do
    assert(queue:step(0))
  end
  gate:signal()
  assert(queue:loop())
end

local measure, n = works[arg[1]][arg[2]], tonumber(arg[3])
local start = core.now()
measure(n)
print((core.now() - start) / n)
