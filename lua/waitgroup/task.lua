--- Tasks: `result` of both kinds. A coroutine task is a table of the scheduler, a thread task a userdata of the core.
local core = require "waitgroup.core"
local scheduler = require "waitgroup.scheduler"

local error, getmetatable = error, getmetatable
local POLL <const> = scheduler.POLL
local OWN_RESULT <const> = "deadlock: a task waits for its own result"

local Task = scheduler.Task

function Task:result(timeout)
  if getmetatable(self) ~= Task then
    core.argerror(1, "waitgroup.Task expected")
  end
  local deadline = core.deadline(timeout, 2)
  if scheduler.is_current(self) then
    error(OWN_RESULT, 2)
  end
  local context = scheduler.context()
  local reason = scheduler.wait_for_task(self, context, deadline)
  if reason == scheduler.READY then
    return scheduler.result(self)
  elseif reason == scheduler.TIMEOUT then
    return nil, "timeout"
  end
  return core.context_ended(context)
end

local ThreadTask = core.Task.__index

function ThreadTask:result(timeout)
  local deadline = core.deadline(timeout, 2)
  local context = scheduler.context()
  local status = core.task_wait(self, POLL)
  if status == core.TIMEOUT and deadline ~= POLL then
    if scheduler.alone() then
      repeat
        status = core.task_wait(self, deadline, context)
      until status ~= core.INTERRUPTED
    else
      local reason = scheduler.wait(self, "task", context, deadline)
      status = reason == scheduler.READY and core.OK or reason == scheduler.TIMEOUT and core.TIMEOUT or core.CANCELLED
    end
  end
  if status == core.OK then
    return core.task_result(self)
  elseif status == core.TIMEOUT then
    return nil, "timeout"
  elseif status == core.DEADLOCK then
    error(OWN_RESULT, 2)
  elseif status == core.FORKED then
    error("this task was left behind in the parent process by a fork", 2)
  end
  return core.context_ended(context)
end
