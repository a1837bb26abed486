-- Leads to another module.
local held = require "account"
return setmetatable({}, { __index = { account = held } })
