-- A module with a state of its own, out of reach.
local n, t = 0, { { n = 0 } }
return {
  up = function()
    n = n + 1
    return n
  end,
  deep = function()
    t[1].n = t[1].n + 1
    return t[1].n
  end,
}
