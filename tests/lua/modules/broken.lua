-- Loads another module, and fails.
require "account"
error("broken")
