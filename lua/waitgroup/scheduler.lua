--- The scheduler of a Lua state: its coroutine tasks, its timers, and how it sleeps.
--
-- A *waiter* is who sleeps: a task (in its coroutine), or whoever drives the scheduler from outside. It sleeps on up to
-- two *watches*, one for what it waits for and one for its context, and on a timer; the first of them wakes it. A watch
-- stands for one moment of one object, and all its waiters; behind it is a node of the core, which other threads fire.
local core = require "waitgroup.core"

local create, resume, yield = coroutine.create, coroutine.resume, coroutine.yield
local running, isyieldable = coroutine.running, coroutine.isyieldable
local select, setmetatable, type, error = select, setmetatable, type, error
local ipairs, pairs, next, pcall, tostring = ipairs, pairs, next, pcall, tostring
local concat, unpack = table.concat, table.unpack
local cancelled, fired, now, sleep = core.cancelled, core.fired, core.now, core.sleep

local scheduler = {}

-- The slots of a task. Those from REASON on are of every waiter.
local OWNER <const> = 1 -- its group, its wait group, or nothing
local ENDED <const> = 2 -- called with the task when it has ended
local FN <const> = 3
local ARGS <const> = 4 -- packed, or false
local STATE <const> = 5
local VALUE <const> = 6 -- when it has ended: its packed results, or its error; else the watch of who waits for it
local CONTEXT <const> = 7 -- false: not asked for yet
local CO <const> = 8 -- false until it starts
local SCOPE <const> = 9 -- of `run`, or false
local REASON <const> = 10 -- false while asleep: what woke it
local WATCH <const> = 11 -- and its index among the watch's waiters
local INDEX <const> = 12
local CONTEXT_WATCH <const> = 13
local CONTEXT_INDEX <const> = 14
local TIMER <const> = 15 -- its index in the heap
local DEADLINE <const> = 16
local TRACEBACK <const> = 17
local STARTED <const> = 18 -- when, in nanoseconds; only for groups with a grace period

-- What STATE says.
local WAITING <const>, RUNNING <const>, SUCCEEDED <const>, FAILED <const>, STOPPED <const> = 1, 2, 3, 4, 5

-- What wakes a waiter.
local READY <const>, TIMEOUT <const>, CANCELLED <const> = 1, 2, 3

local POLL <const>, FOREVER <const> = -1, 0
local PARKED = {} -- what our waits yield

local Task = { __name = "waitgroup.Task" }
Task.__index = Task
core.refuse(Task, "a task")

local current -- the task whose coroutine runs, or nil
local alive = 0 -- tasks that have not ended
local ready, head, tail = {}, 1, 0 -- tasks to run, first come first run
local loop -- the adapter of another event loop, or nil
local outsiders, outsiders_woken = 0, 0 -- waiters in coroutines of that loop; those of them that are awake
local on_error -- what the user set

--- Errors that nobody waits for.
function scheduler.report(value, traceback)
  if on_error then
    local ok = pcall(on_error, value, traceback)
    if ok then
      return
    end
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

-- Watches. `waiters` is a list with false where one has left; `count` are left.

local watches, last_id = {}, 0 -- by id
local by_moment = { zero = {}, ["end"] = {}, room = {}, task = {} } -- then by object

local function new_watch(object, moment)
  last_id = last_id + 1
  local watch = { id = last_id, object = object, moment = moment, waiters = {}, length = 0, count = 0 }
  watches[last_id] = watch
  return watch
end

local function watch_for(object, moment)
  local watch = by_moment[moment][object]
  if not watch then
    watch = new_watch(object, moment)
    by_moment[moment][object] = watch
    watch.node = core.watch(object, moment, watch.id)
  end
  return watch
end

local function forget_watch(watch)
  watches[watch.id] = nil
  local of_moment = by_moment[watch.moment]
  if of_moment and of_moment[watch.object] == watch then
    of_moment[watch.object] = nil
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
      if waiter[WATCH] == watch then
        waiter[INDEX] = n
      else
        waiter[CONTEXT_INDEX] = n
      end
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
    if watch.node then
      core.unwatch(watch.node)
    end
    forget_watch(watch)
  end
