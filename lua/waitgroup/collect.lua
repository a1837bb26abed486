--- Results of many tasks: in order, as they come, or the first of them.
local core = require "waitgroup.core"

local error, type, pairs, pcall = error, type, pairs, pcall
local getmetatable, setmetatable = getmetatable, setmetatable
local math_type, to_integer, unpack, tostring = math.type, math.tointeger, table.unpack, tostring
local methods = core.ErrGroup.__index

local function is_task(value)
  local metatable = getmetatable(value)
  return metatable == core.Task or metatable == core.CoroutineTask
end

-- `start(g, fn, item)`, whose errors are of whoever called the method `call`, which calls `map`.
local function start_one(call, start, g, fn, item)
  local ok, task, why, cause = pcall(start, g, fn, item)
  if not ok then
    local text = task:gsub("^.-:%d+: ", "", 1):gsub("^bad argument #1 to '.-'", "bad argument #1 to '" .. call .. "'")
    error(text, 5)
  end
  return task, why, cause
end

-- The tasks for the items of the list, and how many; if not all were taken also what the last call gave.
local function start_all(call, start, g, fn, list)
  local tasks = {}
  for i = 1, #list do
    local task, why, cause = start_one(call, start, g, fn, list[i])
    if not task then
      return tasks, i - 1, why, cause
    end
    tasks[i] = task
  end
  return tasks, #list
end

-- A list of the first results; or nil, the error and traceback of the first task that failed, or else of the first that
-- has no results.
local function gather(tasks, count)
  local results, stopped, why, more = { n = count }, false, nil, nil
  for i = 1, count do
    local ok, value, traceback = tasks[i]:result()
    if ok then
      results[i] = value
    elseif not tasks[i]:done() then -- the context of the running task has ended
      return nil, value, traceback
    elseif not tasks[i]:cancelled() then
      return nil, value, traceback
    elseif not stopped then
      stopped, why, more = true, value, traceback
    end
  end
  if stopped then
    return nil, why, more
  end
  return results
end

local function map(call, g, fn, list)
  local tasks, count, why, cause = start_all(call, methods[call == "map" and "go" or "thread"], g, fn, list)
  local results, err, traceback = gather(tasks, count)
  if results and why then
    return nil, why, cause
  end
  return results, err, traceback
end

-- A watch tells of the ends of tasks: `ended` is a channel of their numbers, which tasks of `group` send. It is to be closed,
-- and then none of these is left. Of an error group that is followed, more tasks come to it.
local Watch = {}
Watch.__index = Watch

local function new_watch()
  return setmetatable({ group = core.errgroup(core.current_context(), core.deadline(nil, 1)),
    ended = core.ends_channel(0x3fffffff), tasks = {}, started = 0, left = 0 }, Watch)
end

function Watch:add(task)
  local i = self.started + 1
  self.started, self.left, self.tasks[i] = i, self.left + 1, task
  self.group:go(function()
    local ok, err = pcall(task.result, task)
    if not ok then
      self.failure = err
      self.ended:close()
    end
    self.ended:send(i, 0)
  end)
end

-- The next task that has ended, and its number; nil if none is left; or nil and why.
function Watch:next(timeout)
  if self.left == 0 then
    return nil
  end
  local i, why, cause = self.ended:receive(timeout)
  if self.failure then
    error(self.failure, 0)
  elseif i == nil then
    return nil, why, cause
  end
  local task = self.tasks[i]
  self.left, self.tasks[i] = self.left - 1, nil
  return task, i
end

function Watch:__close()
  if self.followers then
    self.followers[self] = nil
  end
  self.group:cancel()
  self.group:close()
end

local function watch(tasks)
  local self = new_watch()
  for i = 1, #tasks do
    self:add(tasks[i])
  end
  return self
end

local followers_of = setmetatable({}, { __mode = "k" }) -- group -> the watches that follow it, as keys of a weak table

-- Watch the unfinished tasks of the group, and those that this state starts in it from now on.
local function follow(g)
  local followers = followers_of[g] or setmetatable({}, { __mode = "k" })
  local unfinished = core.follow(g, function(task)
    local any = false
    for follower in pairs(followers) do
      follower:add(task)
      any = true
    end
    return any
  end)
  local self = watch(unfinished)
  self.followers, followers[self], followers_of[g] = followers, true, followers
  return self
end

local function check_tasks(call, tasks)
  if type(tasks) ~= "table" then
    error(("bad argument #1 to '%s' (a list of the tasks that go and thread returned expected, got %s)"):format(call,
      type(tasks)), 3)
  end
  for i = 1, #tasks do
    if not is_task(tasks[i]) then
      error(("bad argument #1 to '%s' (element %d is a %s, not a task)"):format(call, i, type(tasks[i])), 3)
    end
  end
end

