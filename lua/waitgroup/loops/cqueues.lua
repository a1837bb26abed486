--- Waits in coroutines of cqueues.
local cqueues = require "cqueues"

local coroutine = coroutine

local adapter = {}

--- Whether the running coroutine belongs to the loop.
function adapter.here()
  local _, in_coroutine = cqueues.running()
  return in_coroutine
end

--- Yield until `fd` is readable.
function adapter.wait(fd)
  cqueues.poll { pollfd = fd, events = "r" }
end

--- The loop that runs; nil if none does.
function adapter.loop()
  return (cqueues.running())
end

--- Start a coroutine of the loop that runs; false if none does.
function adapter.spawn(fn)
  local loop = cqueues.running()
  if loop then
    loop:wrap(fn)
  end
  return loop ~= nil
end

--- Yield `...` to the loop in a coroutine of its own, and call `resume` with what the loop resumes it with.
function adapter.forward(resume, ...)
  cqueues.running():wrap(function(...)
    resume(coroutine.yield(...))
  end, ...)
end

return adapter