end

-- The descriptor on which coroutines of another loop sleep is readable when there is something to do here.
local function listen()
  local busy = head <= tail or outsiders_woken > 0
  return core.listen(timers_count > 0 and timers[1][DEADLINE] or FOREVER, busy)
end

-- Waking.

local function stop_waiting(waiter)
  local watch = waiter[WATCH]
  if watch then
    waiter[WATCH] = false
    leave(watch, waiter[INDEX])
  end
  watch = waiter[CONTEXT_WATCH]
  if watch then
    waiter[CONTEXT_WATCH] = false
    leave(watch, waiter[CONTEXT_INDEX])
  end
  if waiter[TIMER] then
    stop_timer(waiter)
  end
end

local function wake(waiter, reason)
  waiter[REASON] = reason
  stop_waiting(waiter)
  if waiter[CO] then
    tail = tail + 1
    ready[tail] = waiter
  elseif waiter.outsider then
    outsiders_woken = outsiders_woken + 1
    listen()
  end
end

-- The moment of `watch` has come.
local function fire(watch)
  watch.node = nil
  forget_watch(watch)
  local waiters = watch.waiters
  for i = 1, watch.length do
    local waiter = waiters[i]
    if waiter then
      wake(waiter, waiter[WATCH] == watch and READY or CANCELLED)
    end
  end
  local callback = watch.callback
  if callback then
    watch.callback = nil
    local ok, err = pcall(callback)
    if not ok then
      scheduler.report(err, core.traceback())
    end
  end
end

--- Wake whose moment has come, and whose time is up.
local function collect()
  for id in fired do
    local watch = watches[id]
    if watch then
      fire(watch)
    end
  end
  if timers_count > 0 then
    local time = now()
    while timers_count > 0 and timers[1][DEADLINE] <= time do
      wake(timers[1], TIMEOUT)
    end
  end
end
scheduler.collect = collect

--- Call `callback` when the moment comes. Returns a function that prevents it: true if it did.
function scheduler.call_at(object, moment, callback)
  local watch = new_watch(object, moment)
  watch.callback = callback
  watch.node = core.watch(object, moment, watch.id)
  return function()
    local node = watch.node
    if not node then
      return false
    end
    watch.node, watch.callback = nil, nil
    core.unwatch(node)
    forget_watch(watch)
    return true
  end
end

-- Tasks.

local all_ended -- the watch of who waits for all tasks to end, or nil

local function after_end(task)
  local watch = task[VALUE]
  alive = alive - 1
  local scope = task[SCOPE]
  if scope then
    scope:leave()
  end
  if alive == 0 and all_ended then
    local watching = all_ended
    all_ended = nil
    fire(watching)
  end
  return watch
end

local function succeeded(task, ...)
  local watch = after_end(task)
  local n = select("#", ...)
  task[STATE] = SUCCEEDED
  task[VALUE] = n > 0 and { n = n, ... }
  task[ENDED](task)
  if watch then
    fire(watch)
  end
end

local function body(task, fn, args)
  if args then
    return succeeded(task, fn(unpack(args, 1, args.n)))
  end
  return succeeded(task, fn())
end

local function failed(task, err)
  local co = task[CO]
  local traceback = core.traceback(co)
  err = core.close(co, err) -- runs its <close> variables, which may wait: without yielding
  local watch = after_end(task)
  task[STATE], task[VALUE], task[TRACEBACK] = FAILED, err, traceback
  task[ENDED](task)
  if watch then
    fire(watch)
  end
end

local function never_started(task)
  local watch = after_end(task)
  task[STATE], task[VALUE] = STOPPED, false
  task[ENDED](task)
  if watch then
    fire(watch)
  end
end

local function settle(task, ok, what)
  if not ok then
    failed(task, what)
  elseif what ~= PARKED and task[STATE] == RUNNING then -- a plain coroutine.yield: let others run
    task[REASON] = nil
    tail = tail + 1
    ready[tail] = task
  end
