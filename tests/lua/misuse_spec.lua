-- Misuse is an error at the caller's line that names what and where; nothing is lost and nothing changed.
local waitgroup = require "waitgroup"

-- The message of running `code` with some objects in reach; it must begin with the place of the code.
local function message_of(code)
  local env = setmetatable({
    w = waitgroup,
    wg = waitgroup.new(),
    g = waitgroup.errgroup(),
    ctx = waitgroup.context(),
    f = function() end,
    nan = 0 / 0,
  }, { __index = _G })
  local ok, message = pcall(assert(load(code, "=here", "t", env)))
  assert(not ok, code .. " raised nothing")
  assert(message:sub(1, 8) == "here:1: ", ("%s: not at the caller's line: %s"):format(code, message))
  assert.is_true(env.g:wait(0), code)
  assert.equal(0, env.wg:count(), code)
  return message:sub(9)
end

describe("misuse names the argument:", function()
  local cases = {
    { "w.new('x')", "bad argument #1 to 'new' (an integer expected, got 'x')" },
    { "w.new(-1)", "bad argument #1 to 'new' (a count is 0 to 2147483647, got -1)" },
    { "w.wait_any {}", "bad argument #1 to 'wait_any' (one task at least expected, got none)" },
    { "wg:add('x')", "bad argument #1 to 'add' (an integer expected, got 'x')" },
    { "wg:done(wg:done())", "'done' of a wait group with the count 0: there were as many calls as were added" },
    { "wg:add(-2)", "'add' of a wait group with the count 0: 2 less would be negative, so it is unchanged" },
    { "wg:add(1.5)",
      "bad argument #1 to 'add' (an integer expected, got 1.5)" },
    { "w.new(2^31 - 1):add()",
      "'add' of a wait group with the count 2147483647: 1 more would pass 2147483647, so it is unchanged" },
    { "w.new(2^31 - 1):go(f)",
      "'go' of a wait group with the count 2147483647: 1 more would pass 2147483647, so it is unchanged" },
    { "local n = w.errgroup { name = 'n' } n:close() n:wait()",
      "calling 'wait' on bad self (this waitgroup.ErrGroup, 'n', is closed)" },
    { "local c = w.context() c:close() c:err()", "calling 'err' on bad self (this waitgroup.Context is closed)" },
    { "w.root():pollfd()", "'pollfd' of the root of all contexts: it never ends, and has no file descriptor" },
    { "w.errgroup{ name = 'fetch' }:thread(f, coroutine.create(f))",
      "cannot start a thread task of error group 'fetch': argument 2: a coroutine cannot cross threads" },
    { "w.errgroup(42)", "bad argument #1 to 'errgroup' (a table of options or nil expected, got 42)" },
    { "w.errgroup('x')", "bad argument #1 to 'errgroup' (a table of options or nil expected, got 'x')" },
    { "w.context(42)", "bad argument #1 to 'context' (a table of options or nil expected, got 42)" },
    { "w.errgroup{ 4 }", "bad argument #1 to 'errgroup' (unknown option 1: there are backlog, context, grace, "
      .. "interrupt, limit, name, on_error, timeout)" },
    { "g:set_limit(1.5)", "bad argument #1 to 'set_limit' (an integer expected, got 1.5)" },
    { "w.attach(1.5)", "bad argument #1 to 'attach' (an id, as id() gives it, expected, got 1.5)" },
    { "w.attach(1, 'x')", "bad argument #2 to 'attach' ('waitgroup', 'errgroup', 'context' or 'channel' expected, got 'x')" },
    { "w.use(5)", "bad argument #1 to 'use' (the name of an event loop, an adapter, or nil expected, got 5)" },
    { "wg.add(g)", "bad argument #1 to 'add' (waitgroup.WaitGroup expected, got waitgroup.ErrGroup)" },
    { "wg.wait()", "bad argument #1 to 'wait' (waitgroup.WaitGroup expected, got no value)" },
    { "wg:wait(-1)", "bad argument #1 to 'wait' (seconds must not be negative or NaN, got -1.0)" },
    { "wg:wait(nan)", "bad argument #1 to 'wait' (seconds must not be negative or NaN, got -nan)" },
    { "wg:wait('1')", "bad argument #1 to 'wait' (seconds expected, got string)" },
    { "wg:wait(1, 5)", "bad argument #2 to 'wait' (waitgroup.Context expected, got number)" },
    { "wg:wait(1, wg)", "bad argument #2 to 'wait' (waitgroup.Context expected, got waitgroup.WaitGroup)" },
    { "wg:go()", "bad argument #1 to 'go' (function expected, got no value)" },
    { "wg:go(5)", "bad argument #1 to 'go' (function expected, got number)" },
    { "g:go()", "bad argument #1 to 'go' (function expected, got no value)" },
    { "g:go({})", "bad argument #1 to 'go' (function expected, got table)" },
    { "g:try_go('x')", "bad argument #1 to 'try_go' (function expected, got string)" },
    { "g.go(f)", "bad argument #1 to 'go' (waitgroup.ErrGroup expected, got function)" },
    { "g:go(f, table.unpack({}, 1, 251))", "251 arguments are more than the 250 that a task can take: use a table" },
    { "g:thread()", "bad argument #1 to 'thread' (a Lua function or the name of a module expected, got no value)" },
    { "g:thread(print)", "bad argument #1 to 'thread' (a Lua function or the name of a module expected, got a C function)" },
    { "g:thread('string', 5)",
      "bad argument #2 to 'thread' (the name of a function in module 'string', or nil, expected, got number)" },
    { "g:thread(f, coroutine.create(f))", "cannot start a thread task: argument 2: a coroutine cannot cross threads" },
    { "g:try_thread(f, io.stdout)", "cannot start a thread task: argument 2: a FILE* cannot cross threads" },
    { "g:wait(-0.5)", "bad argument #1 to 'wait' (seconds must not be negative or NaN, got -0.5)" },
    { "g.wait(ctx)", "bad argument #1 to 'wait' (waitgroup.ErrGroup expected, got waitgroup.Context)" },
    { "g:set_limit(0)", "bad argument #1 to 'set_limit' (a limit is a positive integer or nil, got 0)" },
    { "g:set_limit(-1)", "bad argument #1 to 'set_limit' (a limit is a positive integer or nil, got -1)" },
    { "g.cancel(wg)", "bad argument #1 to 'cancel' (waitgroup.ErrGroup expected, got waitgroup.WaitGroup)" },
    { "ctx:wait(-1)", "bad argument #1 to 'wait' (seconds must not be negative or NaN, got -1.0)" },
    { "ctx:on_cancel()", "bad argument #1 to 'on_cancel' (function expected, got nil)" },
    { "ctx.cancel()", "bad argument #1 to 'cancel' (waitgroup.Context expected, got nil)" },
    { "w.root():cancel()", "the root of all contexts cannot be cancelled: make a context below it" },
    { "w.sleep(-1)", "bad argument #1 to 'sleep' (seconds must not be negative or NaN, got -1.0)" },
    { "w.sleep({})", "bad argument #1 to 'sleep' (seconds expected, got table)" },
    { "w.run()", "bad argument #1 to 'run' (function expected, got nil)" },
    { "w.on_error(5)", "bad argument #1 to 'on_error' (function expected, got number)" },
    { "w.errgroup(5)", "bad argument #1 to 'errgroup' (a table of options or nil expected, got 5)" },
    { "w.errgroup{ limt = 1 }", "bad argument #1 to 'errgroup' (unknown option 'limt': there are backlog, context, grace, "
      .. "interrupt, limit, name, on_error, timeout)" },
    { "w.errgroup{ limit = 0 }", "bad argument #1 to 'errgroup' (option 'limit': a positive integer expected, got 0)" },
    { "w.errgroup{ limit = 1.5 }", "bad argument #1 to 'errgroup' (option 'limit': a positive integer expected, got 1.5)" },
    { "w.errgroup{ limit = 2^31 | 0 }", "bad argument #1 to 'errgroup' (option 'limit': a positive integer expected, got 2147483648)" },
    { "w.errgroup{ limit = 'x' }", "bad argument #1 to 'errgroup' (option 'limit': a positive integer expected, got 'x')" },
    { "w.errgroup{ on_error = 'stop' }",
      "bad argument #1 to 'errgroup' (option 'on_error': 'cancel' or 'continue' expected, got 'stop')" },
    { "g:map(5, {})", "bad argument #1 to 'map' (function expected, got number)" },
    { "g:map(f, 5)", "bad argument #2 to 'map' (a list expected, got number)" },
    { "g.map(wg, f, {})", "bad argument #1 to 'map' (waitgroup.ErrGroup expected, got waitgroup.WaitGroup)" },
    { "g:thread_map(print, { 1 })",
      "bad argument #1 to 'thread_map' (a Lua function or the name of a module expected, got a C function)" },
    { "g:thread_map(f, { io.stdout })", "cannot start a thread task: argument 2: a FILE* cannot cross threads" },
    { "g:as_completed(5)", "bad argument #1 to 'as_completed' (a list of the tasks that go and thread returned expected, "
      .. "got number)" },
    { "g.as_completed(wg)", "bad argument #1 to 'as_completed' (waitgroup.ErrGroup expected, got waitgroup.WaitGroup)" },
    { "w.wait_any{ 5 }", "bad argument #1 to 'wait_any' (element 1 is a number, not a task)" },
    { "w.wait_any({ g:go(f) }, 'x')", "bad argument #2 to 'wait_any' (seconds expected, got string)" },
    { "w.select(5)", "bad argument #1 to 'select' (a table of cases expected, got number)" },
    { "w.select { w.channel(1), timout = 1 }",
      "bad argument #1 to 'select' (unknown field 'timout': there are cases from 1 on, and timeout)" },
    { "w.select { { w.channel(1), 1, 2 } }", "bad argument #1 to 'select' (case 1 has 3 elements, not { channel, value })" },
    { "w.use { here = f }", "bad argument #1 to 'use' (an adapter's 'wait' is a function, got nil)" },
    { "w.use { here = 1, wait = f }", "bad argument #1 to 'use' (an adapter's 'here' is a function, got 1)" },
    { "w.use { here = f, wait = f, spawn = {} and 'x' }", "bad argument #1 to 'use' (an adapter's 'spawn' is a function, got 'x')" },
    { "w.dump_on_signal()", "bad argument #1 to 'dump_on_signal' (the number of a signal that can be caught, 'USR1', 'USR2' or "
      .. "'QUIT' expected, got no value)" },
    { "w.dump_on_signal(1 << 33)", "bad argument #1 to 'dump_on_signal' (the number of a signal that can be caught, 'USR1', 'USR2' or "
      .. "'QUIT' expected, got 8589934592)" },
    { "w.run(io.stdout)", "bad argument #1 to 'run' (function expected, got FILE*)" },
    { "wg:add(math.mininteger)",
      "'add' of a wait group with the count 0: 9223372036854775808 less would be negative, so it is unchanged" },
    { "g:go(f):get('x')", "bad argument #1 to 'get' (seconds expected, got string)" },
    { "g:go(f).get()", "bad argument #1 to 'get' (waitgroup.Task expected, got nil)" },
    { "g:thread_map(nil, {})", "bad argument #1 to 'thread_map' (a Lua function or the name of a module expected, got nil)" },
    { "g:start { f, n = 0 }",
      "bad argument #1 to 'start' (field 'n': how many values there are, the function included, 1 to 100000, expected, got 0)" },
    { "g:start { f, n = 1e6 }",
      "bad argument #1 to 'start' (field 'n': how many values there are, the function included, 1 to 100000, expected, got 1000000.0)" },
    { "wg.events()", "bad argument #1 to 'events' (a waitgroup object expected, got no value)" },
    { "wg.timeout(5)", "bad argument #1 to 'timeout' (a waitgroup object expected, got number)" },
    { "w.errgroup{ timeout = -1 }", "bad argument #1 to 'errgroup' (option 'timeout': seconds, not negative and not NaN, expected, got -1)" },
    { "w.errgroup{ grace = nan }", "bad argument #1 to 'errgroup' (option 'grace': seconds, not negative and not NaN, expected, got -nan)" },
    { "w.errgroup{ context = 5 }", "bad argument #1 to 'errgroup' (option 'context': an open waitgroup.Context expected, got 5)" },
    { "w.errgroup{ name = 5 }", "bad argument #1 to 'errgroup' (option 'name': a string without zero bytes expected, got 5)" },
    { "w.errgroup{ name = 'a\\0b' }", "bad argument #1 to 'errgroup' (option 'name': a string without zero bytes expected, got 'a\0b')" },
    { "w.context{ timeout = -1 }", "bad argument #1 to 'context' (option 'timeout': seconds, not negative and not NaN, expected, got -1)" },
    { "w.context{ parent = g }", "bad argument #1 to 'context' (option 'parent': an open waitgroup.Context expected, "
      .. "got waitgroup.ErrGroup (0 running, 0 pending, 0 completed))" },
    { "w.context{ limit = 1 }", "bad argument #1 to 'context' (unknown option 'limit': there are parent, timeout)" },
    { "w.attach('x')", "bad argument #1 to 'attach' (an id, as id() gives it, expected, got 'x')" },
    { "w.attach(1)", "bad argument #1 to 'attach' (the id 1: no object has this id: pass on what id gave, and let both sides use "
      .. "the same shared libwaitgroup)" },
    { "g:go(f):result(-1)", "bad argument #1 to 'result' (seconds must not be negative or NaN, got -1.0)" },
    { "g:go(f).result(5)", "bad argument #1 to 'result' (waitgroup.Task expected, got number)" },
  }
  for _, case in ipairs(cases) do
    it(case[1], function()
      local message = message_of(case[1])
      assert.equal(case[2], message)
    end)
  end
end)

