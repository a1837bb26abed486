--- Waits in coroutines of cqueues.
local cqueues = require "cqueues"

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

return adapter
