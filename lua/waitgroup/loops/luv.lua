--- Waits in coroutines that callbacks of luv started.
local uv = require "luv"

local adapter = {}
local handle, watched -- one poll handle, for libuv takes no two of one descriptor
local waiting = {}

local function resume_all()
  local list = waiting
  waiting = {}
  handle:stop()
  for _, co in ipairs(list) do
    local ok, err = coroutine.resume(co)
    if not ok then
      error(debug.traceback(co, err), 0)
    end
  end
end

--- Whether the running coroutine belongs to the loop. Luv has none of its own: any that is not the main one may.
function adapter.here()
  local _, is_main = coroutine.running()
  return not is_main
end

--- Yield until `fd` is readable.
function adapter.wait(fd)
  if watched ~= fd then
    if handle then
      handle:close()
    end
    handle, watched = assert(uv.new_poll(fd)), fd
  end
  waiting[#waiting + 1] = coroutine.running()
  if #waiting == 1 then
    handle:start("r", resume_all)
  end
  coroutine.yield()
end

--- Start a coroutine. What tasks yield to the loop is nothing: its callbacks resume their coroutines.
function adapter.spawn(fn)
  coroutine.wrap(fn)()
  return true
end

return adapter
