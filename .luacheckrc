std = "lua54"
max_line_length = 132
exclude_files = { "build", ".venv" }
files["tests/lua"] = {
  std = "+busted",
  max_line_length = 142,
  ignore = { "1/leaked", "1/mine", "1/late", "1/given", "1/SAMPLE_WAS_LOADED" },
}
-- It changes libraries, to see that other tasks do not notice.
files["tests/lua/thread_spec.lua"] = { ignore = { "1" } }
-- The module runs in HAProxy, which has a global table "core", and in Prosody, which has "module".
files["lua/waitgroup/loops/haproxy.lua"] = { globals = { "core" } }
files["tests/lua/hosts"] = { globals = { "core", "module" } }
-- Declarations without bodies.
files["library"] = { ignore = { "212", "241" } }
files["*.rockspec"] = { std = "+rockspec" }
