--- Wait groups, error groups and contexts, for coroutines and for threads.
local core = require "waitgroup.core"

if core.module("waitgroup") then -- package.loaded was cleared
  return core.module("waitgroup")
end

local collect = require "waitgroup.collect"

local error, type, pairs, tostring, setmetatable = error, type, pairs, tostring, setmetatable
local math_type, to_integer, max_integer = math.type, math.tointeger, math.maxinteger
local require, pcall, ipairs, package = require, pcall, ipairs, package
local concat, sort = table.concat, table.sort
local io, debug = io, debug -- a sandbox may have neither

local waitgroup = { _VERSION = core.version }

-- A value as messages show it.
local function shown(value)
  return type(value) == "string" and "'" .. value .. "'" or tostring(value)
end

-- Checks of options give the value to use; or nil, and what was expected.

local function positive_integer(value)
  local integer = math_type(value) and to_integer(value)
  if integer and integer > 0 and integer <= 0x7fffffff then
    return integer
  end
  return nil, "a positive integer expected"
end

local function count(value)
  local integer = math_type(value) and to_integer(value)
  if integer and integer >= 0 then
    return integer < 0x3fffffff and integer or 0x3fffffff
  end
  return nil, "an integer, not negative, expected"
end

local function seconds(value)
  if type(value) == "number" and value >= 0 then
    return value
  end
  return nil, "seconds, not negative and not NaN, expected"
end

local function text(value)
  if type(value) == "string" and not value:find("\0", 1, true) then
    return value
  end
  return nil, "a string without zero bytes expected"
end

local function context_option(value)
  if core.context_open(value) then
    return value
  end
  return nil, "an open waitgroup.Context expected"
end

local function cancel_or_continue(value)
  if value == "cancel" or value == "continue" then
    return value
  end
  return nil, "'cancel' or 'continue' expected"
end