end

-- A task of an error group. The same function serves as its mark.
local function leave_group(task)
  local state = task[STATE]
  if state == FAILED then
    if core.fail(task[OWNER], task[VALUE], task[TRACEBACK]) then
      task[STATE] = STOPPED
    end
  else
    core.leave(task[OWNER])
  end
end

local function run_one()
  local task = ready[head]
  ready[head] = nil
  head = head + 1
  if head > tail then
    head, tail = 1, 0
  end
  local previous = current
  current = task
  local co = task[CO]
  if co then
    settle(task, resume(co, task[REASON]))
  elseif task[ENDED] == leave_group and cancelled(task[OWNER]) then
    never_started(task)
  else
    co = create(body)
    local fn, args = task[FN], task[ARGS]
    task[CO], task[STATE], task[ARGS] = co, RUNNING, false
    if task[STARTED] then
      task[STARTED] = now()
    end
    settle(task, resume(co, task, fn, args))
  end
  current = previous
end

-- Run what is ready now: not what becomes ready meanwhile, so that nobody starves.
local function run_ready(waiter)
  for _ = head, tail do
    if head > tail or waiter and waiter[REASON] then
      return
    end
    run_one()
  end
end

--- Let run what is ready, once, without sleeping.
function scheduler.step()
  collect()
  run_ready()
  collect()
end

--- A new task, to be run later. `ended` is called with it at its end.
local function spawn(owner, ended, context, fn, ...)
  local n = select("#", ...)
  local scope = current and current[SCOPE] or false
  local task = setmetatable({ owner, ended, fn, n > 0 and { n = n, ... }, WAITING, false, context, false, scope }, Task)
  if scope then
    scope.count = scope.count + 1
  end
  alive = alive + 1
  tail = tail + 1
  ready[tail] = task
  if outsiders > 0 then
    listen()
  end
  return task
end

function scheduler.spawn_in_group(group, fn, ...)
  return spawn(group, leave_group, false, fn, ...)
end

--- The same, and it notes when it starts.
function scheduler.spawn_timed(group, fn, ...)
  local task = spawn(group, leave_group, false, fn, ...)
  task[STARTED] = 0
  return task
end

local function leave_waitgroup(task)
  core.waitgroup_done(task[OWNER])
  if task[STATE] == FAILED then
    scheduler.report(task[VALUE], task[TRACEBACK])
  end
end

--- The context of the running task; nil outside of any.
local function context()
  local task = current
  if not task then
    return (core.current())
  end
  if not task[CONTEXT] and task[ENDED] == leave_group then
    task[CONTEXT] = core.errgroup_context(task[OWNER])
  end
  return task[CONTEXT] or nil
end
scheduler.context = context

function scheduler.spawn_in_waitgroup(wg, fn, ...)
  spawn(wg, leave_waitgroup, context() or false, fn, ...)
end

--- The running task if it is one of `group`.
function scheduler.in_task_of(group)
  local task = current
  return task and task[ENDED] == leave_group and task[OWNER] == group
end

-- Sleeping.

local drivers = {} -- waiters that drive the scheduler, outermost first

local function describe(waiter)
  local watch = waiter[WATCH]
  return watch and (watch.what or tostring(watch.object)) .. (watch.moment == "room" and ", for room" or "")
    or "its context"
end

local function name_of(task)
  return core.where(task[FN])
end

-- All waiters that sleep on a watch, each once, in no particular order.
local function sleepers()
  local list, seen = {}, {}
  for _, watch in pairs(watches) do
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

-- Whether anything but the coroutines of this state could still wake somebody. `own`: the unfinished tasks of each
-- group among those coroutines; nothing is ready now, so all of them sleep or drive.
local function woken_from_outside(list)
  local own = {}
  local function count(task)
    if task and task[ENDED] == leave_group then
      own[task[OWNER]] = (own[task[OWNER]] or 0) + 1
    end
  end
  for _, waiter in ipairs(list) do
    count(waiter[CO] and waiter)
  end
  for _, driver in ipairs(drivers) do
    count(driver.task)
  end
  for _, watch in pairs(watches) do
    if watch.callback or watch.count > 0 then
      local object = watch.object
      if type(object) == "userdata" and core.outside(object, own[object] or 0) then
        return true
      end
    end
  end
  return false
