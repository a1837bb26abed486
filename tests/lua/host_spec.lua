-- What a C program that embeds the module sees: see host.c.
local function host(name, scenario)
  local program = ("%s.o/host-%s"):format(os.getenv("LUA_BUILD") or "build/lua", name)
  local file = assert(io.open(program), "make test-lua builds it")
  file:close()
  local pipe = assert(io.popen(("LUA_PATH=%q LUA_CPATH=%q timeout -k 1 120 %s %s 2>&1"):format(
    package.path, package.cpath, program, scenario)))
  local text = pipe:read("a")
  pipe:close()
  assert.equal(scenario .. ": passed\n", text)
end

for _, name in ipairs { "linked", "loading" } do
  describe(("a C program, the module %s,"):format(name), function()
    it("shares objects between states in two threads, each with its own allocator", function() host(name, "two_states") end)
    it("closes states while their tasks run", function() host(name, "closing") end)
    it("survives running out of memory at every place", function() host(name, "out_of_memory") end)
    it("closes and cancels without memory", function() host(name, "at_the_cap") end)
    it("sees that a refused go keeps nothing", function() host(name, "refused") end)
    it("is told that no file descriptor is left", function() host(name, "no_descriptors") end)
    it("whose coroutines run for something has the tasks run for the same", function() host(name, "extra_space") end)
    it("forks", function() host(name, "forking") end)
    it("forks in an event loop", function() host(name, "forking_in_a_loop") end)
  end)
end

describe("a C program", function()
  it("makes and prepares the states of workers", function()
    host("linked", "hosting")
    host("linked", "hosting_bare_states")
  end)
  it("that cannot make them fails their tasks", function()
    host("linked", "hosting_without_states")
    host("linked", "hosting_badly")
  end)
  it("has workers that survive running out of memory", function() host("linked", "workers_out_of_memory") end)
  it("sees every allocation of the module fail in turn, and every thread", function() host("linked", "faults") end)
end)
