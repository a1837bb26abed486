-- Modules that tasks on threads require stay loaded in the states of the threads, and yet no task sees what another did to
-- them.
local waitgroup = require "waitgroup"
local peer = require "peer"
local process = require "process"

local path = package.path
before_each(function() package.path = "tests/lua/modules/?.lua;" .. path end)
after_each(function() package.path = path end)

-- The results of `count` runs of `fn` on one thread, one after the other.
local function results(count, fn, ...)
  local g, tasks, list = waitgroup.errgroup { limit = 1 }, {}, {}
  for i = 1, count do
    tasks[i] = g:thread(fn, ...)
  end
  local ok, err = g:wait(60)
  assert(ok, err)
  for i, task in ipairs(tasks) do
    list[i] = select(2, task:result())
  end
  return list
end

-- How many different ones there are. A thread has a state of its own, so that a module may be loaded a few times.
local function different(list)
  local seen, count = {}, 0
  for _, value in ipairs(list) do
    count = count + (seen[value] and 0 or 1)
    seen[value] = true
  end
  return count
end

local A_FEW <const> = 8

local function address(module)
  return ("%p"):format(require(module))
end

describe("a module stays loaded", function()
  it("that is in C, or in Lua, or in both, and is not changed", function()
    for _, module in ipairs { "lfs", "luv", "socket.http", "account" } do
      if module == "account" or peer.has(module) then
        assert.is_true(different(results(100, address, module)) <= A_FEW, module)
      end
    end
  end)

  it("and is run once in a state", function()
    local log, module = os.tmpname(), os.tmpname()
    local file = assert(io.open(module, "w"))
    file:write(("local f = assert(io.open(%q, 'a')) f:write 'x' f:close() return {}"):format(log))
    file:close()
    package.path = "/?;" .. path
    results(100, function(name) require(name) end, module:sub(2))
    local loads = #assert(io.open(log)):read "a"
    os.remove(log)
    os.remove(module)
    assert.is_true(loads >= 1 and loads <= A_FEW, loads)
  end)

  it("though other tasks set globals, use other modules, and leave finalizers", function()
    local g, tasks = waitgroup.errgroup { limit = 1 }, {}
    for i = 1, 100 do
      tasks[i] = g:thread(address, "account")
      g:thread(function()
        mine = require "lfs"
        setmetatable({}, { __gc = function() late = true end })
      end)
    end
    local seen = g:thread(function() collectgarbage() return type(mine), type(late) end)
    assert(g:wait(30))
    assert.same({ true, "nil", "nil" }, { seen:result() })
    local list = {}
    for i = 1, 100 do
      list[i] = select(2, tasks[i]:result())
    end
    assert.is_true(different(list) <= A_FEW)
  end)

  it("after another that set a global", function()
    assert.is_true(different(results(100, function()
      require "sample"
      return ("%p"):format(require "account")
    end)) <= A_FEW)
  end)

  it("and is not in package.loaded before it is required", function()
    for _, value in ipairs(results(5, function()
      local before = package.loaded.account
      return before == nil and require "account" == package.loaded.account and require "account" == require "account"
    end)) do
      assert.is_true(value)
    end
  end)

  it("and tells where it was found", function()
    for _, value in ipairs(results(5, function() return (select(2, require "account")) end)) do
      assert.equal("tests/lua/modules/account.lua", value)
    end
  end)

  it("and sees the globals of the task that has it", function()
    assert.same({ "1 nil", "2 nil", "3 nil" }, (function()
      local g, tasks, list = waitgroup.errgroup { limit = 1 }, {}, {}
      for i = 1, 3 do
        tasks[i] = g:thread(function()
          local reader = require "reader"
          local before = tostring(reader.get())
          given = i
          return reader.get() .. " " .. before
        end)
      end
      assert(g:wait(20))
      for i = 1, 3 do list[i] = select(2, tasks[i]:result()) end
      return list
    end)())
  end)
end)

