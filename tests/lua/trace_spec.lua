-- A timeline: tasks, waits, cancellations and groups of a Lua program.
local waitgroup = require "waitgroup"

local path

local function told()
  local file = assert(io.open(path))
  local text = file:read("a")
  file:close()
  return text
end

local function count(text, what)
  local n = 0
  for _ in text:gmatch(what) do
    n = n + 1
  end
  return n
end

describe("a timeline", function()
  before_each(function() path = os.tmpname() end)
  after_each(function() os.remove(path) end)

  it("tells coroutine tasks with their group, their parts and their waits", function()
    local g = waitgroup.errgroup { name = "fetches", limit = 1 }
    do
      local _ <close> = assert(waitgroup.trace(path))
      for _ = 1, 3 do
        g:go(function()
          waitgroup.sleep(0.001)
          local wg = waitgroup.new()
          wg:go(waitgroup.sleep, 0.001)
          wg:wait()
        end)
      end
      assert(g:wait(20))
    end
    local text = told()
    assert.equal(6, count(text, '"ph":"b","cat":"task"'))
    assert.equal(3, count(text, '"args":{"group":"fetches","queued":[%d.]+,"outcome":"succeeded"}'))
    assert.matches('"name":"[^"]*trace_spec.lua:%d+","id2":{"local":"0x%x+"}', text)
    assert.is_true(count(text, '"cat":"part"') >= 9)
    assert.is_true(count(text, '"for":"a wait group"') >= 3)
    assert.is_true(count(text, '"for":"a slot of \'fetches\'"') >= 1)
    assert.equal(1, count(text, '"ph":"b","cat":"group"[^\n]-"name":"[^"]*fetches')) -- other specs have left groups
    assert.matches('"language":"Lua","made at":"[^"]*trace_spec.lua:%d+"', text)
    assert.matches("\n]}\n$", text)
  end)

  it("tells thread tasks by their threads, with an arrow from the call", function()
    local timeline = assert(waitgroup.trace(path))
    local g = waitgroup.errgroup { name = "sums" }
    assert(g:thread(function(n) return n + 1 end, 5):result(20))
    g:thread(function() error("torn \"x\"", 0) end)
    g:wait(20)
    assert(timeline:close())
    local text = told()
    assert.equal(2, count(text, '"ph":"X","cat":"task"'))
    assert.equal(2, count(text, '"ph":"s"'))
    assert.equal(2, count(text, '"ph":"f"'))
    assert.matches('"outcome":"failed","error":"torn \\"x\\""', text)
    assert.matches('"name":"cancelled: sums".-"cause":"torn \\"x\\""', text)
    assert.matches('"name":"waitgroup%-lua"', text)
  end)

  it("tells the errors of coroutine tasks, and not those that never started", function()
    local timeline = assert(waitgroup.trace(path))
    local g = waitgroup.errgroup()
    g:go(function() error({}) end)
    g:go(function() error("not reached") end)
    g:wait(20)
    assert(timeline:close())
    assert.equal(1, count(told(), '"ph":"b","cat":"task"'))
    assert.matches('"error":"an error that is no string"', told())
  end)

  it("is one at a time, and closes once", function()
    local timeline <close> = assert(waitgroup.trace(path))
    local _, err = pcall(function() local _ = waitgroup.trace(path) end)
    assert.matches("^[^:]*trace_spec.lua:%d+: a timeline is being written already: end that one first$", err)
    assert.is_true(timeline:close())
    assert.is_true(timeline:close())
    local another <close> = assert(waitgroup.trace(path))
    assert.is_true(timeline:close())
    assert.is_true(require("waitgroup.core").trace_stop())
    assert.is_true(another:close())
  end)

  it("says why it cannot be written", function()
    assert.same(
      { nil, "/nowhere/t.json: the file cannot be written: name a file in a directory that exists and may be written to" },
      { waitgroup.trace("/nowhere/t.json") }
    )
    assert.error_matches(
      function() local _ = waitgroup.trace(5) end,
      "bad argument #1 to 'trace' %(the name of a file expected, got 5%)"
    )
  end)

  it("is complete when the program fails, if the environment asks for it", function()
    local lua = arg[-1] or "lua5.4"
    local build = os.getenv("LUA_BUILD") or "build/lua"
    local code = os.tmpname()
    local file = assert(io.open(code, "w"))
    file:write([[
      local w = require "waitgroup"
      local g = w.errgroup { name = "failing" }
      g:go(function() error("torn", 0) end)
      assert(g:wait())]])
    file:close()
    local command = "LUA_PATH='./%s/?.lua;./%s/?/init.lua;;' LUA_CPATH='./%s/?.so;;' WAITGROUP_TRACE=%s %s %s 2>/dev/null"
    assert.is_nil(os.execute(command:format(build, build, build, path, lua, code)))
    os.remove(code)
    assert.matches('"group":"failing".-"outcome":"failed","error":"torn"', told())
    assert.matches("\n]}\n$", told())
  end)
end)
