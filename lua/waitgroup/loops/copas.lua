--- Waits in coroutines of copas.
local core = require "waitgroup.core"
local copas = require "copas"

local coroutine = coroutine

local adapter = {}

--- Whether the running coroutine belongs to the loop.
function adapter.here()
  return copas.running == nil or copas.running -- versions before 2.0 do not tell
end

-- What copas needs of a socket.
local Readable = {}
Readable.__index = Readable

function Readable:getfd()
  return self.fd
end

function Readable.dirty()
  return false
end

function Readable.settimeout()
  return 1
end

function Readable.close()
  return 1
end

-- Never at once: the coroutine that the descriptor is readable for has to get its turn.
function Readable:receive()
  if self.asked and core.readable(self.fd) then
    return "readable"
  end
  self.asked = true
  return nil, "timeout"
end

--- Yield until `fd` is readable.
function adapter.wait(fd)
  copas.receive(setmetatable({ fd = fd }, Readable))
end

--- Start a coroutine of the loop.
function adapter.spawn(fn)
  copas.addthread(fn)
  return true
end

--- Yield `...` to the loop in a coroutine of its own, and call `resume` with what the loop resumes it with.
function adapter.forward(resume, ...)
  copas.addthread(function(...)
    resume(coroutine.yield(...))
  end, ...)
end

return adapter
