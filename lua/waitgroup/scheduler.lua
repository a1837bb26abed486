--- How a Lua state sleeps: its timers, what its coroutine tasks wait for, and who drives them meanwhile.
--
-- A *waiter* is who sleeps: a task in its coroutine, a coroutine of another event loop, or a *driver*, who runs the
-- tasks of this state until it is woken. It sleeps on up to two *watches*, one for what it waits for and one for its
-- context, and on a timer; the first of them wakes it. A watch stands for one moment of one object, and all its
-- waiters; behind it is a node of the core, which any thread may fire. How tasks are made, run, suspended and ended
-- is in coroutine.c; the methods that wait are in C too, so that a suspended task has no frames of ours on its stack.
local core = require "waitgroup.core"

if core.module("scheduler") then -- there is one in a state, also after package.loaded was cleared
  return core.module("scheduler")
end

local running, isyieldable = coroutine.running, coroutine.isyieldable
local setmetatable, error, pcall = setmetatable, error, pcall
local ipairs, pairs, next, tostring = ipairs, pairs, next, tostring
local concat, sort = table.concat, table.sort
local fired, now, sleep = core.fired, core.now, core.sleep
local ready, run_ready, current_task, current_context = core.ready, core.run_ready, core.current_task,
  core.current_context

local scheduler = {}

-- The slots of a waiter.
local TASK <const> = 1 -- or false
local REASON <const> = 2 -- what woke it, see below; false while it sleeps
local WATCH <const> = 3 -- for what it waits, or false; and its index among the watch's waiters
local INDEX <const> = 4
local CONTEXT_WATCH <const> = 5
local CONTEXT_INDEX <const> = 6
local TIMER <const> = 7 -- its index in the heap, or false
local DEADLINE <const> = 8

-- What wakes a waiter.
local READY <const>, TIMED_OUT <const>, ENDED <const> = core.READY, core.TIMED_OUT, core.ENDED
local POLL <const>, FOREVER <const> = core.POLL, core.FOREVER

local loop -- the adapter of another event loop, or nil
local outsiders, outsiders_woken = 0, 0 -- waiters in coroutines of that loop; those of them that are awake
local on_error -- what the user set

--- Errors that nobody waits for.
local function report(value, traceback)
  if on_error and pcall(on_error, value, traceback) then
    return
  end
  local _, text = pcall(tostring, value)
  core.report(("waitgroup: %s\n%s\n"):format(text, traceback or ""))
end

function scheduler.on_error(fn)
  local old = on_error
  on_error = fn
  return old
end

-- Timers: a binary heap of waiters by DEADLINE; each knows its place in it.

local timers, timers_count = {}, 0

