-- What crosses threads, and how; what does not is refused by name at the call, and nothing has changed.
local waitgroup = require "waitgroup"

local function echo(...)
  local g = waitgroup.errgroup()
  local task = g:thread(function(...) return ... end, ...)
  assert(g:wait(30))
  return select(2, task:result())
end

describe("a copy", function()
  it("keeps numbers as they are", function()
    for _, n in ipairs { 0, 1, -1, 255, 256, math.maxinteger, math.mininteger, 0.0, 1.0, 0.1, -1e308, math.huge, -math.huge,
      2^53 } do
      local got = echo(n)
      assert.equal(n, got)
      assert.equal(math.type(n), math.type(got))
    end
    assert.equal(-math.huge, 1 / echo(-0.0))
    local nan = echo(0 / 0)
    assert.is_true(nan ~= nan)
  end)

  it("keeps strings of any bytes and length", function()
    for _, s in ipairs { "", "\0", "a\0b", ("x"):rep(40), ("long\0"):rep(100000) } do
      assert.equal(s, echo(s))
    end
  end)

  it("keeps tables, their holes and keys", function()
    local t = { 1, nil, 3, x = { y = { z = true } }, [false] = 0, [1.5] = 1, [-1] = -1, [2^40 | 0] = "far" }
    assert.same(t, echo(t))
    assert.same({}, echo({}))
    local sparse = {}
    for i = 0, 40 do
      sparse[1 << i] = i
    end
    assert.same(sparse, echo(sparse))
  end)

  it("keeps cycles and shared references", function()
    local t, key = {}, {}
    t.self, t.list, t[key] = t, { t }, key
    local got = echo({ t, t, key })
    assert.equal(got[1], got[2])
    assert.equal(got[1], got[1].self)
    assert.equal(got[1], got[1].list[1])
    assert.equal(got[3], got[1][got[3]])
    assert.is_true(got[1] ~= t)
  end)

  it("keeps functions, which share what they shared", function()
    local n = 1
    local function up() n = n + 1 return n end
    local function get() return n end
    local got = echo({ up = up, get = get, again = up })
    assert.equal(got.up, got.again)
    assert.equal(2, got.up())
    assert.equal(2, got.get())
    assert.equal(1, n)
  end)

  it("keeps library functions and rebinds globals", function()
    assert.equal(print, echo(print))
    assert.equal(string.format, echo(string.format))
    assert.equal(_ENV.tostring, echo(load("return function() return tostring end"))()())
  end)

  it("leaves metatables behind", function()
    local got = echo(setmetatable({ 1 }, { __index = { x = 1 }, __len = function() return 9 end }))
    assert.is_nil(getmetatable(got))
    assert.same({ 1 }, got)
  end)

  it("of ours is the same object", function()
    local wg, g, context = waitgroup.new(3), waitgroup.errgroup(), waitgroup.context()
    local got = echo({ wg, g, context, wg })
    assert.equal(wg, got[1])
    assert.equal(g, got[2])
    assert.equal(context, got[3])
    assert.equal(wg, got[4])
  end)

  it("of any tree is equal to it", function()
    local state = 42
    local function random(n)
      state = (state * 1103515245 + 12345) % 2147483648
      return (state >> 8) % n + 1
    end
    local function value(depth)
      local kind = random(depth > 4 and 4 or 6)
      if kind == 1 then
        return random(1000) - 500
      elseif kind == 2 then
        return random(1000) / 7
      elseif kind == 3 then
        return ("s"):rep(random(60)) .. random(10)
      elseif kind == 4 then
        return random(2) == 1
      end
      local t = {}
      for _ = 1, random(8) do
        t[kind == 5 and #t + 1 or tostring(random(100))] = value(depth + 1)
      end
      return t
    end
    for _ = 1, 200 do
      local v = { value(0) }
      assert.same(v, echo(v))
    end
  end)
end)

describe("refused by name is", function()
  local g = waitgroup.errgroup()
  local function refusal(...)
    local ok, message = pcall(g.thread, g, ...)
    assert.is_false(ok)
    return message
  end
  local function f() end

  it("a coroutine", function()
    assert.matches("argument 2: a coroutine cannot cross threads$", refusal(f, coroutine.create(f)))
    assert.matches("argument 3: a coroutine cannot cross threads$", refusal(f, 1, coroutine.create(f)))
    assert.matches("argument 3: a coroutine cannot cross threads$", refusal("string", "len", coroutine.create(f)))
  end)

  it("something deep within", function()
    assert.matches("argument 2, field 'a', element 2, field 'b': a coroutine cannot cross threads$",
      refusal(f, { a = { 1, { b = coroutine.create(f) } } }))
    assert.matches("argument 2, a key: a coroutine cannot cross threads$", refusal(f, { [coroutine.create(f)] = 1 }))
    assert.matches("argument 2, element 99: a coroutine cannot cross threads$", refusal(f, { [99] = coroutine.create(f) }))
    assert.matches("argument 2, element %-7: a coroutine cannot cross threads$", refusal(f, { [-7] = coroutine.create(f) }))
    assert.matches("argument 2, a field: a coroutine cannot cross threads$", refusal(f, { [0.5] = coroutine.create(f) }))
  end)

  it("an upvalue", function()
    local co = coroutine.create(f)
    local function inner() return co end
    assert.matches("argument 1, upvalue 'inner', upvalue 'co': a coroutine cannot cross threads$",
      refusal(function() return inner() end))
  end)

  it("a C function that no module has", function()
    assert.matches("argument 2: a C function that is in no loaded module cannot cross threads$",
      refusal(f, ("x"):gmatch("x")))
    local wrap = coroutine.wrap(f)
    assert.matches("argument 1, upvalue 'wrap': a C function that is in no loaded module cannot cross threads$",
      refusal(function() return wrap() end))
  end)

  it("a userdata of others, or a task", function()
    assert.matches("argument 2: a FILE%* cannot cross threads$", refusal(f, io.stdout))
    local other = waitgroup.errgroup()
    assert.matches("argument 2: a waitgroup.Task cannot cross threads$", refusal(f, other:go(f)))
    assert.matches("argument 2: a waitgroup.Task cannot cross threads$", refusal(f, other:thread(f)))
    assert.is_true(other:wait(20))
    local core, wg = require "waitgroup.core", waitgroup.new()
    local light = core.watch(wg, "zero", 0)
    assert.matches("argument 2: a light userdata cannot cross threads$", refusal(f, light))
    core.unwatch(light)
  end)

  it("nesting without end", function()
    local t = {}
    for _ = 1, 201 do
      t = { t }
    end
    assert.matches("argument 2: it is nested too deep to cross threads %(more than 200 levels%)$", refusal(f, t))
    t = {}
    for _ = 1, 150 do
      t = { t }
    end
    assert.same(t, echo(t))
  end)

  it("a C function as the task", function()
    assert.matches("%(a Lua function or the name of a module expected, got a C function%)$", refusal(print))
  end)

  it("without a trace in the group", function()
    assert.equal(0, g:running() + g:pending())
    assert.is_true(g:wait(0))
  end)
end)
