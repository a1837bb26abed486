--- Wait groups: the methods that may wait. The others are in C.
local core = require "waitgroup.core"
local scheduler = require "waitgroup.scheduler"

local error = error
local OK <const>, OUT_OF_TIME <const> = core.OK, core.TIMEOUT
local POLL <const>, FOREVER <const> = scheduler.POLL, scheduler.FOREVER

local metatable = core.WaitGroup
local WaitGroup = metatable.__index

-- Wait on when the count has been seen not to be zero: the new status.
local function wait_on(wg, deadline, context, no_yield)
  if scheduler.may_block(wg, deadline) then
    local status
    repeat -- after a signal, Lua gets to see what its handler did
      status = core.waitgroup_wait(wg, deadline, context)
    until status ~= core.INTERRUPTED
    return status
  elseif deadline == POLL then
    scheduler.poll()
    return core.waitgroup_wait(wg, POLL, context)
  end
  local reason = scheduler.wait(wg, "zero", context, deadline, no_yield)
  return reason == scheduler.READY and OK or reason == scheduler.TIMEOUT and OUT_OF_TIME or core.CANCELLED
end

function WaitGroup:wait(timeout, context)
  local deadline = core.deadline(timeout, 2)
  context = context or core.current_context()
  local status = core.waitgroup_wait(self, POLL, context)
  if status == OUT_OF_TIME then
    status = wait_on(self, deadline, context)
  end
  if status == OK then
    return true
  elseif status == OUT_OF_TIME then
    return nil, "timeout"
  elseif status == core.FORKED then
    error("what this wait group counts was left behind in the parent process by a fork", 2)
  end
  return core.context_ended(context)
end

--- Wait for the count without yielding; then the handle is closed.
function WaitGroup:close()
  if core.is_closed(self) then
    return
  end
  if core.waitgroup_wait(self, POLL) == OUT_OF_TIME then
    wait_on(self, FOREVER, nil, true)
  end
  core.set_closed(self)
end

metatable.__close = WaitGroup.close
