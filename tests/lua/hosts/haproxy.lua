-- Services for HAProxy, which runs this at its start.
local waitgroup = require "waitgroup"
local tour = require "tour"
waitgroup.use "haproxy"

local function service(name, fn)
  core.register_service(name, "http", function(applet)
    local ok, answer = pcall(fn, applet)
    answer = tostring(answer)
    applet:set_status(ok and 200 or 500)
    applet:add_header("content-length", #answer)
    applet:start_response()
    applet:send(answer)
  end)
end

service("tour", function() return tour.run() end)
service("alone", function() return tour.run(tour.threads()) end)

-- Waits until "release" is asked for.
local released = waitgroup.new(1)
service("held", function() return table.concat({ tostring(released:wait(60)), "released" }, " ") end)
service("release", function()
  released:done()
  return "released"
end)

service("held_by_thread", function()
  local g <close> = waitgroup.errgroup()
  return g:thread(function(wg) return tostring(wg:wait(60)) end, released):get(60)
end)

-- Tasks sleep and read as coroutines of HAProxy do.
service("io", function(applet)
  local port = applet.headers["x-port"][0]
  local g <close> = waitgroup.errgroup { limit = 3 }
  local answers = assert(g:map(function(n)
    core.msleep(10)
    core.yield()
    local connection = core.tcp()
    connection:settimeout(60)
    assert(connection:connect("127.0.0.1", port))
    connection:send("GET /hello HTTP/1.0\r\n\r\n")
    local answer = assert(connection:receive("*a"))
    connection:close()
    return n .. answer:match("\r\n\r\n(.*)$")
  end, { 1, 2, 3, 4, 5 }))
  return table.concat(answers, " ")
end)
service("hello", function() return "hello" end)

-- A coroutine of HAProxy joins a group.
service("joined", function()
  local g <close> = waitgroup.errgroup { limit = 1 }
  for _ = 1, 2 do
    assert(g:enter())
    core.register_task(function()
      core.msleep(20)
      g:leave()
    end)
  end
  assert(g:wait(60))
  return g:completed()
end)

-- A task that nobody waits for, started before HAProxy runs.
local started = waitgroup.new(1)
waitgroup.errgroup():go(function()
  waitgroup.sleep(0.01)
  started:done()
end)
service("started", function() return started:wait(60) end)

-- A task that has blocked its C stack goes on in another thread of HAProxy, perhaps, and for another coroutine.
service("blocked", function()
  local g <close> = waitgroup.errgroup()
  local task = g:go(function()
    local text = ("a b c"):gsub("%a", function(letter)
      waitgroup.sleep(0.03)
      return letter .. letter
    end)
    core.msleep(1)
    return text
  end)
  return task:get(60)
end)
