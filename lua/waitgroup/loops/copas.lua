--- Waits in coroutines of copas.
local core = require "waitgroup.core"
local copas = require "copas"

local coroutine, ipairs, setmetatable, table = coroutine, ipairs, setmetatable, table

local adapter = {}

--- Whether the running coroutine belongs to the loop: not one that another coroutine resumes, to which it would yield.
function adapter.here()
  return copas.running ~= false and core.resumed_by(copas.step) ~= false -- versions before 2.0 do not tell the former
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

-- Copas tells only one of several coroutines that one descriptor is readable. So one, the pump, waits for it and wakes the
-- others.
local waiting, pumping = {}, false

-- For versions before 2.0: a queue of copas that keeps the coroutine out of all others.
local nowhere = { insert = function() end, push = function() end }

local function pause()
  waiting[#waiting + 1] = coroutine.running()
  if copas.pauseforever then
    copas.pauseforever()
  elseif copas.wakeup then
    copas.sleep(-1)
  else
    coroutine.yield(nowhere, nowhere)
  end
end

local function pump(fd)
  repeat
    copas.receive(setmetatable({ fd = fd }, Readable))
    local list = waiting
    waiting = {}
    for _, co in ipairs(list) do
      (copas.wakeup or copas.addthread)(co)
    end
  until #waiting == 0
  pumping = false
end

--- Yield until `fd` is readable.
function adapter.wait(fd)
  if not pumping then
    pumping = true
    copas.addthread(function() pump(fd) end)
  end
  pause()
end

--- Start a coroutine of the loop.
function adapter.spawn(fn)
  copas.addthread(fn)
  return true
end

--- Yield `...` to the loop in a coroutine of its own, and call `resume` with what the loop resumes it with.
function adapter.forward(resume, ...)
  local values = table.pack(...) -- what copas gives a new thread has something of its own before it
  copas.addthread(function()
    resume(coroutine.yield(table.unpack(values, 1, values.n)))
  end)
end

return adapter
