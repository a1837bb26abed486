-- The check for leaks looks at every test of the suite.
local leak_check = {}

local leaves_some

-- The test that calls this leaves tasks or groups behind.
function leak_check.on_purpose()
  leaves_some = true
end

function leak_check.install()
  local busted, leaks = require "busted", require "waitgroup.leaks"
  busted.before_each(function()
    leaves_some = false
    leaks.start()
  end)
  busted.after_each(function()
    if not leaves_some then
      leaks.check()
    end
  end)
end

return leak_check
