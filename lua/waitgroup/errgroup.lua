--- Error groups: the methods that may wait or start tasks. The others are in C.
local core = require "waitgroup.core"
local scheduler = require "waitgroup.scheduler"

local pairs, setmetatable, getmetatable = pairs, setmetatable, getmetatable
local concat, sort = table.concat, table.sort
local math_type = math.type
local OK <const>, CONTEXT_ENDED <const>, NO_ROOM <const> = core.OK, core.CONTEXT_ENDED, core.LIMIT
local FOREVER <const> = core.FOREVER

local metatable = core.ErrGroup
local ErrGroup = metatable.__index

-- Groups with a grace period, and their tasks that may not have ended: to name who does not.
local timed = setmetatable({}, { __mode = "k" })

--- From now on the tasks of `group` are remembered.
local function remember_tasks(group)
  timed[group] = {}
end

local NO_SLOT <const> = "every task of this error group waits for room in it"

-- What to return when the core took no task.
local function refused(group, status)
  if status == NO_ROOM then
    return nil, "limit"
  elseif status == core.FINISHED then
    return nil, "finished"
  end
  return core.context_ended(core.errgroup_context(group))
end

-- Wait at the limit until `take(...)` gives anything but `NO_ROOM`, which it returns. Else nil and the context of the
-- running task, which has ended first.
local function wait_for_room(group, take, ...)
  local context = core.current_context()
  while true do
    local taken = take(...)
    if taken ~= NO_ROOM then
      return taken
    end
    if core.wait(group, "room", context, FOREVER) == core.ENDED and not core.cancelled(group) then
      return nil, context
    end
  end
end

-- The rest of g:go and g:try_go, when the core answered `status`.
local function go_on(status, wait, group, fn, ...)
  local context
  if status == NO_ROOM and wait then
    status, context = wait_for_room(group, core.go_room, group, fn, ...)
    if not status then
      return core.context_ended(context)
    elseif math_type(status) == nil then
      return status -- a task
    end
  end
  core.check_outcome(status, NO_SLOT)
  return refused(group, status)
end

-- A task of this state begins that is in a scope, or in a group with a grace period.
local function started(task)
  local group = core.task_owner(task)
  if group and timed[group] then
    timed[group][task] = true
  end
  scheduler.enter_scope(task)
end

core.set_hooks(started, scheduler.ended, go_on, scheduler.report)

-- The rest of g:thread and g:try_thread, when the core answered `status` for the task.
core.set_thread_hooks(function(status, wait, group, task)
  local context
  if status == NO_ROOM and wait and scheduler.alone() then
    context = core.current_context()
    repeat
      status = core.submit(task, FOREVER, context)
    until status ~= core.INTERRUPTED
    if status == CONTEXT_ENDED then
      return core.context_ended(context)
    end
  elseif status == NO_ROOM and wait then
    status, context = wait_for_room(group, core.submit, task)
    if not status then
      return core.context_ended(context)
    end
  end
  if status ~= OK then
    core.check_outcome(status, NO_SLOT)
    return refused(group, status)
  end
  if timed[group] then
    timed[group][task] = true
  end
  scheduler.enter_scope_from_thread(task)
  return task
end, scheduler.alone)

local function is_coroutine(task)
  return getmetatable(task) == core.CoroutineTask
end

-- The tasks that a wait left behind when the grace period was over, in words.
core.set_left_behind(function(group)
  local names = {}
  for task in pairs(timed[group]) do
    local running_for = (is_coroutine(task) and core.coroutine_running_for or core.task_running_for)(task)
    if running_for then
      names[#names + 1] = ("%s (for %.3g s)"):format(task:name(), running_for / 1e9)
    end
  end
  sort(names)
  local grace = core.errgroup_grace(group)
  return ("left behind after the grace period of %g s: %s"):format(
    grace > 1 and grace / 1e9 or 0, concat(names, ", ")) -- 1 stands for 0
end)

--- Cancel the group. True if this call did it. Callbacks of this state run before it returns.
function ErrGroup:cancel(cause)
  core.errgroup_open(self)
  local ended = core.context_cancel(core.errgroup_context(self), cause)
  scheduler.collect()
  return ended
end

--- Cancel if there is an error, wait without yielding, and close the handle: the outcome of the wait.
function ErrGroup:close(err)
  if core.is_closed(self) then
    return true
  end
  if err ~= nil then
    self:cancel(err)
  end
  return core.wait_and_close(self)
end

function metatable.__close(self, err)
  ErrGroup.close(self, err)
end

return { remember_tasks = remember_tasks }
