-- Channels: between coroutines, threads and states.
local waitgroup = require "waitgroup"
local peer = require "peer"

local function must(ok, ...)
  assert(ok, ...)
  return ok, ...
end

describe("a channel", function()
  it("gives values in the order of sending", function()
    local ch, got = waitgroup.channel(3), {}
    for i = 1, 3 do
      assert.is_true(ch:send(i))
    end
    assert.equal(3, ch:count())
    for i = 1, 3 do
      got[i] = ch:receive()
    end
    assert.same({ 1, 2, 3 }, got)
    assert.equal(0, ch:count())
  end)

  it("copies them, as they cross threads", function()
    local ch, t, wg = waitgroup.channel(9), { { 1 } }, waitgroup.new()
    t.self = t
    ch:send(t)
    ch:send(false)
    ch:send(wg)
    ch:send(string.upper)
    local got = ch:receive()
    assert.is_true(got ~= t and got.self == got and got[1][1] == 1)
    assert.is_false(ch:receive())
    assert.equal(wg, ch:receive())
    assert.equal(string.upper, ch:receive())
  end)

  it("without room hands over", function()
    local ch, log = waitgroup.channel(), {}
    local g = waitgroup.errgroup()
    g:go(function()
      for i = 1, 3 do
        must(ch:send(i))
        log[#log + 1] = "sent " .. i
      end
    end)
    assert.same({ nil, "timeout" }, { ch:receive(0) })
    assert.equal(1, ch:receive())
    assert.equal(2, ch:receive())
    waitgroup.yield()
    assert.same({ "sent 1", "sent 2" }, { log[1], log[2] })
    assert.equal(3, ch:receive())
    must(g:wait(20))
  end)

  it("makes who sends wait for room, and serves in the order of coming", function()
    local ch, g, order = waitgroup.channel(1), waitgroup.errgroup(), {}
    ch:send(0)
    for i = 1, 5 do
      g:go(function()
        must(ch:send(i))
        order[#order + 1] = i
      end)
    end
    waitgroup.sleep(0)
    assert.equal("waitgroup.Channel (1 of 1, waits to be received from)", tostring(ch))
    for i = 0, 5 do
      assert.equal(i, ch:receive(20))
    end
    must(g:wait(20))
    assert.same({ 1, 2, 3, 4, 5 }, order)
  end)

  it("times out, and leaves nothing behind", function()
    local ch = waitgroup.channel()
    for _, timeout in ipairs { 0, 0.01 } do
      assert.same({ nil, "timeout" }, { ch:receive(timeout) })
      assert.same({ nil, "timeout" }, { ch:send(1, timeout) })
    end
    assert.equal("waitgroup.Channel (0 of 0)", tostring(ch))
    waitgroup.run(function()
      assert.same({ nil, "timeout" }, { ch:receive(0.01) })
      assert.same({ nil, "timeout" }, { ch:send(1, 0.01) })
    end)
    assert.equal("waitgroup.Channel (0 of 0)", tostring(ch))
  end)

  it("ends waits with the context of the task", function()
    local ch = waitgroup.channel()
    for _, wait in ipairs { function() return ch:receive() end, function() return ch:send(1) end,
                            function() return waitgroup.select { ch, { ch, 2 } } end } do
      local g = waitgroup.errgroup { timeout = 0.01 }
      local task = g:go(wait)
      assert.same({ nil, "deadline exceeded" }, { g:wait(20) })
      assert.same({ true, nil, "deadline exceeded" }, { task:result() })
      g = waitgroup.errgroup()
      task = g:thread(function(c, name)
        if name == "send" then
          return c:send(1)
        end
        return c:receive()
      end, ch, wait == 2 and "send" or "receive")
      g:cancel("why")
      assert.same({ nil, "cancelled", "why" }, { g:wait(20) })
      local ok, first, why = task:result()
      assert.is_true(ok == nil and first == "cancelled" or (first == nil and why == "cancelled"))
    end
    assert.equal("waitgroup.Channel (0 of 0)", tostring(ch))
  end)

  it("is closed: what it holds can be received, and then no more", function()
    local ch = waitgroup.channel(2)
    ch:send(1)
    assert.is_false(ch:closed())
    assert.is_true(ch:close())
    assert.is_false(ch:close())
    assert.is_true(ch:closed())
    assert.same({ nil, "closed" }, { ch:send(2) })
    assert.equal(1, ch:receive())
    assert.same({ nil, "closed" }, { ch:receive() })
  end)

  it("wakes all that wait when it is closed", function()
    local ch, g, ended = waitgroup.channel(), waitgroup.errgroup(), {}
    for i = 1, 3 do
      g:go(function() ended[i] = { ch:receive() } end)
    end
    g:thread(function(c) assert(select(2, c:receive()) == "closed") end, ch)
    waitgroup.sleep(0.01)
    ch:close()
    must(g:wait(20))
    assert.same({ { nil, "closed" }, { nil, "closed" }, { nil, "closed" } }, ended)
    ch, g = waitgroup.channel(), waitgroup.errgroup()
    local sender = g:go(function() return ch:send(1) end)
    waitgroup.sleep(0)
    ch:close()
    must(g:wait(20))
    assert.same({ true, nil, "closed" }, { sender:result() })
    assert.same({ nil, "closed" }, { ch:receive() })
  end)

  it("is closed at the end of a block", function()
    local kept
    do
      local ch <close> = waitgroup.channel()
      kept = ch
    end
    assert.is_true(kept:closed())
  end)

  it("is walked over to its end", function()
    local ch, sum = waitgroup.channel(4), 0
    local g = waitgroup.errgroup()
    g:thread(function(c)
      for i = 1, 100 do
        assert(c:send(i))
      end
      c:close()
    end, ch)
    for value in ch:each() do
      sum = sum + value
    end
    assert.equal(5050, sum)
    must(g:wait(20))
  end)

  it("carries each value once, between many threads and coroutines", function()
    local ch, results = waitgroup.channel(3), waitgroup.channel(100)
    local producers, consumers = waitgroup.errgroup(), waitgroup.errgroup()
    local function produce(c, from)
      for i = from, from + 999 do
        assert(c:send(i))
      end
    end
    local function consume(c, out)
      local n, sum = 0, 0
      for value in c:each() do
        n, sum = n + 1, sum + value
      end
      assert(out:send { n, sum })
    end
    for i = 0, 2 do
      producers:thread(produce, ch, i * 1000 + 1)
      consumers:thread(consume, ch, results)
    end
    producers:go(produce, ch, 3001)
    consumers:go(consume, ch, results)
    must(producers:wait(60))
    ch:close()
    must(consumers:wait(60))
    local n, sum = 0, 0
    for _ = 1, 4 do
      local result = results:receive(0)
      n, sum = n + result[1], sum + result[2]
    end
    assert.same({ 4000, 4000 * 4001 // 2 }, { n, sum })
  end)

  it("is found by its id in another state", function()
    local ch, g = waitgroup.channel(1), waitgroup.errgroup()
    g:thread(function(id) require("waitgroup").attach(id, "channel"):send("x") end, ch:id())
    assert.equal("x", ch:receive(20))
    must(g:wait(20))
    assert.equal(ch, waitgroup.attach(ch:id()))
  end)

  it("refuses what cannot cross, and is as it was", function()
    local ch = waitgroup.channel(1)
    for call, message in pairs {
      [function() ch:send() end] = "bad argument #1 to 'send' %(nil cannot be sent, as it stands for no value where it is "
        .. "received%)$",
      [function() ch:send({ { coroutine.create(print) } }) end] =
        "cannot send to a channel: value, element 1, element 1: a coroutine cannot cross threads$",
      [function() ch:send(1, -1) end] = "bad argument #2 to 'send' %(seconds must not be negative or NaN, got %-1.0%)$",
      [function() ch:receive("x") end] = "bad argument #1 to 'receive' %(seconds expected, got string%)$",
      [function() waitgroup.channel(-1) end] = "bad argument #1 to 'channel' %(a capacity is 0 to 2147483647, got %-1%)$",
      [function() waitgroup.channel(1.5) end] = "bad argument #1 to 'channel' %(an integer expected, got 1.5%)$",
      [function() waitgroup.select { ch, 5 } end] = "%(case 2 is no channel to receive from, and no { channel, value } to send%)$",
      [function() waitgroup.select { { ch } } end] = "%(case 1 has no value to send%)$",
      [function() waitgroup.select {} end] = "%(1 to 1000 cases expected, got 0%)$",
      [function() waitgroup.select { ch, { ch, io.stdout } } end] =
        "cannot send in case 2 of a select: value: a FILE%* cannot cross threads$",
    } do
      local ok, text = pcall(call)
      assert.is_false(ok)
      assert.matches("^tests/lua/channel_spec.lua:%d+: ", text)
      assert.matches(message, text)
    end
    assert.equal("waitgroup.Channel (0 of 1)", tostring(ch))
    assert.equal(4, (function() local c = waitgroup.channel(8 / 2) for i = 1, 4 do must(c:send(i, 0)) end return c:count() end)())
  end)

  it("that nobody else can reach is a deadlock to wait for, which is named", function()
    local ch = waitgroup.channel()
    local ok, message = pcall(ch.receive, ch)
    assert.is_false(ok)
    assert.equal("waitgroup.Channel (0 of 0)", tostring(ch))
    assert.matches("deadlock: .*a value from a channel", message)
    local g = waitgroup.errgroup()
    g:go(function() ch:send(1) end)
    g:go(function() waitgroup.channel():receive() end)
    ok, message = pcall(g.wait, g)
    assert.is_false(ok)
    assert.matches("room in a channel", message)
    g:cancel()
    must(g:wait(20))
  end)

  it("that becomes known to a thread is not", function()
    local ch, g = waitgroup.channel(), waitgroup.errgroup()
    local value
    g:go(function() value = must(ch:receive(20)) end)
    g:go(function()
      waitgroup.yield()
      g:thread(function(c) require("waitgroup").sleep(0.02) assert(c:send("late")) end, ch)
    end)
    must(g:wait(20))
    assert.equal("late", value)
  end)
end)

describe("select", function()
  it("takes the first case that can go on", function()
    local a, b = waitgroup.channel(1), waitgroup.channel(1)
    assert.same({ nil, "timeout" }, { waitgroup.select { a, b, timeout = 0 } })
    b:send("b")
    assert.same({ 2, "b" }, { waitgroup.select { a, b } })
    assert.same({ 2, true }, { waitgroup.select { a, { b, "sent" } } })
    assert.equal("sent", b:receive())
    a:send(1)
    b:send(2)
    assert.same({ 1, 1 }, { waitgroup.select { a, b } })
    a:close()
    assert.same({ 1, nil, "closed", n = 3 }, table.pack(waitgroup.select { a, b }))
    assert.equal(2, b:receive())
  end)

  it("waits for any, and leaves all others", function()
    local a, b, c = waitgroup.channel(), waitgroup.channel(), waitgroup.channel()
    local g = waitgroup.errgroup()
    local task = g:go(function() return waitgroup.select { a, b, { c, "to c" } } end)
    waitgroup.sleep(0)
    assert.equal("waitgroup.Channel (0 of 0, waits to be received from)", tostring(c))
    assert.is_true(b:send("to b", 20))
    must(g:wait(20))
    assert.same({ true, 2, "to b" }, { task:result() })
    for _, ch in ipairs { a, b, c } do
      assert.equal("waitgroup.Channel (0 of 0)", tostring(ch))
    end
    assert.same({ nil, "timeout" }, { waitgroup.select { a, { c, 1 }, timeout = 0.01 } })
    assert.equal("waitgroup.Channel (0 of 0)", tostring(c))
  end)

  it("meets another select", function()
    local a, b = waitgroup.channel(), waitgroup.channel()
    local g = waitgroup.errgroup()
    local one = g:thread(function(x, y) return require("waitgroup").select { x, y } end, a, b)
    local two = g:thread(function(x, y) return require("waitgroup").select { { y, "y" }, { x, "x" } } end, a, b)
    must(g:wait(20))
    local _, index, value = one:result()
    local _, sent = two:result()
    assert.equal(value, index == 1 and "x" or "y")
    assert.equal(sent, value == "y" and 1 or 2)
  end)

  it("may name a channel twice", function()
    local ch = waitgroup.channel()
    local g = waitgroup.errgroup()
    g:go(function() must(ch:send(5)) end)
    assert.same({ 1, 5 }, { waitgroup.select { ch, ch, timeout = 20 } })
    must(g:wait(20))
    assert.equal("waitgroup.Channel (0 of 0)", tostring(ch))
  end)
end)

describe("the descriptor of a channel", function()
  local core = require "waitgroup.core"

  it("says whether a receive would wait", function()
    local ch = waitgroup.channel(1)
    assert.is_false(core.readable(ch:pollfd()))
    ch:send(1)
    assert.is_true(core.readable(ch:pollfd()))
    ch:receive()
    assert.is_false(core.readable(ch:pollfd()))
    ch:close()
    assert.is_true(core.readable(ch:pollfd()))
  end)

  it("is polled by cqueues", function()
    local cqueues = peer.get "cqueues"
    if not cqueues then
      return pending "cqueues is not there"
    end
    local ch, g, got = waitgroup.channel(1), waitgroup.errgroup(), nil
    g:thread(function(c) require("waitgroup").sleep(0.02) c:send("x") end, ch)
    local queue = cqueues.new()
    queue:wrap(function()
      assert(cqueues.poll(ch, 20) == ch)
      got = ch:receive(0)
    end)
    assert(queue:loop(30))
    assert.equal("x", got)
    must(g:wait(20))
  end)
end)

describe("a coroutine that something closes while it waits in a channel", function()
  local waits = {
    receive = function(ch) ch:receive() end,
    ["receive in a select"] = function(ch) waitgroup.select { ch, waitgroup.channel() } end,
    send = function(ch) ch:send("lost") end,
  }
  for name, wait in pairs(waits) do
    it(name .. ": is served by nobody, and its task ends", function()
      local g, ch, co = waitgroup.errgroup(), waitgroup.channel(), nil
      g:go(function()
        co = coroutine.running()
        wait(ch)
      end)
      repeat
        waitgroup.yield()
      until tostring(ch):find "waits to be"
      assert.is_true(coroutine.close(co))
      assert.equal("waitgroup.Channel (0 of 0)", tostring(ch))
      if name == "send" then
        assert.same({ nil, "timeout" }, { ch:receive(0) })
      else
        assert.same({ nil, "timeout" }, { ch:send("lost", 0) })
      end
      local _, err = g:wait(20)
      assert.equal("somebody else closed the coroutine of this task", err)
    end)
  end
end)
