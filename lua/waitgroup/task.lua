--- Tasks: `result` of both kinds. Coroutine tasks and thread tasks are two types in C.
local core = require "waitgroup.core"
local scheduler = require "waitgroup.scheduler"

local error, getmetatable = error, getmetatable
local POLL <const> = scheduler.POLL
local OWN_RESULT <const> = "deadlock: a task waits for its own result"

local CoroutineTask = core.CoroutineTask.__index

function CoroutineTask:result(timeout)
  local context = core.current_context()
  local deadline = core.deadline(timeout, 2)
  if getmetatable(self) ~= core.CoroutineTask then
    core.argerror(1, "waitgroup.Task expected")
  elseif core.current_task() == self then
    error(OWN_RESULT, 2)
  end
  if not core.task_ended(self) then
    if deadline == POLL then
      scheduler.poll()
      if not core.task_ended(self) then
        return nil, "timeout"
      end
    else
      local reason = scheduler.wait_for_task(self, context, deadline)
      if reason == scheduler.TIMEOUT then
        return nil, "timeout"
      elseif reason == scheduler.CANCELLED and not core.task_ended(self) then
        return core.context_ended(context)
      end
    end
  end
  return core.coroutine_result(self)
end

local ThreadTask = core.Task.__index

function ThreadTask:result(timeout)
  local deadline = core.deadline(timeout, 2)
  local context = core.current_context()
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
