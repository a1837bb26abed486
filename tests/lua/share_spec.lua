-- The same object from another state of the process, by its id.
local waitgroup = require "waitgroup"
local peer = require "peer"
local process = require "process"

describe("an id", function()
  it("finds the object again, in the same state as the same handle", function()
    for _, object in ipairs { waitgroup.new(), waitgroup.errgroup(), waitgroup.context() } do
      assert.equal("integer", math.type(object:id()))
      assert.equal(object, waitgroup.attach(object:id() + 0.0))
      assert.equal(object:id(), object:id())
      assert.equal(object, waitgroup.attach(object:id()))
    end
  end)

  it("finds it in another state", function()
    local wg, g, context = waitgroup.new(1), waitgroup.errgroup(), waitgroup.context()
    local runner = waitgroup.errgroup()
    runner:thread(function(a, b, c)
      local attach = require("waitgroup").attach
      attach(a, "waitgroup"):done()
      attach(c, "context"):cancel("from there")
      attach(b, "errgroup"):thread(function() error("in their group", 0) end)
    end, wg:id(), g:id(), context:id())
    assert.is_true(runner:wait(20))
    assert.is_true(wg:wait(20))
    assert.same({ "cancelled", "from there" }, { context:err() })
    assert.equal("in their group", select(2, g:wait(20)))
  end)

  it("wakes a coroutine of this state when another state brings the moment", function()
    local wg, runner = waitgroup.new(1), waitgroup.errgroup()
    runner:thread(function(id)
      require("waitgroup").sleep(0.02)
      require("waitgroup").attach(id):done()
    end, wg:id())
    local woken
    runner:go(function() woken = wg:wait() end)
    assert.is_true(runner:wait(20))
    assert.is_true(woken)
  end)

  it("carries coroutine tasks of several states in one group", function()
    local g = waitgroup.errgroup()
    local here = g:go(function() return waitgroup.sleep(60) end)
    local runner = waitgroup.errgroup()
    runner:thread(function(group)
      for i = 1, 3 do
        group:go(function()
          require("waitgroup").sleep(0.005)
          if i == 3 then
            error({ "third" }, 0)
          end
        end)
      end
    end, g)
    local ok, err = g:wait(20)
    assert.is_nil(ok)
    assert.same({ "third" }, err)
    local result = table.pack(here:result())
    assert.same({ true, nil, "cancelled", { "third" }, n = 4 }, result)
    assert.is_true(runner:wait(20))
  end)

  it("does not keep the object", function()
    local id = waitgroup.new():id()
    collectgarbage()
    collectgarbage()
    local ok, message = pcall(waitgroup.attach, id)
    assert.is_false(ok)
    assert.matches(("the id %d: the object with this id is gone: keep a reference"):format(id), message)
  end)

  it("finds each of many, while others come and go", function()
    local objects = {}
    for i = 1, 500 do
      objects[i] = waitgroup.new(i)
      assert.truthy(objects[i]:id())
      if i % 3 == 0 then
        objects[i // 2] = nil
      end
      if i % 100 == 0 then
        collectgarbage()
      end
    end
    for i, wg in pairs(objects) do
      assert.equal(wg, waitgroup.attach(wg:id()))
      assert.equal(i, waitgroup.attach(wg:id()):count())
    end
  end)

  it("serves the states of other libraries, while nothing else runs", function()
    if not peer.has "luv" then
      return pending "luv is not there"
    end
    assert.equal("true\ntrue\tcancelled\tluv\nstatus 0\n", process [[
      local waitgroup, uv = require "waitgroup", require "luv"
      local function elsewhere(id, method)
        return uv.new_thread(function(object, name, path, cpath)
          package.path, package.cpath = path, cpath
          os.execute("sleep 0.05") -- until the other state waits
          local shared = require("waitgroup").attach(object)
          shared[name](shared, name == "cancel" and "luv" or nil)
        end, id, method, package.path, package.cpath)
      end
      local wg, parent = waitgroup.new(1), waitgroup.context()
      local child = waitgroup.context { parent = waitgroup.context { parent = parent } }
      local thread = elsewhere(wg:id(), "done")
      print(wg:wait())
      thread:join()
      thread = elsewhere(parent:id(), "cancel")
      waitgroup.run(function() assert(child:wait()) end)
      thread:join()
      print(child:wait(), child:err())
      os.exit(true) -- luv may crash when its states end
    ]])
  end)

  it("that is none is refused", function()
    local wg = waitgroup.new()
    assert.has_error(function() waitgroup.attach(1) end)
    assert.has_error(function() waitgroup.attach(-1) end)
    assert.has_error(function() waitgroup.attach("1") end)
    assert.has_error(function() waitgroup.attach(wg:id() + 0.5) end)
    assert.has_error(function() waitgroup.attach(wg:id() + 1000) end)
    assert.has_error(function() waitgroup.attach(nil) end)
    assert.has_error(function() waitgroup.attach(wg:id(), "nonsense") end)
    local ok, message = pcall(function() waitgroup.attach(wg:id(), "errgroup") end)
    assert.is_false(ok)
    assert.matches("^tests/lua/share_spec.lua:%d+: bad argument #2 to 'attach' %(the id %d+ is that of a "
      .. "waitgroup.WaitGroup, not of a waitgroup.ErrGroup%)$",
      message)
  end)

  it("of an object that was closed in this state is refused", function()
    local g = waitgroup.errgroup()
    local id = g:id()
    g:close()
    assert.has_error(function() waitgroup.attach(id) end,
      ("bad argument #1 to 'attach' (the waitgroup.ErrGroup with the id %d was closed in this state)"):format(id))
  end)

  it("is not a small number", function()
    assert.is_true(waitgroup.new():id() > 1 << 32)
  end)
end)
