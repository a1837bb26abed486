std = "lua54"
max_line_length = 120
exclude_files = { "build", ".venv" }
files["tests/lua"] = {
  std = "+busted",
  max_line_length = 130,
  ignore = { "1/leaked", "1/mine", "1/SAMPLE_WAS_LOADED" },
}
-- It changes libraries, to see that other tasks do not notice.
files["tests/lua/thread_spec.lua"] = { ignore = { "1" } }
-- Declarations without bodies.
files["library"] = { ignore = { "212", "241" } }
files["*.rockspec"] = { std = "+rockspec" }
