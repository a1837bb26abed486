--- Waits in coroutines of HAProxy: those of its tasks, services and actions. Its fetches and converters may not wait.
local core = require "waitgroup.core"

local coroutine, error, ipairs, math, type = coroutine, error, ipairs, math, type
local haproxy = _G.core
if type(haproxy) ~= "table" or not haproxy.register_task then
  error("this program is not HAProxy", 0)
end

local adapter = {}

--- Whether the running coroutine belongs to the loop. What HAProxy runs before it starts is in the main one.
function adapter.here()
  local _, is_main = coroutine.running()
  return not is_main
end

-- Lua code of HAProxy can sleep for a time, and for no descriptor except those of its own sockets. So it looks again
-- and again, after pauses that grow up to this many milliseconds.
local LONGEST = 16

--- Yield until `fd` is readable; once at least, so that others get their turn.
function adapter.wait(fd)
  local pause = 1
  haproxy.yield()
  while not core.readable(fd) do
    haproxy.msleep(pause)
    pause = math.min(2 * pause, LONGEST)
  end
end

--- Start a coroutine of the loop.
function adapter.spawn(fn)
  haproxy.register_task(fn)
  return true
end

-- What a task waits for at a yield to HAProxy, only the C function that yielded knows: resumed too early, the function
-- yields again. So one coroutine, the pump, resumes all those tasks again and again; after longer pauses while none of
-- them gets on.
local parked, pumping = {}, false

local function pump()
  local pause, before = 1, 0
  while #parked > 0 do
    haproxy.msleep(pause)
    local list = parked
    parked = {}
    for _, resume in ipairs(list) do
      resume()
    end
    core.step()
    pause = #parked == before and math.min(2 * pause, LONGEST) or 1
    before = #parked
  end
  pumping = false
end

--- Have `resume` called until what the task waits for has come.
function adapter.forward(resume)
  parked[#parked + 1] = resume
  if not pumping then
    pumping = true
    haproxy.register_task(pump)
  end
end

return adapter
