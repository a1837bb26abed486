-- The module writes no globals and needs few; tasks may have any _ENV; package.loaded may lose it.
local waitgroup = require "waitgroup"
local process = require "process"

-- A little of everything, with the module as `w`; whoever uses a global that is not there, or sets one, fails.
local use = [[
local wg, g, ctx = w.new(), w.errgroup { limit = 2, grace = 5, name = "n" }, w.context { timeout = 60 }
ctx:on_cancel(function() end)
for i = 1, 4 do
  assert(g:go(function() w.sleep(0.001) return i end))
end
local task = assert(g:thread(function(n) return n + 1 end, 1))
wg:go(function() w.yield() end)
assert(g:wait(20) and wg:wait(20) and ctx:cancel("cause"))
assert(select(2, task:result()) == 2)
local failed = w.errgroup()
failed:go(function() error { code = 1 } end)
local ok, err, traceback = failed:wait(20)
assert(not ok and err.code == 1 and type(traceback) == "string")
local stuck, message = pcall(w.run, function() w.new(1):wait() end)
assert(not stuck and message:find "nothing can ever run again", message)
assert(not pcall(w.errgroup, { limit = -1 }))
assert(tostring(g):find "ErrGroup n")
w.new():go(function() error("seen", 0) end)
w.sleep(0.001)
]]

describe("the module works", function()
  it("where no global may be set", function()
    assert.matches("^waitgroup: seen\n.*status 0\n$", process([[
      setmetatable(_G, { __newindex = function(_, name) error("global " .. name .. " set", 2) end })
      local w = require "waitgroup"
    ]] .. use))
  end)

  it("in a state without debug, io and os", function()
    assert.matches("^waitgroup: seen\n.*status 0\n$", process([[
      for _, name in ipairs { "debug", "io", "os" } do
        _G[name], package.loaded[name] = nil, nil
      end
      local w = require "waitgroup"
    ]] .. use))
  end)

  it("loaded within a sandbox", function()
    assert.matches("^waitgroup: seen\n.*status 0\n$", process([[
      local sandbox, loaded = {}, {}
      for _, name in ipairs { "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "select",
        "setmetatable", "tostring", "type", "coroutine", "math", "string", "table" } do
        sandbox[name] = _G[name]
      end
      function sandbox.require(name)
        if not loaded[name] then
          local path = package.searchpath(name, package.path)
          if path then
            loaded[name] = assert(loadfile(path, "t", sandbox))(name)
          else
            path = assert(package.searchpath(name, package.cpath))
            loaded[name] = assert(package.loadlib(path, "luaopen_" .. name:gsub("%.", "_")))(name)
          end
        end
        return loaded[name]
      end
      sandbox.w = sandbox.require "waitgroup"
      setmetatable(sandbox, { __newindex = error, __index = function(_, name) error("no " .. name, 2) end })
      setmetatable(_G, { __newindex = error })
      assert(load(]] .. ("%q"):format(use) .. [[, "=use", "t", sandbox))()
      assert(not package.loaded.waitgroup)
    ]]))
  end)

  it("where package is missing", function()
    assert.matches("^waitgroup: seen\n.*status 0\n$", process([[
      local w = require "waitgroup"
      package.loaded.package, package = nil, nil
    ]] .. use))
  end)

  it("preloaded, on threads too", function()
    assert.equal("waitgroup.WaitGroup (count 0)\nstatus 0\n", process([[
      for _, name in ipairs { "", ".collect" } do
        name = "waitgroup" .. name
        package.preload[name] = assert(loadfile(package.searchpath(name, package.path)))
      end
      package.preload["waitgroup.core"] = package.loadlib(package.searchpath("waitgroup.core", package.cpath),
        "luaopen_waitgroup_core")
      package.path, package.cpath = "", ""
      local w = require "waitgroup"
      local g, wg = w.errgroup(), w.new(2)
      for _ = 1, 2 do
        g:thread(function() require("waitgroup").sleep(0.001) wg:done() end)
      end
      assert(g:wait(20))
      print(wg)
    ]]))
  end)

  it("again after it was lost from package.loaded", function()
    assert.equal("waiting\ntrue\nstatus 0\n", process([[
      local before = require "waitgroup"
      local g, wg = before.errgroup(), before.new(1)
      g:go(function() wg:wait() return "x" end)
      print(g:wait(0) == nil and "waiting")
      for name in pairs(package.loaded) do
        if name:find "^waitgroup" then
          package.loaded[name] = nil
        end
      end
      collectgarbage()
      local again = require "waitgroup"
      assert(again == before and package.loaded.waitgroup == before)
      again.new():go(function() wg:done() end)
      print(g:wait(20))
    ]]))
  end)
end)

describe("a function whose _ENV is a private table", function()
  local function private(code, env)
    return assert(load(code, "=private", "t", env))
  end

  it("keeps it as a coroutine", function()
    local env, g = { w = waitgroup, start = 1 }, waitgroup.errgroup()
    local task = g:go(private("w.sleep(0.001) found = start + 1 return found, print", env))
    assert.is_true(g:wait(10))
    assert.same({ true, 2, nil, n = 3 }, table.pack(task:result()))
    assert.equal(2, env.found)
    assert.is_nil(rawget(_G, "found"))
  end)

  it("has the globals of the other state as a task on a thread", function()
    local env, g = { start = 1 }, waitgroup.errgroup()
    local task = g:thread(private("found = type(print) return found, start, _G.found", env))
    assert.is_true(g:wait(10))
    assert.same({ true, "function", nil, "function", n = 4 }, table.pack(task:result()))
    assert.same({ start = 1 }, env)
    assert.is_nil(rawget(_G, "found"))
  end)

  it("may be made on a thread", function()
    local g = waitgroup.errgroup()
    local task = g:thread(function()
      local env, wg = { sleep = require("waitgroup").sleep }, require("waitgroup").new()
      wg:go(load("sleep(0.001) found = 1", "=private", "t", env))
      wg:wait()
      return env.found, rawget(_G, "found")
    end)
    assert.is_true(g:wait(10))
    assert.same({ true, 1, nil, n = 3 }, table.pack(task:result()))
  end)
end)
