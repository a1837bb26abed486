-- A helper for busted: the collector never rests, so that what is not held is soon gone.
collectgarbage("setpause", 0)
