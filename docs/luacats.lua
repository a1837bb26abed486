-- usage: lua docs/luacats.lua <ANNOTATIONS >COMMENTS
-- Turns the annotations that Lua's language server reads into the comments that LDoc reads: a class into a section, or
-- a table if it has fields and no methods; a parameter, result or field with its type into a @tparam, @treturn or
-- @tfield. What LDoc has no word for is left out.
local function type_and_rest(text) -- a type has no space outside of brackets, and none around a bar
  local depth, i = 0, 1
  while i <= #text do
    local c = text:sub(i, i)
    if c:find("[%(<{%[]") then depth = depth + 1 end
    if c:find("[%)>}%]]") then depth = depth - 1 end
    local before, after = text:sub(1, i - 1), text:sub(i)
    if c == " " and depth == 0 and not before:find("[:,|]$") and not after:find("^ *|") then break end
    i = i + 1
  end
  return text:sub(1, i - 1), text:sub(i + 1)
end

-- A type as LDoc writes it: `?string` for `string?`.
local function ldoc_type(kind)
  return (kind:gsub(" ", ""):gsub("^([^|]+)%?$", "?%1"))
end

-- `name? type description` as the LDoc tag of that name.
local function typed(tag, text)
  local name, optional, rest = text:match("^([%w_.]+)(%??) (.*)$")
  local kind, description = type_and_rest(rest)
  return ("@%s%s %s %s %s"):format(tag, optional == "?" and "[opt]" or "", ldoc_type(kind), name, description)
end

local rewrite = {
  class = function(text)
    local name = text:match("^[%w_.]+")
    return name:find("%.") and ("@type %s"):format(name:match("[%w_]+$")) or ("@module %s"):format(name)
  end,
  param = function(text)
    return typed("tparam", text)
  end,
  field = function(text)
    return typed("tfield", text)
  end,
  ["return"] = function(text)
    local kind, description = type_and_rest(text)
    return ("@treturn %s %s"):format(ldoc_type(kind), description)
  end,
}

local comment, in_class = {}, false
for line in io.lines() do
  local tag, text = line:match("^%-%-%-%s*@(%l+)%s*(.*)$")
  if not tag and line:find("^%-%-") then
    comment[#comment + 1] = line:gsub("^%-%-%-(%S)", "--- %1"):gsub("<(%a+)>", "&lt;%1&gt;")
  elseif tag then
    comment[#comment + 1] = rewrite[tag] and "-- " .. rewrite[tag](text)
  else
    if in_class and line:find("^function [%w_]+%.") then -- of the module again
      print("--- Functions\n-- @section functions\n")
      in_class = false
    end
    comment[#comment + 1] = line
    local block = table.concat(comment, "\n")
    if line == "" then -- nothing is declared: a class that is only its fields
      block = block:gsub("\n%-%- @type ", "\n-- @table ")
    elseif block:find("@module") then
      block = block:gsub("\n%-%- @tfield[^\n]*", "")
    end
    in_class = in_class or block:find("\n-- @type ") ~= nil
    print(block)
    comment = {}
  end
end
