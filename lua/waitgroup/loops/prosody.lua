--- Waits in coroutines of Prosody: what runs in a runner of its util.async.
local core = require "waitgroup.core"
local async = require "util.async"
local server = require "net.server"

local ipairs = ipairs

local adapter = {}
local waiting, watch = {}, nil

-- The descriptor is watched while something waits for it, once: it is readable until all have had their turn.
local function wake_all()
  local list = waiting
  waiting = {}
  watch:close()
  for _, done in ipairs(list) do
    done()
  end
end

--- Whether the running coroutine belongs to the loop. Prosody takes any that is not the main one for a runner's, also one that
--- another coroutine resumes, to which it would yield.
function adapter.here()
  return async.ready() and core.resumed_by(async.runner) ~= false
end

--- Yield until `fd` is readable.
function adapter.wait(fd)
  local wait, done = async.waiter()
  waiting[#waiting + 1] = done
  if #waiting == 1 then
    watch = server.watchfd(fd, wake_all)
  end
  wait()
end

--- Start a coroutine of the loop. Tasks that yield to it by util.async are resumed as runners are, without forwarding.
function adapter.spawn(fn)
  async.runner(fn):run(true)
  return true
end

return adapter
