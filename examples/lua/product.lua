-- Two HTTP services are asked at the same time and their answers merged; then one fails and the request to the other is
-- cancelled at once; then one is too slow and the deadline ends it; in the end nothing is left over.
package.path = arg[0]:match("^.*/") .. "?.lua;" .. package.path

local socket = require "socket"
local uv = require "luv"
local waitgroup = require "waitgroup"
local http = require "http"

local function show(name, outcome, start)
  print(("  %-14s%-26s%5.0f ms"):format(name, outcome, (socket.gettime() - start) * 1000))
end

-- The task: one request, in a thread, which shows what became of it.
local function fetch(name, port)
  local get, now = require("http").get, require("socket").gettime
  local start = now()
  local ok, outcome = pcall(get, port)
  local cancelled = require("waitgroup").current_context():cancelled()
  print(("  %-14s%-26s%5.0f ms"):format(name, cancelled and "cancelled" or outcome, (now() - start) * 1000))
  return ok and outcome or error(outcome, 0)
end

local function product(availability, price, timeout)
  local start = socket.gettime()
  local g <close> = waitgroup.errgroup { timeout = timeout }
  local stock = g:thread(fetch, "availability", availability.port)
  local money = g:thread(fetch, "price", price.port)
  local ok, err = g:wait()
  if ok then
    show("product", select(2, stock:result()) .. " at " .. select(2, money:result()), start)
  else
    show("product", err, start)
  end
end

-- Start the services in a group of their own, fetch the product, stop the services.
local function scene(title, availability, price, timeout)
  print(title)
  local services <close> = waitgroup.errgroup()
  for _, service in ipairs { availability, price } do
    service.listener, service.port = http.listen()
    local fd = math.tointeger(service.listener:getfd())
    services:thread("http", "serve", fd, service.status, service.body, service.latency)
  end
  product(availability, price, timeout)
  services:cancel()
  services:wait()
  availability.listener:close()
  price.listener:close()
end

local function entries(path)
  local n, directory = 0, uv.fs_scandir(path)
  while uv.fs_scandir_next(directory) do
    n = n + 1
  end
  return n
end

local threads, fds = entries("/proc/self/task"), entries("/proc/self/fd")

local stock = { status = "200 OK", body = "7 in stock", latency = 0.08 }
local price = { status = "200 OK", body = "19.99", latency = 0.1 }
local broken = { status = "503 Service Unavailable", body = "", latency = 0.02 }
local slow = { status = "200 OK", body = "7 in stock", latency = 5 }
scene("both services answer, after 80 and 100 ms", stock, price, 30)
scene("price fails after 20 ms, availability would take 5000 ms", slow, broken, 30)
scene("availability would take 5000 ms, the deadline is at 150 ms", slow, price, 0.15)

print("left over, once the idle threads are gone")
local give_up = socket.gettime() + 20
while entries("/proc/self/task") > threads and socket.gettime() < give_up do
  socket.sleep(0.05)
end
collectgarbage()
threads, fds = entries("/proc/self/task") - threads, entries("/proc/self/fd") - fds
print(("  threads %d, file descriptors %d"):format(threads, fds))
os.exit(threads == 0 and fds == 0)
