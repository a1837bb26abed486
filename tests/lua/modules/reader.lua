-- Reads a global of whoever runs it.
return { get = function() return given end }
