--- Waits in coroutines of copas.
local core = require "waitgroup.core"
local copas = require "copas"

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

function Readable:receive()
  if core.readable(self.fd) then
    return "readable"
  end
  return nil, "timeout"
end

--- Yield until `fd` is readable.
function adapter.wait(fd)
  copas.receive(setmetatable({ fd = fd }, Readable))
end

return adapter
