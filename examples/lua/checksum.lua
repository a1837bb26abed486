-- SHA-256 of every file of a directory tree, in parallel, in the format of sha256sum.
--
--   lua checksum.lua [DIR]      default: the working directory; hidden files and directories are left out
--
-- Stops at the first file that cannot be read: its name on stderr, exit status 1. Ctrl-C: exit status 130.
local uv = require "luv"
local waitgroup = require "waitgroup"

-- All files below `directory`, unsorted; links to files are in. nil and a message if it cannot be walked.
local function tree(directory, files)
  local entries, message = uv.fs_scandir(directory)
  if not entries then
    return nil, message
  end
  for name, kind in uv.fs_scandir_next, entries do
    local path = directory .. "/" .. name
    local target = kind == "link" and uv.fs_stat(path)
    local hidden = name:sub(1, 1) == "."
    if kind == "directory" and not hidden then
      local ok, why = tree(path, files)
      if not ok then
        return nil, why
      end
    elseif not hidden and (kind == "file" or kind == "link" and (not target or target.type == "file")) then
      files[#files + 1] = path
    end
  end
  return files
end

local CHUNK = 1 << 16 -- bytes: file:read takes memory for as many, however small the file

-- The task, which runs in a thread with a Lua state of its own: hash one file, and look now and then whether that is
-- still wanted.
local function sha256(path)
  local context = require("waitgroup").current_context()
  local digest = require("openssl.digest").new("sha256")
  local file, message = io.open(path, "rb")
  if not file then
    error(message, 0)
  end
  local chunk, why = file:read(CHUNK)
  while chunk and not context:cancelled() do
    digest:update(chunk)
    chunk, why = file:read(CHUNK)
  end
  file:close()
  if why then
    error(path .. ": " .. why, 0)
  end
  return (digest:final():gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

-- As sha256sum does: a name with a backslash or an end of line is escaped, and its line starts with a backslash.
local function line(digest, path)
  local escaped = path:gsub("[\\\n\r]", { ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r" })
  return (escaped ~= path and "\\" or "") .. digest .. "  " .. escaped .. "\n"
end

local function main(directory)
  local files = assert(tree(directory, {}))
  table.sort(files)
  local terminal = uv.guess_handle(2) == "tty"
  -- With a backlog no thread waits until the next file is handed to it.
  local g <close> = waitgroup.errgroup { limit = 2 * waitgroup.cores(), backlog = 1000 }
  local function show_progress()
    if terminal then
      io.stderr:write(("\r%d of %d files"):format(g:completed(), #files))
    end
  end

  local tasks = {}
  for i, path in ipairs(files) do
    tasks[i] = g:thread(sha256, path)
    if not tasks[i] then
      break -- the group was cancelled: a file could not be read
    end
    show_progress()
  end
  local ok, err
  repeat -- in slices, so that Lua can notice a Ctrl-C
    ok, err = g:wait(0.1)
    show_progress()
  until ok or err ~= "timeout"
  if terminal then
    io.stderr:write("\n")
  end
  if not ok then
    error(err, 0)
  end
  for i, path in ipairs(files) do
    local _, digest = assert(tasks[i]:result())
    io.write(line(digest, path))
  end
end

local ok, err = pcall(main, arg[1] or ".")
if not ok then
  local interrupted = err:find("interrupted!$")
  if not interrupted then
    io.stderr:write("checksum: ", err, "\n")
  end
  os.exit(interrupted and 130 or 1, true)
end
