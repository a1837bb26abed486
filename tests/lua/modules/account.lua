-- A class whose metatable is the module.
local Account = {}
Account.__index = Account

function Account.new(balance)
  return setmetatable({ balance = balance }, Account)
end

function Account:deposit(amount)
  self.balance = self.balance + amount
end

return Account
