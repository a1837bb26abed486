--- Contexts: the methods that may call back. The others are in C.
local core = require "waitgroup.core"
local scheduler = require "waitgroup.scheduler"

local metatable = core.Context
local Context = metatable.__index

--- End the context. True if this call did it. Callbacks of this state run before it returns.
function Context:cancel(cause)
  local ended = core.context_cancel(self, cause)
  scheduler.collect()
  return ended
end

--- Call `fn` once when the context ends. Returns a function that prevents it: true if it did.
function Context:on_cancel(fn)
  core.check_callable(fn, 2)
  core.context_open(self)
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