local function sift_up(waiter, i)
  local deadline = waiter[DEADLINE]
  while i > 1 do
    local parent = timers[i // 2]
    if parent[DEADLINE] <= deadline then
      break
    end
    timers[i], parent[TIMER] = parent, i
    i = i // 2
  end
  timers[i], waiter[TIMER] = waiter, i
end

local function sift_down(waiter, i)
  local deadline = waiter[DEADLINE]
  while 2 * i <= timers_count do
    local child = 2 * i
    if child < timers_count and timers[child + 1][DEADLINE] < timers[child][DEADLINE] then
      child = child + 1
    end
    if timers[child][DEADLINE] >= deadline then
      break
    end
    timers[i], timers[child][TIMER] = timers[child], i
    i = child
  end
  timers[i], waiter[TIMER] = waiter, i
end

local function start_timer(waiter, deadline)
  timers_count = timers_count + 1
  waiter[DEADLINE] = deadline
  sift_up(waiter, timers_count)
end

local function stop_timer(waiter)
  local i = waiter[TIMER]
  local last = timers[timers_count]
  timers[timers_count] = nil
  timers_count = timers_count - 1
  waiter[TIMER] = false
  if last ~= waiter then
    sift_up(last, i)
    sift_down(last, last[TIMER])
  end
end

local function next_deadline()
  return timers_count > 0 and timers[1][DEADLINE] or FOREVER
end

-- Watches. `waiters` is a list of `length`, with false where one has left; `count` are there. One without waiters and
-- without a callback is forgotten.

local watches, last_id = {}, 0 -- by id
local by_moment = { zero = {}, ["end"] = {}, room = {}, task = {} } -- those with a node: then by object

local function new_watch(object, moment)
  last_id = last_id + 1
  return { id = last_id, object = object, moment = moment, waiters = {}, length = 0, count = 0 }
end

local function observe(watch)
  watches[watch.id] = watch
  watch.node = core.watch(watch.object, watch.moment, watch.id)
end

local function watch_for(object, moment)
  local watch = by_moment[moment][object]
  if not watch then
    watch = new_watch(object, moment)
    by_moment[moment][object] = watch
    observe(watch)
  end
  return watch
end

local function forget(watch)
  watches[watch.id] = nil
  local of_moment = by_moment[watch.moment]
  if of_moment and of_moment[watch.object] == watch then
    of_moment[watch.object] = nil
  end
  if watch.node then
    core.unwatch(watch.node)
    watch.node = nil
  end
end

-- Close the gaps in the list of waiters.
local function compact(watch)
  local waiters, n = {}, 0
  for i = 1, watch.length do
    local waiter = watch.waiters[i]
    if waiter then
      n = n + 1
      waiters[n] = waiter
      waiter[waiter[WATCH] == watch and INDEX or CONTEXT_INDEX] = n
    end
  end
  watch.waiters, watch.length = waiters, n
end

local function join(watch, waiter)
  if watch.length > 2 * watch.count + 16 then
    compact(watch)
  end
  watches[watch.id] = watch
  local i = watch.length + 1
  watch.length, watch.count = i, watch.count + 1
  watch.waiters[i] = waiter
  return i
end

local function leave(watch, i)
  watch.waiters[i] = false
  watch.count = watch.count - 1
  if watch.count == 0 and not watch.callback then
    forget(watch)
  end
end

-- The descriptor on which coroutines of another loop sleep becomes readable when there is something to do here.
local function listen()
  return core.listen(next_deadline(), ready() or outsiders_woken > 0)
end

-- Waking.

local function stop_waiting(waiter)
  local watch, context_watch = waiter[WATCH], waiter[CONTEXT_WATCH]
  if watch then
    waiter[WATCH] = false
    leave(watch, waiter[INDEX])
  end
  if context_watch then
    waiter[CONTEXT_WATCH] = false
    leave(context_watch, waiter[CONTEXT_INDEX])
  end
  if waiter[TIMER] then
    stop_timer(waiter)
  end
end

local function wake(waiter, reason)
  waiter[REASON] = reason
  stop_waiting(waiter)
  if waiter[TASK] then
    core.wake(waiter[TASK], reason)
  elseif waiter.outsider then
    outsiders_woken = outsiders_woken + 1
    listen()
  end
end

-- The moment of `watch` has come.
local function fire(watch)
  watch.node = nil
  local callback = watch.callback
  watch.callback = nil
  for i = 1, watch.length do
    local waiter = watch.waiters[i]
    if waiter then
      wake(waiter, waiter[WATCH] == watch and READY or ENDED)
    end
  end
  forget(watch)
  if callback then
    local ok, err = pcall(callback)
    if not ok then
      report(err, core.traceback())
    end
  end
end

--- Wake whose moment has come, and whose time is up.
local function collect()
  for id in fired do
    fire(watches[id])
  end
  if timers_count > 0 then
    local time = now()
    while timers_count > 0 and timers[1][DEADLINE] <= time do
      wake(timers[1], TIMED_OUT)
    end
  end
end
scheduler.collect = collect

--- Call `callback` when the moment comes. Returns a function that prevents it: true if it did.
function scheduler.call_at(object, moment, callback)
  local watch = new_watch(object, moment)
  watch.callback = callback
  observe(watch)
  return function()
    if not watch.callback then
      return false
    end
    watch.callback = nil
    forget(watch)
    return true
  end
end

--- Let run what is ready, once, without sleeping.
local function step()
  collect()
  run_ready()
  collect()
end

-- Ends of tasks that somebody waits for, and scopes: a scope is what `run` waits for, with a `count` of tasks.

local all_ended -- the watch of who waits for all tasks to end, or nil

local function leave_scope(scope)
  scope.count = scope.count - 1
  if scope.count == 0 and scope.watch then
    fire(scope.watch)
  end
end

local function ended(task)
  local extra = core.extra(task)
  if extra.watch then
    fire(extra.watch)
  end
  if extra.scope then
    leave_scope(extra.scope)
  end
  if all_ended and core.alive() == 0 then
    fire(all_ended)
  end
end

-- The scope of the running task, or nil.
local function current_scope()
  local task = current_task()
  return task and core.extra(task).scope
end

--- A task of the running task's scope begins.
function scheduler.enter_scope(task)
  local scope = current_scope()
  if scope then
    scope.count = scope.count + 1
    core.extra(task, true).scope = scope
  end
end

--- The same for a task of another thread.
function scheduler.enter_scope_from_thread(task)
  local scope = current_scope()
  if scope then
    scope.count = scope.count + 1
    scheduler.call_at(task, "task", function()
      leave_scope(scope)
    end)
  end
end

-- Sleeping.

local drivers = {} -- waiters that drive the scheduler, outermost first

-- All waiters that sleep on a watch, each once.
local function sleepers()
  local ids, list, seen = {}, {}, {}
  for id in pairs(watches) do
    ids[#ids + 1] = id
  end
  sort(ids)
  for _, id in ipairs(ids) do
    local watch = watches[id]
    for i = 1, watch.length do
      local waiter = watch.waiters[i]
      if waiter and not seen[waiter] then
        seen[waiter] = true
        list[#list + 1] = waiter
      end
    end
  end
  return list
end

-- Whether anything but the coroutines of this state could still wake somebody. Nothing is ready: all its tasks sleep or
-- drive.
local function woken_from_outside(list)
  local own = {} -- of each group: how many of its unfinished tasks are coroutines of this state
  local function count(task)
    local group = task and core.task_owner(task)
    if group then
      own[group] = (own[group] or 0) + 1
    end
  end
  for _, waiter in ipairs(list) do
    count(waiter[TASK])
  end
  for _, driver in ipairs(drivers) do
    count(driver.task)
  end
  for _, watch in pairs(watches) do
    if watch.node and core.outside(watch.object, watch.moment, own[watch.object] or 0) then
      return true
    end
  end
  return false
end

local function what_for(waiter)
  local watch = waiter[WATCH]
  if not watch then
    return "its context to end"
  end
  return (watch.moment == "room" and "room in " or "") .. (watch.what or tostring(watch.object))
end

local function deadlock_message(list)
  local lines = { "deadlock: nothing can ever run again" }
  for _, driver in ipairs(drivers) do
    local who = driver.task and "task " .. driver.task:name() or "the caller"
    lines[#lines + 1] = ("  %s waits for %s"):format(who, what_for(driver))
  end
  for _, waiter in ipairs(list) do
    local task = waiter[TASK]
    if task then
      lines[#lines + 1] = ("  task %s waits for %s"):format(task:name(), what_for(waiter))
      lines[#lines + 1] = "    " .. core.traceback(core.task_coroutine(task)):gsub("\n", "\n    ")
    end
  end
  return concat(lines, "\n")
end

local function nothing_outside()
  return timers_count == 0 and outsiders == 0 and not woken_from_outside(sleepers())
end

local Driver = {}

-- However a driver ends, it leaves nothing behind.
function Driver.__close(driver)
  stop_waiting(driver)
  drivers[#drivers] = nil
  if outsiders > 0 then
    listen()
  end
end

local function drive(driver)
  driver.task = current_task()
  drivers[#drivers + 1] = driver
  local _ <close> = setmetatable(driver, Driver)
  while not driver[REASON] do
    run_ready()
    collect()
    if not driver[REASON] and not ready() then
      local stuck = nothing_outside()
      if not stuck then
        sleep(next_deadline())
      end
      collect() -- also if stuck: another thread may have woken somebody just before it was gone
      if stuck and not driver[REASON] and not ready() then
        error(deadlock_message(sleepers()), 0)
      end
    end
  end
  return driver[REASON]
end

local Outsider = {}

function Outsider.__close(waiter)
  outsiders = outsiders - 1
  if waiter[REASON] then
    outsiders_woken = outsiders_woken - 1
  end
  stop_waiting(waiter)
  if outsiders > 0 then
    listen()
  end
end

-- Wait in a coroutine of another event loop: it sleeps on our descriptor, and we run when that is readable.
local function wait_in_loop(waiter)
  waiter.outsider = true
  outsiders = outsiders + 1
  local _ <close> = setmetatable(waiter, Outsider)
  while true do
    step()
    if waiter[REASON] then
      return waiter[REASON]
    end
    loop.wait(listen())
    core.unlisten()
  end
end

-- Whether the running coroutine belongs to the other event loop.
local function in_loop()
  if not loop or not isyieldable() then
    return false
  end
  local _, is_main = running()
  return not is_main and not current_task() and loop.here()
end

-- What a waiter sleeps on that waits for `moment` of `object`.
local function watch_of(object, moment)
  if moment == "result" then -- of a coroutine task
    local extra = core.extra(object)
    extra.watch = extra.watch or new_watch(object, "result")
    return extra.watch
  elseif moment == "run" then -- of a scope
    return object.watch
  end
  return watch_for(object, moment)
end

-- A new waiter on `watch` (nil for none), the end of `context` (nil for none), and the deadline.
local function new_waiter(watch, context, deadline)
  local waiter = { false, false, false, false, false, false, false, false }
  if watch then
    waiter[WATCH], waiter[INDEX] = watch, join(watch, waiter)
  end
  if context then
    local context_watch = watch_for(context, "end")
    waiter[CONTEXT_WATCH], waiter[CONTEXT_INDEX] = context_watch, join(context_watch, waiter)
  end
  if deadline ~= FOREVER then
    start_timer(waiter, deadline)
  end
  return waiter
end

-- The running task will be suspended, and wants to be woken. It comes last: without memory nobody is woken for nothing.
local function enlist(task, object, moment, context, deadline)
  local waiter = new_waiter(object and watch_of(object, moment), context, deadline)
  waiter[TASK] = task
end

-- Whether there is nobody else to run.
local function alone()
  return core.alive() == 0 and timers_count == 0 and not next(watches) and not in_loop()
end

-- Wait where no task can be suspended: what woke it. With deadline POLL, it has let others run.
local function wait_here(object, moment, context, deadline, no_yield)
  if deadline == POLL then
    if not object or not current_task() then
      step()
    end
    return TIMED_OUT
  end
  -- The whole thread may block in the core, unless that would hang for certain; but not for room in a group, which
  -- only who takes it waits for there.
  if object and moment ~= "room" and alone() and (deadline ~= FOREVER or core.outside(object, moment, 0)) then
    local reason
    repeat -- after a signal, Lua gets to see what its handler did
      reason = core.block(object, moment, context, deadline)
    until reason
    return reason
  end
  local waiter = new_waiter(object and watch_of(object, moment), context, deadline)
  if not no_yield and in_loop() then
    return wait_in_loop(waiter)
  end
  return drive(waiter)
end

core.set_waits(enlist, wait_here)

--- Run `fn` as a task and wait until it and all that it started have ended.
function scheduler.run(fn, ...)
  local task = core.spawn(current_context(), fn, ...)
  local extra = core.extra(task, true)
  if extra.scope then -- this run is in the scope of another, which may go on without waiting for this task twice
    leave_scope(extra.scope)
  end
  local scope = { count = 1, watch = new_watch(nil, "run") }
  scope.watch.what = "all that `run` started"
  extra.scope = scope
  core.wait(scope, "run", nil, FOREVER)
  return core.coroutine_result(task)
end

local function wait_for_all()
  all_ended = new_watch(nil, "run")
  all_ended.what = "all tasks of this thread"
  core.await_all(true)
  drive(new_waiter(all_ended, nil, FOREVER))
end

-- At the end of a task that this state ran for a thread: nothing of it may stay behind.
local function drain()
  local ok, err = true, nil
  while core.alive() > 0 do
    ok, err = pcall(wait_for_all)
    all_ended = nil
    core.await_all(false)
    for _, waiter in ipairs(sleepers()) do -- there are some only after a deadlock
      stop_waiting(waiter)
      core.kill(waiter[TASK], "this task can never run again")
    end
  end
  for _, watch in pairs(watches) do
    forget(watch)
  end
  on_error, loop = nil, nil
  if not ok then
    error(err, 0)
  end
end
core.set_drain(drain)

function scheduler.use(adapter)
  loop = adapter
end

scheduler.report, scheduler.ended, scheduler.alone = report, ended, alone

core.module("scheduler", scheduler)
return scheduler
