-- A helper for busted: the collector never rests, and runs from end to end every few hundred instructions, in coroutines
-- that are made from now on too. What is not held is gone at once.
collectgarbage("setpause", 0)
debug.sethook(function() collectgarbage() end, "", 500)
