local waitgroup = require "waitgroup"

local count = 0
for _ in ("the quick brown fox jumps over the lazy dog"):gmatch "%a+" do
  waitgroup.current_context():check()
  count = count + 1
end
print(("lua: %d words"):format(count))
