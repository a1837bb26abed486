-- A program that hangs can be looked into.
local waitgroup = require "waitgroup"
local core = require "waitgroup.core"

local function dumped()
  local file = assert(io.tmpfile())
  waitgroup.dump(file)
  file:seek("set")
  local text = file:read("a")
  file:close()
  return text
end

describe("a dump", function()
  it("tells the groups with their names and places, and the thread tasks that run", function()
    local g = waitgroup.errgroup { name = "outer", limit = 3, timeout = 1000 }
    local ch = waitgroup.channel()
    local task = g:thread(function(c) return c:receive() end, ch)
    local text
    repeat
      waitgroup.sleep(0.005)
      text = dumped()
    until text:find("dump_spec.lua:%d+' waits for zero of the wait group")
    assert.matches("error group 'outer' %(Lua, made at [^,]*dump_spec.lua:%d+, %d+%.%d s ago%): 1 running", text)
    assert.matches("limit 3", text)
    assert.matches("deadline in %d+%.%d s", text)
    assert.matches("this Lua state:\nstack traceback:", text)
    ch:send(1)
    assert(g:wait(20))
    assert.same({ true, 1 }, { task:result() })
  end)

  it("takes an open file only", function()
    assert.error_matches(function() waitgroup.dump(5) end, "an open file or nil expected, got 5")
  end)

  it("comes at a signal, in a busy loop, if the environment asks for it", function()
    local lua = arg[-1] or "lua5.4"
    local code = [[
      local w = require "waitgroup"
      local g = w.errgroup { name = "busy" }
      g:go(function() io.stdout:write("ready\n") io.stdout:flush() while true do end end)
      g:wait()]]
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(code)
    file:close()
    local build = os.getenv("LUA_BUILD") or "build/lua"
    local command = ([[
      LUA_PATH='./%s/?.lua;./%s/?/init.lua;;' LUA_CPATH='./%s/?.so;;' WAITGROUP_DUMP=USR1 %s %s > %s.out 2> %s.err &
      pid=$!
      until grep -q ready %s.out; do sleep 0.01; done
      kill -USR1 $pid
      until grep -q "error group 'busy' (Lua, made at" %s.err || ! kill -0 $pid; do sleep 0.01; done
      kill -KILL $pid
      cat %s.err]]):format(build, build, build, lua, path, path, path, path, path, path)
    local pipe = assert(io.popen(command))
    local text = pipe:read("a")
    pipe:close()
    for _, suffix in ipairs { "", ".out", ".err" } do
      os.remove(path .. suffix)
    end
    assert.matches("error group 'busy' %(Lua, made at", text)
    assert.matches("1 running", text)
  end)

  it("on a signal that cannot be caught is refused", function()
    for _, signal in ipairs { 9, 0, -1, "KILL" } do
      assert.error_matches(function() waitgroup.dump_on_signal(signal) end, "signal that can be caught")
    end
  end)

  it("knows what a test leaves behind", function()
    local before = core.now()
    local g = waitgroup.errgroup { name = "left" }
    g:go(function() end)
    assert.matches("leak: error group 'left' %(Lua, made at [^)]*dump_spec.lua:%d+%): ", core.leaks_text(before))
    g:wait()
    assert.not_matches("'left'", core.leaks_text(before))
  end)
end)
