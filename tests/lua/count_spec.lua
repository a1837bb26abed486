-- The count of a wait group: 0 to 2^31-1, and a step outside changes nothing.
local waitgroup = require "waitgroup"

describe("the count", function()
  it("starts at zero, or as told", function()
    assert.equal(0, waitgroup.new():count())
    assert.equal(3, waitgroup.new(3):count())
    assert.equal(2147483647, waitgroup.new(2147483647):count())
  end)

  it("follows add and done", function()
    local wg = waitgroup.new()
    wg:add()
    wg:add(4)
    wg:add(-2)
    wg:done()
    assert.equal(2, wg:count())
  end)

  it("is not changed by a step below zero", function()
    local wg = waitgroup.new(2)
    assert.has_error(function() wg:add(-3) end)
    assert.equal(2, wg:count())
    wg:add(-2)
    assert.has_error(function() wg:done() end)
    assert.equal(0, wg:count())
    assert.is_true(wg:wait(0))
  end)

  it("is not changed by a step past the end", function()
    local wg = waitgroup.new(2147483647)
    assert.has_error(function() wg:add() end)
    assert.has_error(function() wg:add(math.maxinteger) end)
    assert.has_error(function() wg:go(print) end)
    assert.equal(2147483647, wg:count())
    wg:add(-2147483647)
    assert.is_true(wg:wait(0))
  end)

  it("refuses what is no count", function()
    for _, bad in ipairs { -1, 2147483648, 1.5, "many", {}, math.huge } do
      assert.has_error(function() waitgroup.new(bad) end)
    end
    local wg = waitgroup.new()
    for _, bad in ipairs { 1.5, "many", {}, 0 / 0 } do
      assert.has_error(function() wg:add(bad) end)
    end
  end)

  it("says what it was, in an error at the caller's line", function()
    local wg = waitgroup.new(1)
    local _, message = pcall(function() wg:add(-2) end)
    assert.equal(debug.getinfo(1, "S").short_src .. ":52: 'add' of a wait group with the count 1: "
      .. "2 less would be negative, so it is unchanged", message)
  end)
end)

