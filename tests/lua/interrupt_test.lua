-- interrupt_test.lua: Ctrl-C in the middle of any kind of long work is one Lua error, and the session goes on.
package.path = "tests/lua/?.lua;" .. package.path
local t, sys = require "check", require "sys"
local moth = os.getenv("MOTH") or arg[-1]

-- The child says "go", repeats the work until an error ends it, then proves that the engine still works.
local SCRIPT = [[
local torch = require "torch"
local x = torch.rand(%s)
local y = x:clone()
io.write("go\n") io.flush()
local ok, err = pcall(function() while true do local r = %s end end)
assert(not ok)
assert(x:eq(y):all():item(), "the operand changed")
assert(torch.ones(3):sum():item() == 3.0)
print(tostring(err))
]]

local function interrupted(size, work)
  local path = os.tmpname()
  sys.write(path, SCRIPT:format(size, work))
  local p <close> = sys.spawn({ moth, path }, { stdout = "pipe", stderr = "stdout", stdin = "null", timeout = 20 })
  local text = ""
  while text ~= "go" do                                     -- read() gives a line
    local part = p:read()
    if not part then break end
    text = text .. part
  end
  sys.sleep(0.15)
  p:kill(2)
  while true do
    local part = p:read()
    if not part then break end
    text = text .. part
  end
  local status = p:wait()
  os.remove(path)
  return text, status
end

for name, case in pairs {
  matmul = { "1500, 1500", "x:matmul(x)" }, exp = { "3000, 3000", "x:exp()" }, sort = { "1000, 1000", "x:sort()" },
  cumsum = { "2000, 2000", "x:cumsum(0)" }, small = { "4", "x + x" }, lua = { "4", "#('x'):rep(10)" },
  conv = { "1, 16, 200, 200", "torch.nn.functional.conv2d(x, torch.rand(16, 16, 3, 3))" },
  text = { "300, 300", "tostring(x)" }, sum = { "3000, 3000", "x:sum()" }, svd = { "300, 300", "torch.linalg.svd(x)" },
} do
  t.test(name, function()
    local text = interrupted(table.unpack(case))
    t.ok(text:find("interrupt", 1, true), "the child said " .. text:sub(1, 200))
  end)
end

t.done()