local start_fields = { name = "string", thread = "boolean", try = "boolean", n = "number" }
local VALUES_MAX = 100000

-- Errors are those of the caller of `start`.
local function check_start(spec)
  local function refuse(format, ...)
    error(("bad argument #1 to 'start' (%s)"):format(format:format(...)), 4)
  end
  if type(spec) ~= "table" then
    refuse("a table { function, arguments... } expected, got %s", type(spec))
  end
  for field, value in pairs(spec) do
    local expected = start_fields[field]
    if math_type(field) ~= "integer" and not expected then
      refuse("unknown field %s: there are name, thread, try, n", tostring(field))
    elseif expected and field ~= "n" and type(value) ~= expected then
      refuse("field '%s': a %s expected, got %s", field, expected, type(value))
    end
  end
  local name, n = spec.name, spec.n
  if name and name:find("\0", 1, true) then
    refuse("field 'name': a string without zero bytes expected")
  elseif n ~= nil and not (math_type(n) and to_integer(n) and n >= 1 and n <= VALUES_MAX) then
    refuse("field 'n': how many values there are, the function included, 1 to %d, expected, got %s", VALUES_MAX, tostring(n))
  elseif not spec.thread and not pcall(core.check_callable, spec[1], 1) then
    refuse("element 1: a function expected, got %s", type(spec[1]))
  end
end

--- Start the task that the table tells: { function, arguments..., name = , thread = , try = , n = }.
function methods.start(g, spec)
  core.errgroup_open(g)
  check_start(spec)
  local begin = spec.thread and core.start_thread or core.start_go
  local task, why, cause = begin(g, spec.name, not spec.try, unpack(spec, 1, spec.n or #spec))
  return task, why, cause
end

--- Run `fn(item)` for each item of the list, as coroutine tasks of the group, and wait for them: a list of what each
--- returned first, with `n`; or nil, error, traceback.
function methods.map(g, fn, list)
  core.errgroup_open(g)
  core.check_callable(fn, 2)
  if type(list) ~= "table" then
    core.argerror(3, "a list expected, got " .. type(list))
  end
  local results, err, traceback = map("map", g, fn, list) -- no tail call: its errors are the caller's
  return results, err, traceback
end

--- The same on threads.
function methods.thread_map(g, fn, list)
  core.errgroup_open(g)
  if type(fn) ~= "function" and type(fn) ~= "string" then
    core.argerror(2, "a Lua function or the name of a module expected, got " .. type(fn))
  elseif type(list) ~= "table" then
    core.argerror(3, "a list expected, got " .. type(list))
  end
  local results, err, traceback = map("thread_map", g, fn, list)
  return results, err, traceback
end

--- For `for task in g:as_completed(tasks) do`: the tasks in the order in which they end. Without a list: all tasks of the
--- group. It keeps none of them, so they are followed from the call on.
function methods.as_completed(g, tasks)
  local watching, over
  if tasks == nil then
    core.errgroup_open(g)
    watching = follow(g)
  else
    check_tasks("as_completed", tasks)
  end
  local function stop()
    local _ <close> = watching
    watching, over = nil, true
  end
  local function next_task()
    if over then
      return nil
    end
    watching = watching or watch(tasks)
    local task, i, cause = watching:next()
    if task == nil then
      stop()
    end
    return task, i, cause
  end
  return next_task, nil, nil, setmetatable({}, { __close = stop }) -- which the loop does, however it is left
end

-- What `result` gives, without the first; or raise.
local function values(ok, ...)
  if ok then
    return ...
  end
  error((...), 0)
end

--- The results of the task; its error is raised as it was thrown.
local function get(task, timeout)
  if not is_task(task) then
    core.argerror(1, "waitgroup.Task expected, got " .. type(task))
  end
  core.deadline(timeout, 2)
  return values(task:result(timeout))
end
core.Task.__index.get = get
core.CoroutineTask.__index.get = get

local collect = {}

local function find_ended(tasks)
  for i = 1, #tasks do
    if tasks[i]:done() then
      return tasks[i], i
    end
  end
end

--- Wait for any of the tasks: the first that has ended, and its index; or nil and why.
function collect.wait_any(tasks, timeout)
  check_tasks("wait_any", tasks)
  if #tasks == 0 then
    error("bad argument #1 to 'wait_any' (one task at least expected, got none)", 2)
  end
  core.deadline(timeout, 2)
  local task, i = find_ended(tasks)
  if task then
    return task, i
  elseif timeout == 0 then
    local _, why, cause = tasks[1]:result(0) -- lets tasks run, as every wait with 0 does outside of tasks
    task, i = find_ended(tasks)
    if task then
      return task, i
    end
    return nil, why, cause
  end
  local watching <close> = watch(tasks)
  return watching:next(timeout)
end

return collect
