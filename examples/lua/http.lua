-- As much HTTP as the product example needs, on loopback. `serve` and `get` run in tasks, in threads, and end at once
-- when their group is cancelled.
local socket = require "socket"
local waitgroup = require "waitgroup"

local http = {}

-- Sleep until `sock` is readable: true; or until the context ends: false. A context can be selected like any socket.
local function readable(sock, context)
  local ready = socket.select({ sock, context }, nil)
  return not ready[context]
end

-- A listening socket on a free port of 127.0.0.1, and the port.
function http.listen()
  local listener = assert(socket.bind("127.0.0.1", 0))
  local _, port = listener:getsockname()
  return listener, math.tointeger(port)
end

-- Answer each request with the same status and body, after `latency` seconds, one after the other. Sockets cannot cross
-- threads, so the listening one comes as its descriptor, which stays the caller's.
function http.serve(fd, status, body, latency)
  local context = waitgroup.current_context()
  local listener = socket.tcp()
  listener:setfd(fd)
  listener:listen(16)
  while readable(listener, context) do
    local client = listener:accept()
    if readable(client, context) and client:receive("*l") and not context:wait(latency) then
      client:send(("HTTP/1.0 %s\r\nContent-Length: %d\r\n\r\n%s"):format(status, #body, body))
    end
    client:close()
  end
  listener:setfd(-1)
end

-- The body that the service on `port` answers with; an error that is the status if that is not 200.
function http.get(port)
  local context = waitgroup.current_context()
  local connection = assert(socket.connect("127.0.0.1", port))
  connection:send("GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
  connection:settimeout(0)
  local answer, why = "", "timeout"
  while why == "timeout" and readable(connection, context) do
    local all, partial
    all, why, partial = connection:receive("*a")
    answer = answer .. (all or partial)
  end
  connection:close()
  context:check()
  local status, body = answer:match("^HTTP/1.%d ([^\r]*)\r\n.-\r\n\r\n(.*)$")
  if status ~= "200 OK" then
    error(status or "no answer", 0)
  end
  return body
end

return http