describe("the coroutine of a suspended task", function()
  -- A group with one task that suspends itself in `wait`, and its coroutine.
  local function suspended(wait)
    local g, co = waitgroup.errgroup(), nil
    g:go(function()
      co = coroutine.running()
      wait()
    end)
    assert.is_nil(g:wait(0))
    return g, co
  end

  for name, wait in pairs { wait = function() waitgroup.new(1):wait(10) end, sleep = function() waitgroup.sleep(0.01) end,
                            yield = waitgroup.yield } do
    it("is not to be resumed by others: " .. name, function()
      local g, co = suspended(wait)
      local resumed, message = coroutine.resume(co, 1)
      assert.is_false(resumed)
      assert.matches("misuse_spec.lua:%d+: this coroutine is that of a suspended waitgroup task: only what the task "
        .. "waits for resumes it$", message)
      assert.equal(message, select(2, g:wait(10)))
    end)
  end

  it("is not to be closed by others", function()
    local g, co = suspended(function() waitgroup.sleep(0.01) end)
    assert.is_true(coroutine.close(co))
    assert.same({ nil, "somebody else closed the coroutine of this task" }, { table.unpack({ g:wait(10) }, 1, 2) })
  end)
end)

describe("a float that stands for an integer", function()
  it("is one, wherever an integer is taken", function()
    local g = waitgroup.errgroup { limit = 8 / 2, interrupt = 1e6 }
    assert.equal("integer", math.type(g:limit()))
    assert.equal(4, g:limit())
    g:set_limit(6 / 2)
    assert.equal(3, g:limit())
    local wg = waitgroup.new(4 / 2)
    wg:add(2 / 2)
    assert.equal(3, wg:count())
    assert.equal(wg, waitgroup.attach(wg:id() + 0.0))
  end)
end)

