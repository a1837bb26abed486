--- Wait groups, error groups and contexts, for coroutines and for threads.
local core = require "waitgroup.core"

if core.module("waitgroup") then -- package.loaded was cleared
  return core.module("waitgroup")
end

local scheduler = require "waitgroup.scheduler"
require "waitgroup.context"
local errgroup = require "waitgroup.errgroup"

local error, type, pairs, tostring = error, type, pairs, tostring
local math_type, to_integer, max_integer = math.type, math.tointeger, math.maxinteger
local require, pcall = require, pcall

local waitgroup = { _VERSION = core.version }

-- An error of whoever called the constructor that checks its options.
local function bad_option(name, what, value)
  error(("bad option '%s' (%s, got %s)"):format(name, what, type(value) == "string" and "'" .. value .. "'"
    or tostring(value)), 5)
end

local function positive_integer(name, value)
  if math_type(value) ~= "integer" or value <= 0 or value > 0x7fffffff then
    bad_option(name, "a positive integer expected", value)
  end
  return value
end

local function seconds(name, value)
  if type(value) ~= "number" or value < 0 or value ~= value then
    bad_option(name, "seconds, not negative and not NaN, expected", value)
  end
  return value
end

local function text(name, value)
  if type(value) ~= "string" or value:find("\0", 1, true) then
    bad_option(name, "a string without zero bytes expected", value)
  end
  return value
end

local function context_option(name, value)
  local ok = pcall(core.context_open, value)
  if not ok then
    bad_option(name, "an open waitgroup.Context expected", value)
  end
  return value
end

-- The checked options, a new table.
local function check_options(options, known)
  local checked = {}
  if options == nil then
    return checked
  elseif type(options) ~= "table" then
    error(("a table of options expected, got %s"):format(type(options)), 3)
  end
  for name, value in pairs(options) do
    local check = known[name]
    if not check then
      error(("unknown option '%s'"):format(tostring(name)), 3)
    end
    checked[name] = check(name, value)
  end
  return checked
end

--- A new wait group with the count `n`, or 0.
function waitgroup.new(n)
  local wg = core.waitgroup(n) -- not a tail call: its errors are the caller's
  return wg
end

local context_options = { parent = context_option, timeout = seconds }

function waitgroup.context(options)
  local checked = check_options(options, context_options)
  local context = core.context(checked.parent or core.current_context(), core.deadline(checked.timeout, 1))
  return context
end

--- The root of all contexts, as a parent: a context below it belongs to no task.
function waitgroup.root()
  return core.root()
end

local errgroup_options = {
  limit = positive_integer,
  timeout = seconds,
  grace = seconds,
  context = context_option,
  name = text,
  interrupt = positive_integer,
}

function waitgroup.errgroup(options)
  local checked = check_options(options, errgroup_options)
  local grace = checked.grace
  if grace then
    grace = grace < 9e9 and grace * 1e9 // 1 | 0 or max_integer
    grace = grace > 0 and grace or 1 -- 0 is none for the core
  end
  local group = core.errgroup(checked.context or core.current_context(), core.deadline(checked.timeout, 1), grace,
    checked.limit, checked.name, checked.interrupt)
  if grace then
    errgroup.remember_tasks(group)
  end
  return group
end

local kinds = { waitgroup = "waitgroup.WaitGroup", errgroup = "waitgroup.ErrGroup", context = "waitgroup.Context" }

--- The object of this process whose `id()` was `id`; with `kind`, it must be a "waitgroup", "errgroup" or "context".
function waitgroup.attach(id, kind)
  local number = math_type(id) and to_integer(id) -- some libraries carry integers as floats
  if not number then
    error(("bad argument #1 to 'attach' (an id, as id() gives it, expected, got %s)"):format(
      math_type(id) and tostring(id) or type(id)), 2)
  elseif kind ~= nil and not kinds[kind] then
    error(("bad argument #2 to 'attach' ('waitgroup', 'errgroup' or 'context' expected, got %s)"):format(
      tostring(kind)), 2)
  end
  local object, name = core.attach(number)
  if not object then
    error(("no object has the id %d: it never existed, or nobody holds it any more (an id does not)"):format(number), 2)
  elseif core.is_closed(object) then
    error(("the %s with the id %d was closed in this state"):format(name, number), 2)
  elseif kind and name ~= kinds[kind] then
    error(("the id %d is that of a %s, not of a %s"):format(number, name, kinds[kind]), 2)
  end
  return object
end

--- Sleep for so many seconds. True, or nil and why: the context of the running task has ended.
waitgroup.sleep = core.sleep_for

--- Let others run. True, or nil and why: the context of the running task has ended.
waitgroup.yield = core.yield

--- The context of the running task; nil outside of any.
function waitgroup.current_context()
  return core.current_context()
end

function waitgroup.run(fn, ...)
  core.check_callable(fn, 1)
  return scheduler.run(fn, ...)
end

--- Call `fn(value, traceback)` for errors that nobody waits for; nil: the default, which is standard error. Returns the
--- function set before.
function waitgroup.on_error(fn)
  if fn ~= nil then
    core.check_callable(fn, 1)
  end
  return scheduler.on_error(fn)
end

--- Waits in coroutines of this event loop yield to it: "cqueues", "copas", "luv", or a table with `here` and `wait`;
--- nil: none.
function waitgroup.use(loop)
  if type(loop) == "string" then
    local found, adapter = pcall(require, "waitgroup.loops." .. loop)
    if not found then
      error(("no adapter for the event loop '%s': %s"):format(loop, adapter), 2)
    end
    loop = adapter
  elseif loop ~= nil and (type(loop) ~= "table" or not loop.here or not loop.wait) then
    core.argerror(1, "the name of an event loop, an adapter, or nil expected")
  end
  scheduler.use(loop)
end

core.module("waitgroup", waitgroup)
return waitgroup
