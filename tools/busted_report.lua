-- An output handler for busted that prints as the plain one does and also writes a JUnit report:
--   lua5.4 /usr/bin/busted -o tools/busted_report.lua -Xoutput build/reports/lua.xml
return function(options)
  require "busted.outputHandlers.junit"(options):subscribe(options)
  return require "busted.outputHandlers.plainTerminal"(options)
end