describe("a global that is not there on another thread", function()
  it("is explained", function()
    local env = setmetatable({ helper = print }, { __index = _G })
    for _, code in ipairs { "helper(1)", "helper.x()", "helper:x()", "pcall(print) helper.y.z = 1" } do
      local g = waitgroup.errgroup()
      g:thread(assert(load(code, "=here", "t", env)))
      local _, message = g:wait(20)
      assert.matches("^here:1: .*a nil value.*: globals do not travel to thread tasks: "
        .. "pass it as an upvalue or an argument, or require it there$", message)
    end
  end)

  it("is not, for another error", function()
    local g = waitgroup.errgroup()
    g:thread(function() local t = {} return t.x.y end)
    local _, message = g:wait(20)
    assert.matches("a nil value %(field 'x'%)$", message)
  end)
end)

describe("what is not there", function()
  it("is nil, and not nothing, which other functions take for a missing argument", function()
    local g, context = waitgroup.errgroup(), waitgroup.context()
    for name, call in pairs {
      limit = function() return g:limit() end,
      err = function() return context:err() end,
      remaining = function() return context:remaining() end,
      current_context = function() return waitgroup.current_context() end,
      on_error = function() return waitgroup.on_error(nil) end,
    } do
      assert.same({ n = 1 }, table.pack(call()), name)
    end
    assert.is_true(g:wait())
  end)
end)

