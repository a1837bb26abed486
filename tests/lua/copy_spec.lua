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

  it("keeps metatables", function()
    local class = { __len = function() return 9 end }
    class.__index = class
    function class.double(self) return 2 * self[1] end
    local object = setmetatable({ 21 }, class)
    local got = echo({ object, object, setmetatable({}, class) })
    assert.equal(9, #got[1])
    assert.equal(42, got[1]:double())
    assert.equal(got[1], got[2])
    assert.equal(getmetatable(got[1]), getmetatable(got[3]))
    assert.is_true(getmetatable(got[1]) ~= class)
    local self = setmetatable({}, { __metatable = "locked" })
    debug.getmetatable(self).__index = self
    assert.equal("locked", getmetatable(echo(self)))
    assert.equal("object", getmetatable(echo(setmetatable({}, { __jsontype = "object" }))).__jsontype)
  end)

  it("has the metatable of its module, where that is one", function()
    local path = package.path
    package.path = "tests/lua/modules/?.lua;" .. path
    local account = require "account"
    local g = waitgroup.errgroup()
    local task = g:thread(function(a)
      a:deposit(5)
      return a, getmetatable(a) == require "account"
    end, account.new(1))
    g:wait(20)
    local ok, back, same = task:result()
    package.path = path
    assert(ok, back)
    assert.is_true(same)
    assert.equal(account, getmetatable(back))
    assert.equal(6, back.balance)
  end)

  it("keeps light userdata", function()
    local null = debug.upvalueid(echo, 1) -- as cjson.null is one
    assert.equal("userdata", type(null))
    assert.equal(null, echo(null))
    assert.equal(null, echo({ x = { null } }).x[1])
    local got = echo(function() return null end)
    assert.equal(null, got())
  end)

  it("of a library's table, on its way back, is that library", function()
    local g = waitgroup.errgroup()
    local task = g:thread(function() return string, { math } end)
    assert(g:wait(20))
    local _, s, m = task:result()
    assert.equal(string, s)
    assert.equal(math, m[1])
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
  end)

  it("a table with a finalizer, or a metatable with something that cannot cross", function()
    assert.matches("argument 2: a table with a finalizer %(__gc%) cannot cross threads, as it would be finalized in both: "
      .. "give its metatable a __copy$", refusal(f, setmetatable({}, { __gc = f })))
    assert.matches("argument 2, element 1, its metatable, field '__index', field 'co': a coroutine cannot cross threads$",
      refusal(f, { setmetatable({}, { __index = { co = coroutine.create(f) } }) }))
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

describe("a type with __copy", function()
  local g = waitgroup.errgroup()
  local function refusal(value)
    local ok, message = pcall(g.thread, g, function() end, value)
    assert.is_false(ok)
    return message
  end

  it("is made anew by the function and the arguments that it gives", function()
    local class = { __copy = function(self) return function(n) return { made = n } end, self.n + 1 end }
    local object = setmetatable({ n = 1, co = coroutine.create(print) }, class)
    local got = echo({ object, { object }, setmetatable({ n = 5 }, class) })
    assert.equal(2, got[1].made)
    assert.equal(got[1], got[2][1])
    assert.equal(6, got[3].made)
    assert.equal("x", echo(setmetatable({}, { __copy = function() return string.rep, "x", 1 end })))
  end)

  it("or by a module and its function", function()
    local got = echo(setmetatable({}, { __copy = function() return "string", "rep", "ab", 2 end }))
    assert.equal("abab", got)
  end)

  it("may be a plain copy", function()
    local got = echo(setmetatable({ 1, { 2 } }, { __copy = true, __gc = print }))
    assert.same({ 1, { 2 } }, got)
    assert.is_nil(getmetatable(got))
  end)

  it("may be a userdata of a host, or in an upvalue", function()
    local file = io.stdout
    local metatable = getmetatable(file)
    metatable.__copy = function() return "io", "output" end
    local h = waitgroup.errgroup()
    local task = h:thread(function(same) return same == io.stdout, file == io.stdout end, file)
    metatable.__copy = nil
    h:wait(20)
    assert.same({ true, true, true }, { task:result() })
  end)

  it("may make what it gives for the moment only", function()
    local made = {}
    for i = 1, 300 do
      made[i] = setmetatable({ i }, { __copy = function(self)
        collectgarbage()
        return function(t) return t.list[1] end, { list = { self[1] } }
      end })
    end
    local got = echo(made)
    for i = 1, 300 do
      assert.equal(i, got[i])
    end
  end)

  it("is refused if that fails, gives nothing that can be called, or contains itself", function()
    local function with(copy)
      return { setmetatable({}, { __copy = copy }) }
    end
    assert.matches("argument 2, element 1: its __copy failed: no$", refusal(with(function() error("no", 0) end)))
    assert.matches("argument 2, element 1: its __copy is a string, where a function, or true, is expected$",
      refusal(with("x")))
    assert.matches("element 1: its __copy gave nothing: a function or the name of a module, and arguments, expected$",
      refusal(with(function() end)))
    assert.matches("element 1: its __copy gave no function or name of a module first$", refusal(with(function() return 5 end)))
    assert.matches("element 1, value 2 of its __copy: a coroutine cannot cross threads$",
      refusal(with(function() return print, coroutine.create(print) end)))
    assert.matches("element 1, value 2 of its __copy: it contains itself, which its __copy cannot give$",
      refusal(with(function(self) return print, self end)))
    assert.matches("its __copy failed: attempt to yield", refusal(with(coroutine.yield)))
    assert.is_true(g:wait(0))
  end)

  it("that changes what is being copied is refused, and nothing is lost", function()
    local t = {}
    for i = 1, 40 do
      t["k" .. i] = setmetatable({}, { __copy = function()
        for n = 1, 100 do t[n + 0.5] = n end
        for key in pairs(t) do if math.type(key) ~= "float" then t[key] = nil end end
        collectgarbage()
        return type, 1
      end })
    end
    local h = waitgroup.errgroup()
    pcall(h.thread, h, function() end, t)
    assert.is_not_nil(h:wait(20))
  end)
end)
