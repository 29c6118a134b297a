-- examples_test.lua: the scripts of scripts/examples run and reach what they promise (each checks its own result).
-- One whose first line "needs" a library is left out where that is not installed.
local t = require "check"
local ffi = require "ffi"
local moth = os.getenv("MOTH") or "build/moth"
local root = arg[0]:match("^(.*)/tests/lua/[^/]*$") or "."

local files = io.popen("ls " .. root .. "/scripts/examples")
for file in files:lines() do
  local needs = io.open(root .. "/scripts/examples/" .. file):read("l"):match("needs ([%w.]+)")
  if needs and not pcall(ffi.load, needs) then t.skip(file, needs .. " is not installed")
  elseif file:find("%.lua$") then
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
