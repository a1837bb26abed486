-- Ten tasks fill ten slots of their own, so there is nothing to lock; one wait, then the sum.
local waitgroup = require "waitgroup"

local slots = {}
local wg = waitgroup.new()
for number = 0, 9 do
  wg:go(function()
    slots[number + 1] = number * number
  end)
end
wg:wait()

local sum = 0
for _, square in ipairs(slots) do
  sum = sum + square
end
print(sum)
