-- examples_test.lua: the scripts of scripts/examples run and reach what they promise (each checks its own result).
local t = require "check"
local moth = os.getenv("MOTH") or "build/moth"
local root = arg[0]:match("^(.*)/tests/lua/[^/]*$") or "."

local files = io.popen("ls " .. root .. "/scripts/examples")
for file in files:lines() do
  if file:find("%.lua$") then
    t.test(file, function()
      local path = os.tmpname()
      local ok = os.execute(("%s %s/scripts/examples/%s >%s 2>&1"):format(moth, root, file, path))
      local f = io.open(path)
      local text = f:read("a")
      f:close()
      os.remove(path)
      t.ok(ok, text)
      local _, lines = io.open(root .. "/scripts/examples/" .. file):read("a"):gsub("\n", "")
      t.ok(lines <= 100, "longer than 100 lines")
    end)
  end
end
files:close()

t.done()
