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
    { "w.new('x')", "bad argument #1 to 'new' (integer expected, got x)" },
    { "w.new(-1)", "bad argument #1 to 'new' (a count is 0 to 2147483647, got -1)" },
    { "wg:add('x')", "bad argument #1 to 'add' (number expected, got string)" },
    { "wg:done(wg:done())", "the count of this wait group would become negative: it is 0, and -1 was to be added" },
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
    { "g:thread(f, coroutine.create(f))", "argument 2: a coroutine cannot cross threads" },
    { "g:try_thread(f, io.stdout)", "argument 2: a FILE* cannot cross threads" },
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
    { "w.errgroup(5)", "a table of options expected, got number" },
    { "w.errgroup{ limt = 1 }", "unknown option 'limt'" },
    { "w.errgroup{ limit = 0 }", "bad option 'limit' (a positive integer expected, got 0)" },
    { "w.errgroup{ limit = 1.5 }", "bad option 'limit' (a positive integer expected, got 1.5)" },
    { "w.errgroup{ limit = 2^31 | 0 }", "bad option 'limit' (a positive integer expected, got 2147483648)" },
    { "w.errgroup{ limit = 'x' }", "bad option 'limit' (a positive integer expected, got 'x')" },
    { "w.errgroup{ timeout = -1 }", "bad option 'timeout' (seconds, not negative and not NaN, expected, got -1)" },
    { "w.errgroup{ grace = nan }", "bad option 'grace' (seconds, not negative and not NaN, expected, got -nan)" },
    { "w.errgroup{ context = 5 }", "bad option 'context' (an open waitgroup.Context expected, got 5)" },
    { "w.errgroup{ name = 5 }", "bad option 'name' (a string without zero bytes expected, got 5)" },
    { "w.errgroup{ name = 'a\\0b' }", "bad option 'name' (a string without zero bytes expected, got 'a\0b')" },
    { "w.context{ timeout = -1 }", "bad option 'timeout' (seconds, not negative and not NaN, expected, got -1)" },
    { "w.context{ parent = g }", "bad option 'parent' (an open waitgroup.Context expected, "
      .. "got waitgroup.ErrGroup (0 running, 0 waiting, 0 ended))" },
    { "w.context{ limit = 1 }", "unknown option 'limit'" },
    { "w.attach('x')", "bad argument #1 to 'attach' (an id, as id() gives it, expected, got string)" },
    { "w.attach(1)", "no object has the id 1: it never existed, or nobody holds it any more (an id does not)" },
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
      g:cancel()
      assert.same({ nil, "cannot resume dead coroutine" }, { table.unpack({ g:wait(10) }, 1, 2) })
    end)
  end

  it("is not to be closed by others", function()
    local g, co = suspended(function() waitgroup.sleep(0.01) end)
    assert.is_true(coroutine.close(co))
    assert.same({ nil, "somebody else closed the coroutine of this task" }, { table.unpack({ g:wait(10) }, 1, 2) })
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