describe("the module", function()
  it("has the version of the core", function()
    local header = assert(io.open("core/include/waitgroup/status.h")):read("a")
    assert.equal(header:match('#define WG_VERSION "(.-)"'), waitgroup._VERSION)
  end)

  it("does not report what a task of a group throws", function()
    local reported
    local old = waitgroup.on_error(function() reported = true end)
    local g = waitgroup.errgroup()
    g:go(error, "x")
    g:wait()
    assert.is_nil(reported)
    waitgroup.on_error(old)
  end)
end)

it("a function that is called by no name is named all the same", function()
  local g, wg = waitgroup.errgroup(), waitgroup.new()
  local task, name = g:go(function() end), "new"
  for _, case in ipairs {
    { "bad argument #2 to 'map' (a list expected, got nil)", g.map, g, print },
    { "bad argument #2 to 'thread_map' (a list expected, got string)", g.thread_map, g, print, "abc" },
    { "bad argument #1 to 'wait' (seconds expected, got string)", g.wait, g, "5" },
    { "bad argument #1 to 'add' (an integer expected, got 'x')", wg.add, wg, "x" },
    { "bad argument #1 to 'map' (function expected, got nil)", function() return g:map(nil, {}) end },
    { "bad argument #1 to 'go' (function expected, got no value)", g.go, g },
    { "bad argument #1 to 'set_limit' (a limit is a positive integer or nil, got 0)", g.set_limit, g, 0 },
    { "bad argument #1 to 'result' (seconds expected, got string)", task.result, task, "x" },
    { "bad argument #1 to 'on_cancel' (function expected, got number)", g:context().on_cancel, g:context(), 5 },
    { "bad argument #1 to 'new' (an integer expected, got 'x')", waitgroup.new, "x" },
    { "bad argument #1 to 'new' (an integer expected, got 'x')", function() return waitgroup[name]("x"), 1 end },
    { "bad argument #1 to 'channel' (a capacity is 0 to", waitgroup.channel, -1 },
    { "bad argument #1 to 'select' (1 to 1000 cases expected, got 0)", waitgroup.select, {} },
    { "bad argument #1 to 'sleep' (seconds must not be negative", waitgroup.sleep, -1 },
    { "bad argument #1 to 'run' (function expected, got number)", waitgroup.run, 5 },
    { "bad argument #1 to 'on_error' (function expected, got number)", waitgroup.on_error, 5 },
    { "bad argument #1 to 'use' (the name of an event loop", waitgroup.use, 5 },
    { "bad argument #1 to 'dump' (an open file or nil expected", waitgroup.dump, 5 },
    { "bad argument #1 to 'trace' (the name of a file expected", waitgroup.trace, 5 },
    { "bad argument #1 to 'dump_on_signal' (the number of a signal", waitgroup.dump_on_signal, {} },
  } do
    local _, message = pcall(table.unpack(case, 2))
    assert.matches(case[1], message, 1, true)
  end
  assert.is_true(g:wait())
end)
