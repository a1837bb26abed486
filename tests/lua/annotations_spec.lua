-- The annotations for editors name every function there is, and no other.
local waitgroup = require "waitgroup"
local core = require "waitgroup.core"

local function names(t)
  local list = {}
  for name, value in pairs(t) do
    if type(value) == "function" then
      list[#list + 1] = name
    end
  end
  table.sort(list)
  return list
end

describe("the annotations", function()
  local text = assert(io.open("library/waitgroup.lua")):read("a")
  local annotated = setmetatable({}, { __index = function(t, k)
    t[k] = {}
    return t[k]
  end })
  for class, name in text:gmatch("\nfunction (%a+)[.:]([%w_]+)") do
    annotated[class][name] = print
  end
  for class, index in pairs {
    waitgroup = waitgroup,
    WaitGroup = core.WaitGroup.__index,
    ErrGroup = core.ErrGroup.__index,
    Context = core.Context.__index,
    Task = core.Task.__index,
    Channel = core.Channel.__index,
  } do
    it("are complete for " .. class, function()
      assert.same(names(index), names(annotated[class]))
    end)
  end

  it("have the parameters that the guide shows", function()
    local guide = assert(io.open("docs/lua.md")):read("a")
    local shown = {}
    for class, name in guide:gmatch("\n| `(%a+)[.:]([%w_]+)%(") do
      shown[class] = shown[class] or {}
      shown[class][name] = print
    end
    local of = { w = waitgroup, wg = core.WaitGroup.__index, g = core.ErrGroup.__index, ctx = core.Context.__index,
      task = core.Task.__index, ch = core.Channel.__index }
    for class, index in pairs(of) do
      assert.same(names(index), names(shown[class]), class)
    end
  end)

  it("hold for both kinds of tasks", function()
    assert.same(names(core.Task.__index), names(core.CoroutineTask.__index))
  end)
end)
