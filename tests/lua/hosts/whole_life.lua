-- For hosts that run a file and end: WAITGROUP_TOUR names the file that says how it went.
local tour = require "tour"
local ok, message = pcall(tour.run, tour.threads())
local file <close> = assert(io.open(os.getenv "WAITGROUP_TOUR", "w"))
file:write(tostring(ok), " ", tostring(message))
-- and with a task running on a thread when the host ends
local waitgroup = require "waitgroup"
waitgroup.errgroup():thread(function() while true do end end)
