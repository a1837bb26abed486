--- Run `code` in a Lua process of its own: what it printed on both streams, then its status. It has 20 seconds. `before`: a
--- shell command to run first, such as `ulimit -s 256`.
return function(code, before)
  local file = os.tmpname()
  local out = assert(io.open(file, "w"))
  out:write(code)
  out:close()
  local command = ("%s; LUA_PATH=%q LUA_CPATH=%q timeout -k 1 20 %s %s 2>&1; echo \"status $?\""):format(
    before or "true", package.path, package.cpath, arg[-1] or "lua5.4", file)
  local pipe = assert(io.popen(command))
  local text = pipe:read("a")
  pipe:close()
  os.remove(file)
  return text
end
