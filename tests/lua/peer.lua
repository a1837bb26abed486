--- Modules of others: not every Lua that we run on has all of them.
local peer = {}

--- Whether a module is there. It is not loaded: luv does not bear to be loaded twice in a state, which busted makes of
--- loading it in two files.
function peer.has(name)
  return (package.searchpath(name, package.path) or package.searchpath(name, package.cpath)) ~= nil
end

--- The module, or nil.
function peer.get(name)
  local found, module = pcall(require, name)
  return found and module or nil
end

return peer