end

local function deadlock_message(list)
  local lines = { "deadlock: nothing can ever run again" }
  for _, driver in ipairs(drivers) do
    local who = driver.task and "task " .. name_of(driver.task) or "the caller"
    lines[#lines + 1] = ("  %s waits for %s"):format(who, describe(driver))
  end
  for _, waiter in ipairs(list) do
    if waiter[CO] then
      lines[#lines + 1] = ("  task %s waits for %s"):format(name_of(waiter), describe(waiter))
      lines[#lines + 1] = "    " .. core.traceback(waiter[CO]):gsub("\n", "\n    ")
    end
  end
  return concat(lines, "\n")
end

local function check_deadlock()
  if timers_count == 0 and outsiders == 0 then
    local list = sleepers()
    if not woken_from_outside(list) then
      error(deadlock_message(list), 0)
    end
  end
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
  drivers[#drivers + 1] = driver
  driver.task = current
  local _ <close> = setmetatable(driver, Driver)
  while not driver[REASON] do
    run_ready(driver)
    collect()
    if head > tail and not driver[REASON] then
      check_deadlock()
      sleep(timers_count > 0 and timers[1][DEADLINE] or FOREVER)
    end
  end
  return driver[REASON]
end

-- Wait in a coroutine of another event loop: it sleeps on our descriptor, we run when it is readable.
local function wait_in_loop(waiter)
  waiter.outsider = true
  outsiders = outsiders + 1
  local _ <close> = setmetatable(waiter, {
    __close = function()
      outsiders = outsiders - 1
      if waiter[REASON] then
        outsiders_woken = outsiders_woken - 1
      end
      stop_waiting(waiter)
      if outsiders > 0 then
        listen()
      end
    end,
  })
  while true do
    run_ready()
    collect()
    if waiter[REASON] then
      return waiter[REASON]
    end
    loop.wait(listen())
    core.unlisten()
    collect()
  end
end

-- Sleep until the watch fires (READY), the deadline passes (TIMEOUT) or the context ends (CANCELLED).
local function sleep_on(watch, context_watched, deadline, no_yield)
  local task = current
  local co, is_main = running()
  local may_yield = not no_yield and isyieldable()
  local in_task = may_yield and task and task[CO] == co
  local waiter = in_task and task or { false, false, false, false, false, false, false, false, false }
  waiter[REASON] = false
  if watch then
    waiter[WATCH], waiter[INDEX] = watch, join(watch, waiter)
  end
  if context_watched then
    local watch_of_context = watch_for(context_watched, "end")
    waiter[CONTEXT_WATCH], waiter[CONTEXT_INDEX] = watch_of_context, join(watch_of_context, waiter)
  end
  if deadline ~= FOREVER then
    start_timer(waiter, deadline)
  end
  if in_task then
    return yield(PARKED)
  elseif loop and may_yield and not task and not is_main and loop.here() then
    return wait_in_loop(waiter)
  end
  return drive(waiter)
end

--- Sleep until `moment` of `object` (which may be nil) has come: READY; the deadline has passed: TIMEOUT; or the
--- context has ended: CANCELLED. With `no_yield` it drives the scheduler even in a coroutine.
function scheduler.wait(object, moment, context_watched, deadline, no_yield)
  return sleep_on(object and watch_for(object, moment), context_watched, deadline, no_yield)
end

--- Whether a wait may block the whole thread in the core: there is nobody else to run.
function scheduler.alone()
  if alive > 0 or timers_count > 0 or next(watches) then
    return false
  end
  if loop then
    local _, is_main = running()
    return is_main or not (isyieldable() and loop.here())
  end
  return true
end

--- Let other tasks run.
function scheduler.yield()
  local task = current
  if task and task[CO] == running() and isyieldable() then
    yield()
  else
    scheduler.step()
  end
end

-- Scopes: what `run` waits for.

local Scope = {}
Scope.__index = Scope

function Scope:leave()
  self.count = self.count - 1
  if self.count == 0 and self.watch then
    local watch = self.watch
    self.watch = nil
    fire(watch)
  end
end

--- The running task's scope takes in what `task`, of another thread, stands for.
function scheduler.in_scope(task)
  local scope = current and current[SCOPE]
  if scope then
    scope.count = scope.count + 1
    scheduler.call_at(task, "task", function()
      scope:leave()
    end)
  end
end

local function nothing() end

--- Run `fn` as a task and wait until it and all that it started have ended.
function scheduler.run(fn, ...)
  local scope = setmetatable({ count = 1 }, Scope)
  local task = spawn(false, nothing, context() or false, fn, ...)
  if task[SCOPE] then -- this run is within another, which counted the task
    task[SCOPE]:leave()
  end
  task[SCOPE] = scope
  if scope.count > 0 then
    scope.watch = new_watch(scope, "run")
    scope.watch.what = "all that run started"
    sleep_on(scope.watch, nil, FOREVER)
  end
  return scheduler.result(task)
end

local function watch_all()
  all_ended = new_watch(scheduler, "run")
  all_ended.what = "all tasks of this thread"
  sleep_on(all_ended, nil, FOREVER)
end

--- At the end of a task that this state ran for a thread: nothing of it may stay behind.
local function drain()
  local ok, err = true, nil
  while alive > 0 do
    ok, err = pcall(watch_all)
    all_ended = nil
    for _, waiter in ipairs(sleepers()) do -- there are some only after a deadlock
      stop_waiting(waiter)
      failed(waiter, "this task can never run again")
    end
  end
  for _, watch in pairs(watches) do
    if watch.node then
      core.unwatch(watch.node)
    end
  end
  watches = {}
  for moment in pairs(by_moment) do
    by_moment[moment] = {}
  end
  on_error, loop = nil, nil
  if not ok then
    error(err, 0)
  end
end
core.set_drain(drain)

--- Wait for the end of a task of this state: READY, TIMEOUT or CANCELLED.
function scheduler.wait_for_task(task, context_watched, deadline)
  if task[STATE] > RUNNING then
    return READY
  end
  if deadline == POLL then
    if not current then
      scheduler.step()
    end
    return task[STATE] > RUNNING and READY or TIMEOUT
  end
  local watch = task[VALUE]
  if not watch then
    watch = new_watch(task, "run")
    task[VALUE] = watch
  end
  return sleep_on(watch, context_watched, deadline)
end

--- The results of a task that has ended.
function scheduler.result(task)
  local state, value = task[STATE], task[VALUE]
  if state == SUCCEEDED then
    if value then
      return true, unpack(value, 1, value.n)
    end
    return true
  elseif state == FAILED then
    return nil, value, task[TRACEBACK]
  end
  return core.context_ended(core.errgroup_context(task[OWNER]))
end

function scheduler.is_coroutine(task)
  return type(task) == "table"
end

function scheduler.is_current(task)
  return task == current
end

function scheduler.in_task()
  return current ~= nil
end

function scheduler.use(adapter)
  loop = adapter
end

function Task:done()
  return self[STATE] > RUNNING
end

function Task:cancelled()
  return self[STATE] == STOPPED
end

function Task:name()
  return name_of(self)
end

local state_names = { "waiting", "running", "ended", "failed", "cancelled" }

function Task:__tostring()
  return ("waitgroup.Task %s (%s)"):format(name_of(self), state_names[self[STATE]])
end

--- How long a task that was spawned by spawn_timed has run, in nanoseconds; nil if it does not run.
function scheduler.running_for(task)
  return task[STATE] == RUNNING and now() - task[STARTED] or nil
end

scheduler.Task = Task
scheduler.READY, scheduler.TIMEOUT, scheduler.CANCELLED = READY, TIMEOUT, CANCELLED
scheduler.POLL, scheduler.FOREVER = POLL, FOREVER

return scheduler
