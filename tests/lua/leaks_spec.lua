-- A test that leaves something behind fails.
local waitgroup = require "waitgroup"
local leaks = require "waitgroup.leaks"

describe("a test", function()
  leaks(before_each, after_each)

  it("that waits for its group is clean", function()
    local g = waitgroup.errgroup()
    g:go(function() waitgroup.sleep(0.01) end)
    assert(g:wait())
  end)

  it("whose thread task is about to end is clean", function()
    local g = waitgroup.errgroup()
    g:thread(function() return 1 end)
    assert(g:wait())
    leaks.check()
  end)

  it("that gives a group up, or leaves a callback, is told so with the line", function()
    leaks.start()
    local ctx = waitgroup.context()
    ctx:on_cancel(function() end)
    do
      local g = waitgroup.errgroup { name = "lost" }
      g:go(function() end)
      waitgroup.sleep(0.01)
    end
    local ok, text = pcall(leaks.check)
    assert.is_false(ok)
    assert.matches("error group 'lost' %(Lua, made at .*leaks_spec.lua:%d+%)", text)
    assert.matches("context at 0x%x+ %(Lua, made at .*leaks_spec.lua:%d+%): 1 callback still to be called", text)
    ctx:cancel()
    leaks.start()
    leaks.check()
  end)

  it("that leaves a group unwaited for is told its name and its line", function()
    leaks.start()
    local g = waitgroup.errgroup { name = "left" }
    g:go(function() end)
    local ok, text = pcall(leaks.check)
    assert.is_false(ok)
    assert.matches("error group 'left' %(Lua, made at .*leaks_spec.lua:%d+%)", text)
    assert(g:wait())
    leaks.check()
  end)
end)