describe("no task sees what another did to a module", function()
  local function expect(values, fn)
    assert.same(values, results(#values, fn))
  end

  it("in its fields", function()
    expect({ true, true, true, true }, function()
      local account = require "account"
      local clean = account.extra == nil and account.deposit ~= nil
      account.extra, account.deposit = 1, nil
      return clean
    end)
  end)

  it("in a C module", function()
    expect({ "function", "function", "function" }, function()
      local lfs = require "lfs"
      local before = type(lfs.dir)
      lfs.dir = nil
      return before
    end)
  end)

  it("in the upvalues of its functions, and in tables deep within", function()
    expect({ 1, 1, 1 }, function() return require("counter").up() end)
    expect({ 1, 1, 1 }, function() return require("counter").deep() end)
  end)

  it("in a module that it reaches by another", function()
    expect({ true, true, true }, function()
      local clean = require("holder").account.extra == nil and require("account").extra == nil
      require("holder").account.extra = 1
      return clean
    end)
  end)

  it("in one that it got as an upvalue, or by a metatable", function()
    local account = require "account"
    expect({ true, true, true }, function()
      local clean = account.extra == nil
      account.extra = 1
      return clean
    end)
    local object = account.new(1)
    expect({ true, true, true }, function()
      local clean = getmetatable(object).extra == nil
      getmetatable(object).extra = 1
      return clean
    end)
  end)

  it("before it loads another", function()
    expect({ true, true, true }, function()
      local account = require "account"
      local clean = account.extra == nil
      account.extra = 1
      require "lfs"
      require "holder"
      return clean
    end)
  end)

  it("in package.loaded", function()
    expect({ "nil table", "nil table", "nil table" }, function()
      local before = type(package.loaded.mine)
      package.loaded.mine = {}
      require "lfs"
      package.loaded.lfs = 5
      package.loaded.lfs = nil
      return before .. " " .. type(require "lfs")
    end)
  end)

  it("that sets globals, which are there for all tasks that require it, or fails while it is loaded", function()
    expect({ "truetrue", "truetrue", "truetrue" }, function()
      local before = SAMPLE_WAS_LOADED == nil
      require "sample"
      return tostring(before) .. tostring(SAMPLE_WAS_LOADED)
    end)
    expect({ false, false, false }, function()
      return (pcall(require, "broken"))
    end)
    assert.is_true(different(results(100, address, "account")) <= A_FEW)
  end)

  it("by package.path, by which there are two of one name", function()
    local all = {}
    for i = 1, 6 do
      package.path = ("tests/lua/modules/%s?.lua;"):format(i % 2 == 0 and "other_" or "") .. path
      all[i] = results(2, function() return require("named").name end)[2]
    end
    assert.same({ "named", "other", "named", "other", "named", "other" }, all)
  end)

  it("by package.preload, which is another at each call", function()
    for i = 1, 3 do
      package.preload.chosen = load(("return %d"):format(i))
      assert.same({ i, i }, results(2, function() require "account" return require "chosen" end))
    end
    package.preload.chosen = nil
  end)
end)

describe("the files of this module", function()
  it("are read once in a process, for all threads", function()
    assert.equal("true\ntrue\nstatus 0\n", process [[
      local dir = os.tmpname()
      os.remove(dir)
      local from = package.searchpath("waitgroup", package.path):gsub("/init%.lua$", "")
      assert(os.execute(("mkdir %s && cp -r %s %s/waitgroup"):format(dir, from, dir)))
      package.path = ("%s/?.lua;%s/?/init.lua;%s"):format(dir, dir, package.path)
      local w = require "waitgroup"
      local g = w.errgroup()
      g:thread(function() require("waitgroup").sleep(0) end)
      print(g:wait(20))
      assert(os.execute(("find %s -name '*.lua' -exec cp /dev/null {} ';'"):format(dir)))
      g = w.errgroup()
      local all = w.new(4)
      for _ = 1, 4 do -- at once, so that there are four states
        g:thread(function() all:done() assert(all:wait(20)) require("waitgroup").sleep(0) end)
      end
      print(g:wait(20))
      os.execute("rm -r " .. dir)
    ]])
  end)
end)
