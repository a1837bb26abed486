-- A helper for busted, see .busted.
require("leak_check").install()
