-- Random programs of coroutines and threads: correct ones run to their end without an alarm, and a ring is told.
local waitgroup = require "waitgroup"

local EFFORT = tonumber(os.getenv("WG_TEST_EFFORT") or "1")

-- A task of each kind waits for some groups, one after the other; at a gate first, so that all of them have tasks.
local function wait_for(gate, groups)
  gate:wait()
  for _, group in ipairs(groups) do
    local ok, err = group:wait()
    if not ok and tostring(err):find("deadlock", 1, true) == nil then
      error(err, 0)
    end
  end
end

-- Task i waits for groups that come later; the last one for the first, if `closes`, by a path through all.
local function run(count, closes)
  local groups, gate = {}, waitgroup.new(1)
  for i = 1, count do
    groups[i] = waitgroup.errgroup { name = "group " .. i }
  end
  for i = 1, count do
    local targets = {}
    for _ = 1, i < count and math.random(0, 2) or 0 do
      targets[#targets + 1] = groups[math.random(i + 1, count)]
    end
    if closes then
      targets[#targets + 1] = groups[i % count + 1]
    end
    groups[i][math.random(2) == 1 and "go" or "thread"](groups[i], wait_for, gate, targets)
  end
  gate:done()
  local alarms = 0
  for _, group in ipairs(groups) do
    local ok, err = group:wait(60)
    if not ok then
      assert.matches("tasks wait for each other", err)
      alarms = alarms + 1
    end
  end
  return alarms
end

describe("random programs", function()
  it("that are correct raise no alarm", function()
    math.randomseed(1)
    for _ = 1, math.max(5, 60 * EFFORT) do
      assert.equal(0, run(math.random(2, 5), false))
    end
  end)

  it("with a ring are told of it, and end", function()
    math.randomseed(2)
    for _ = 1, math.max(5, 60 * EFFORT) do
      assert.is_true(run(math.random(2, 5), true) >= 1)
    end
  end)
end)
