--- Contexts: the methods that may wait or call back. The others are in C.
local core = require "waitgroup.core"
local scheduler = require "waitgroup.scheduler"

local POLL <const> = scheduler.POLL

local metatable = core.Context
local Context = metatable.__index

--- End the context. True if this call did it. Callbacks of this state run before it returns.
function Context:cancel(cause)
  local ended = core.context_cancel(self, cause)
  scheduler.collect()
  return ended
end

--- Sleep until the context ends: true; nil, "timeout"; or nil and why, if the context of the running task ends first.
function Context:wait(timeout)
  local deadline = core.deadline(timeout, 2)
  local status = core.context_wait(self, POLL)
  if status == core.OK then
    return true
  elseif deadline == POLL then
    scheduler.poll()
    if core.context_wait(self, POLL) == core.OK then
      return true
    end
    return nil, "timeout"
  end
  local mine = core.current_context()
  if mine == self then
    mine = nil
  end
  if scheduler.may_block(self, deadline) then
    repeat
      status = core.context_wait(self, deadline, mine)
    until status ~= core.INTERRUPTED
  else
    local reason = scheduler.wait(self, "end", mine, deadline)
    status = reason == scheduler.READY and core.OK or reason == scheduler.TIMEOUT and core.TIMEOUT or core.CANCELLED
  end
  if status == core.OK then
    return true
  elseif status == core.TIMEOUT then
    return nil, "timeout"
  end
  return core.context_ended(mine)
end

--- Call `fn` once when the context ends. Returns a function that prevents it: true if it did.
function Context:on_cancel(fn)
  core.check_callable(fn, 2)
  core.context_wait(self, POLL) -- checks self
  local stop = scheduler.call_at(self, "end", fn)
  scheduler.collect() -- it may have ended already
  return stop
end

--- End the context; then the handle is closed.
function Context:close(err)
  if not core.is_closed(self) then
    if not core.is_root(self) then
      core.context_cancel(self, err)
      scheduler.collect()
    end
    core.set_closed(self)
  end
end

metatable.__close = Context.close