local function names_of(known)
  local names = {}
  for name in pairs(known) do
    names[#names + 1] = name
  end
  sort(names)
  return concat(names, ", ")
end

-- The checked options of the constructor `call`, a new table. Errors are those of its caller.
local function check_options(call, options, known)
  local checked = {}
  local function refuse(format, ...)
    error(("bad argument #1 to '%s' (%s)"):format(call, format:format(...)), 4)
  end
  if options == nil then
    return checked
  elseif type(options) ~= "table" then
    refuse("a table of options or nil expected, got %s", shown(options))
  end
  for name, value in pairs(options) do
    local check = known[name]
    if not check then
      refuse("unknown option %s: there are %s", shown(name), names_of(known))
    end
    local used, expected = check(value)
    if used == nil then
      refuse("option '%s': %s, got %s", name, expected, shown(value))
    end
    checked[name] = used
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
  local checked = check_options("context", options, context_options)
  local context = core.context(checked.parent or core.current_context(), core.deadline(checked.timeout, 1))
  return context
end

--- The root of all contexts, as a parent: a context below it belongs to no task.
function waitgroup.root()
  return core.root()
end

local errgroup_options = {
  limit = positive_integer,
  backlog = count,
  timeout = seconds,
  grace = seconds,
  context = context_option,
  name = text,
  interrupt = positive_integer,
  on_error = cancel_or_continue,
}

function waitgroup.errgroup(options)
  local checked = check_options("errgroup", options, errgroup_options)
  local grace = checked.grace
  if grace then
    grace = grace < 9e9 and grace * 1e9 // 1 | 0 or max_integer
    grace = grace > 0 and grace or 1 -- 0 is none for the core
  end
  local group = core.errgroup(checked.context or core.current_context(), core.deadline(checked.timeout, 1), grace,
    checked.limit, checked.name, checked.interrupt, checked.on_error == "continue", checked.backlog)
  return group
end

local kinds = { waitgroup = "waitgroup.WaitGroup", errgroup = "waitgroup.ErrGroup", context = "waitgroup.Context",
  channel = "waitgroup.Channel" }

--- The object of this process whose `id()` was `id`; with `kind`, it must be a "waitgroup", "errgroup", "context" or
--- "channel".
function waitgroup.attach(id, kind)
  local number = math_type(id) and to_integer(id) -- some libraries carry integers as floats
  if not number then
    error(("bad argument #1 to 'attach' (an id, as id() gives it, expected, got %s)"):format(shown(id)), 2)
  elseif kind ~= nil and not kinds[kind] then
    error(("bad argument #2 to 'attach' ('waitgroup', 'errgroup', 'context' or 'channel' expected, got %s)"):format(shown(kind)), 2)
  end
  local object, name, remedy = core.attach(number)
  if not object then
    error(("bad argument #1 to 'attach' (the id %d: %s: %s)"):format(number, name, remedy), 2)
  elseif core.is_closed(object) then
    error(("bad argument #1 to 'attach' (the %s with the id %d was closed in this state)"):format(name, number), 2)
  elseif kind and name ~= kinds[kind] then
    error(("bad argument #2 to 'attach' (the id %d is that of a %s, not of a %s)"):format(number, name, kinds[kind]),
      2)
  end
  return object
end

--- A new channel for values, which holds up to `capacity`, by default 0.
waitgroup.channel = core.channel

--- Send or receive, whichever of several channels can first.
waitgroup.select = core.select

--- Wait for any of several tasks.
waitgroup.wait_any = collect.wait_any

--- How many processor cores this process may use.
waitgroup.cores = core.cores

--- Sleep for so many seconds. True, or nil and why: the context of the running task has ended.
waitgroup.sleep = core.sleep

--- Let others run. True, or nil and why: the context of the running task has ended.
waitgroup.yield = core.yield

--- The context of the running task; nil outside of any.
waitgroup.current_context = core.current_context

--- Run `fn` as a task and wait until it and all that it started have ended.
waitgroup.run = core.run

--- Call `fn(value, traceback)` for errors that nobody waits for; nil: the default, which is standard error. Returns the
--- function set before.
waitgroup.on_error = core.on_error

local in_use -- the adapter of the event loop in use, or nil
local agents = setmetatable({}, { __mode = "k" }) -- by loop: whether it has one

-- Our tasks run in this coroutine of an event loop as long as there are any.
local function agent(adapter, loop)
  return function()
    local ok, err = pcall(function()
      local _ <close> = core.agent()
      repeat
        adapter.wait(core.listen())
      until not core.step()
    end)
    agents[loop] = nil -- also if the loop has raised in it: the next task gets another one
    if not ok then
      error(err, 0)
    end
  end
end

-- The adapters of the event loops that the program has loaded.
local function loaded_adapters()
  local adapters = {}
  for _, name in ipairs { "cqueues", "copas", "luv" } do
    if package and package.loaded[name] then
      local found, adapter = pcall(require, "waitgroup.loops." .. name)
      adapters[#adapters + 1] = found and adapter or nil
    end
  end
  return adapters
end

-- See that there is an agent in the loop in use, else in one that is loaded and runs.
local function serve()
  for _, adapter in ipairs(in_use and { in_use } or loaded_adapters()) do
    local loop = adapter
    if adapter.loop then
      loop = adapter.loop()
    end
    if adapter.spawn and loop then
      if not agents[loop] then
        agents[loop] = true -- it may begin at once
        agents[loop] = adapter.spawn(agent(adapter, loop)) and agents[loop] or nil
      end
      return
    end
  end
end

local function use(adapter)
  in_use = adapter
  core.use(adapter and adapter.here, adapter and adapter.wait, serve, adapter and adapter.forward)
end
use(nil)

-- What is wrong with the adapter, or nil.
local function fault_of(adapter)
  if type(adapter) ~= "table" then
    return "the name of an event loop, an adapter, or nil expected, got " .. shown(adapter)
  end
  for _, name in ipairs { "here", "wait", "loop", "spawn", "forward" } do
    local fn = adapter[name]
    if type(fn) ~= "function" and (fn ~= nil or name == "here" or name == "wait") then
      return ("an adapter's '%s' is a function, got %s"):format(name, shown(fn))
    end
  end
end

--- Waits in coroutines of this event loop yield to it, and tasks may yield to it: "cqueues", "copas", "luv", "haproxy",
--- "prosody", or an adapter; nil: none.
function waitgroup.use(loop)
  if type(loop) == "string" then
    local found, adapter = pcall(require, "waitgroup.loops." .. loop)
    if not found then
      error(("bad argument #1 to 'use' (no adapter for the event loop '%s': %s)"):format(loop, adapter), 2)
    end
    loop = adapter
  end
  local fault = loop ~= nil and fault_of(loop)
  if fault then
    core.argerror(1, fault)
  end
  use(loop)
end

--- Write who waits for whom in this process to `file`, an open file, or to standard error: the groups of all languages,
--- their tasks and waits, the pools, and where this state is. What is stuck comes first.
function waitgroup.dump(file)
  if not io then
    error("bad call of 'dump': there is no library io here to write with", 2)
  end
  file = file or io.stderr
  if io.type(file) ~= "file" then
    core.argerror(1, "an open file or nil expected, got " .. shown(file))
  end
  file:write(core.dump_text(), debug and debug.traceback("this Lua state:", 2) or "", "\n")
  file:flush()
end

local Timeline = { __name = "waitgroup.Timeline" }
Timeline.__index = Timeline

--- Complete the file. True, or nil and why some of it is missing. A second time nothing happens.
function Timeline:close()
  if self.closed then
    return true
  end
  self.closed = true
  return core.trace_stop()
end
Timeline.__close = Timeline.close

--- Write the timeline of this process to the file of this name, until the timeline is closed: tasks by thread, waits,
--- cancellations and groups, as Chrome trace events, which Perfetto opens. nil and why, if it cannot be written.
function waitgroup.trace(file)
  if type(file) ~= "string" then
    core.argerror(1, "the name of a file expected, got " .. shown(file))
  end
  local began, why = core.trace_start(file)
  if not began then
    return nil, why
  end
  return setmetatable({}, Timeline)
end

--- Write the groups, tasks, waits and pools to standard error whenever the signal comes: a number, "USR1", "USR2" or
--- "QUIT". It works in a busy loop too. WAITGROUP_DUMP=USR1 in the environment does the same.
waitgroup.dump_on_signal = core.dump_on_signal

core.module("waitgroup", waitgroup)
return waitgroup
