--- For busted: a test fails that leaves tasks unfinished, groups unwaited for, or threads asleep in a wait.
---
---     require "waitgroup.leaks"(before_each, after_each)
---
--- at the top of a `describe`. Other frameworks call `start()` before a test and `check()` after it.
local core = require "waitgroup.core"
local waitgroup = require "waitgroup"

local leaks = {}
local since = core.now()

--- What comes from now on is looked at by the next check.
function leaks.start()
  since = core.now()
end

--- Raise, with the names of all that has been left behind, unless it goes within two seconds.
function leaks.check()
  local left, text = 200, core.leaks_text(since)
  if text ~= "" then
    collectgarbage()
    collectgarbage()
  end
  while text ~= "" and left > 0 do
    waitgroup.sleep(0.01)
    left, text = left - 1, core.leaks_text(since)
  end
  if text ~= "" then
    error("the test has left behind:\n" .. text, 0)
  end
end

return setmetatable(leaks, {
  __call = function(_, before_each, after_each)
    before_each(leaks.start)
    after_each(leaks.check)
  end,
})
