-- memory_test.lua: loops that make garbage keep the process small with no call to the collector.  Each script runs in a
-- process of its own, which prints its peak resident size.
local t = require "check"
local moth = os.getenv("MOTH") or arg[-1]

local PEAK = [[
local function peak()
  for line in io.lines("/proc/self/status") do
    local kb = line:match("^VmHWM:%s*(%d+)")
    if kb then return tonumber(kb) / 1024 end
  end
end
local start = peak()
]]

local function peak_of(script)
  local path = os.tmpname()
  local f = assert(io.open(path, "w"))
  f:write(PEAK, script, "\nprint(peak() - start)\n")
  f:close()
  local p = io.popen("'" .. moth .. "' '" .. path .. "' 2>&1")
  local text = p:read("a")
  p:close()
  os.remove(path)
  return tonumber(text:match("([%d.]+)%s*$")) or error("the script failed: " .. text:sub(1, 300))
end

-- A sanitizer build keeps freed memory aside: its figures say nothing.
local function plain_build()
  local f = io.open("/proc/self/maps")
  if not f then return false end
  local maps = f:read("a")
  f:close()
  return not maps:find("libasan", 1, true)
end

if not plain_build() then
  t.test("left out under sanitizers", function() end)
  t.done()
end

t.test("100,000 small ops", function()
  local mb = peak_of [[
    local a, b = torch.ones(4), torch.ones(4)
    for i = 1, 100000 do local c = a + b end]]
  t.ok(mb <= 64, "peak grew by " .. mb .. " MB")
end)

t.test("1,000 ops on 4 MB tensors", function()
  local mb = peak_of [[
    local a = torch.ones(1 << 20)
    for i = 1, 1000 do local c = a + a end]]
  t.ok(mb <= 8 + 64, "peak grew by " .. mb .. " MB")
end)

t.test("100 tensors of 4 MB kept per step and dropped", function()
  local mb = peak_of [[
    local a = torch.ones(1 << 20)
    for step = 1, 4 do
      local kept = {}
      for i = 1, 100 do kept[i] = a + i end
    end]]
  t.ok(mb <= 404 + 64, "peak grew by " .. mb .. " MB")
end)

t.test("an empty script stays small", function()
  local script = [[for l in io.lines("/proc/self/status") do
    local k = l:match("^VmHWM:%s*(%d+)") if k then print(k) end end]]
  local p = io.popen("'" .. moth .. "' -e '" .. script .. "'")
  local kb = tonumber(p:read("a"))
  p:close()
  t.ok(kb and kb <= 10 * 1024, "resident " .. tostring(kb) .. " KB")
end)

t.done()
