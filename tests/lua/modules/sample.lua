-- A module for the tests: it has a state of its own, and changes what a well-behaved module would not.
local sample = { calls = 0 }

function sample.add(a, b)
  sample.calls = sample.calls + 1
  return a + b, sample.calls
end

function sample.fail()
  error("in the module")
end

SAMPLE_WAS_LOADED = true

return sample
