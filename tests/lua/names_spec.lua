-- Functions and modules cross as what they are: by whatever name, and whatever else is loaded, in whatever order.
local waitgroup = require "waitgroup"
local process = require "process"

-- What a task on another thread returns.
local function on_thread(...)
  local g = waitgroup.errgroup()
  local task = g:thread(...)
  g:wait(20)
  return task:result()
end

-- Name and function of all that users can call: of the module, and of its objects.
local function all_functions()
  local found = {}
  for name, value in pairs(waitgroup) do
    found["waitgroup." .. name] = type(value) == "function" and value or nil
  end
  local g = waitgroup.errgroup()
  local objects = { WaitGroup = waitgroup.new(), ErrGroup = g, Context = waitgroup.context(), Task = g:thread(function() end),
    CoroutineTask = g:go(function() end) }
  g:wait(20)
  for kind, object in pairs(objects) do
    for name, value in pairs(getmetatable(object).__index) do
      found[kind .. "." .. name] = value
    end
  end
  return found, objects
end

-- In a new process, since what comes first in package.loaded depends on the seed of its hashes.
local function run(code)
  return process([[
    local waitgroup = require "waitgroup"
    local function on_thread(...)
      local g = waitgroup.errgroup()
      local task = g:thread(...)
      g:wait(20)
      return task:result()
    end
  ]] .. code)
end

describe("a function of this module", function()
  it("is the same there, and comes back as itself", function()
    local functions = all_functions()
    local ok, back, strange = on_thread(function(given)
      local w, strange = require "waitgroup", {}
      local g = w.errgroup()
      local types = { WaitGroup = w.new(), ErrGroup = g, Context = w.context(), Task = g:thread(function() end),
        CoroutineTask = g:go(function() end) }
      g:wait()
      for name, fn in pairs(given) do
        local kind, field = name:match "^(.-)%.(.*)$"
        local owner = kind == "waitgroup" and w or getmetatable(types[kind]).__index
        if owner[field] ~= fn then
          strange[#strange + 1] = name
        end
      end
      return functions, strange
    end, functions)
    assert(ok, back)
    table.sort(strange)
    assert.same({}, strange)
    local count = 0
    for name, fn in pairs(back) do
      count = count + 1
      assert.equal(functions[name], fn, name)
    end
    assert.is_true(count > 50, count)
  end)

  it("works as an upvalue, without a require", function()
    local sleep, new, context, yield, current = waitgroup.sleep, waitgroup.new, waitgroup.context, waitgroup.yield,
      waitgroup.current_context
    assert.same({ true, 3, false, true, true, true, n = 6 }, table.pack(on_thread(function()
      assert(sleep(0.001) and yield())
      return new(3):count(), context():cancelled(), current() ~= nil, pcall(sleep, 0)
    end)))
  end)

  for i = 1, 5 do
    it("does so in any process, " .. i, function()
      assert.equal("true\tstring\ttrue\nstatus 0\n", run [[
        local sleep, go, errgroup = waitgroup.sleep, waitgroup.errgroup().go, waitgroup.errgroup
        print(on_thread(function()
          local g = errgroup()
          local task = go(g, function() sleep(0.001) return "x" end)
          assert(g:wait())
          return type(select(2, task:result())), sleep == require("waitgroup").sleep
        end))
      ]])
    end)
  end

  it("does so after the module was loaded again, and when package.loaded lost it", function()
    assert.equal("true\ttrue\ntrue\ttrue\nstatus 0\n", run [[
      local lost = waitgroup.sleep
      for name in pairs(package.loaded) do
        if name:find "^waitgroup" then package.loaded[name] = nil end
      end
      print(on_thread(function() return lost(0) end))
      local again = require("waitgroup").errgroup().thread
      print(on_thread(function() return type(again) == "function" end))
    ]])
  end)

  it("does so when other modules have it too, and the module has another name", function()
    assert.equal("true\ttrue\ttrue\nstatus 0\n", run [[
      package.loaded.a_module = { sleep = waitgroup.sleep }
      package.loaded.another = waitgroup
      local sleep, w = waitgroup.sleep, waitgroup
      print(on_thread(function() return sleep(0), w == require "waitgroup" end))
    ]])
  end)
end)

describe("a standard function", function()
  local function standard()
    local found = {}
    for module, fields in pairs { string = string, table = table, math = math, io = io, os = os, utf8 = utf8,
                                  coroutine = coroutine, debug = debug, package = package } do
      for name, value in pairs(fields) do
        found[module .. "." .. name] = type(value) == "function" and value or nil
      end
    end
    for _, name in ipairs { "print", "pairs", "require", "load", "pcall", "setmetatable", "rawset", "collectgarbage" } do
      found["_G." .. name] = _G[name]
    end
    return found
  end

  it("is the same there, and comes back as itself", function()
    local given = standard()
    local ok, back, strange = on_thread(function(functions)
      local strange = {}
      for name, fn in pairs(functions) do
        local module, field = name:match "^(.-)%.(.*)$"
        if require(module)[field] ~= fn then
          strange[#strange + 1] = name
        end
      end
      return functions, strange
    end, given)
    assert(ok, back)
    assert.same({}, strange)
    assert.same(given, back)
  end)

  it("is not the one that this state has put in its place", function()
    assert.equal("true\tUP\t3\nstatus 0\n", run [[
      local upper, select = string.upper, select
      string.upper, table.unpack, print_was = string.lower, select, print
      print_was(on_thread(function() return upper "up", select("#", 1, 2, 3) end))
    ]])
  end)

  it("is not taken for the module that has it too", function()
    assert.equal("true\t<x>\nstatus 0\n", run [[
      package.loaded.aaa = { fmt = string.format }
      package.loaded._G.zzz = string.format
      local format = string.format
      print(on_thread(function() return format("<%s>", "x") end))
    ]])
  end)
end)

describe("a C function of another module", function()
  it("is found by the module that it belongs to, whatever other modules have it", function()
    assert.equal("true\tdirectory\nstatus 0\n", run [[
      local lfs = require "lfs"
      package.loaded.aaa = { attributes = lfs.attributes, dir = lfs.dir }
      package.loaded.zzz = { attributes = lfs.attributes }
      what = lfs.attributes
      local attributes = lfs.attributes
      print(on_thread(function() return attributes(".", "mode") end))
    ]])
  end)

  it("is found in a module of which only another name is known there", function()
    assert.equal("true\tdirectory\ttrue\nstatus 0\n", run [[
      local lfs = require "lfs"
      package.loaded.aaa = lfs
      print(on_thread(function() return lfs.attributes(".", "mode"), lfs == require "lfs" end))
    ]])
  end)

  it("that the other state cannot have is an error which names it", function()
    assert.matches("this Lua state cannot find 'nobodys.iterate', which another gave it: ", run [[
      local iterate = ("x"):gmatch "x"
      package.loaded.nobodys = { iterate = iterate }
      print(select(2, on_thread(function() return iterate() end)))
    ]])
  end)
end)
