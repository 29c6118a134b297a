-- dump_files.lua LIST OUT: writes OUT/1.txt ... with the dump (or "ERROR line:col message") of each file LIST names.
package.path = "stdlib/?.lua;stdlib/?/init.lua;" .. package.path
local parser, dump = require "convert.python.parser", require "convert.python.dump"
local i = 0
for path in io.lines(arg[1]) do
  i = i + 1
  local f = assert(io.open(path, "rb"))
  local tree, err = parser.parse(f:read("a"))
  f:close()
  local out = assert(io.open(arg[2] .. "/" .. i .. ".txt", "wb"))
  out:write(tree and dump(tree) or ("ERROR %d:%d %s\n"):format(err.line, err.col, err.message))
  out:close()
end
