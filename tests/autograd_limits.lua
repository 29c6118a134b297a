-- autograd_limits.lua: the large cases of autograd (make autograd-limits; small ones stand in tests/lua/autograd_test.lua).
local t = require "check"
local torch = require "torch"

local function resident()
  local f = io.open("/proc/self/status")
  if not f then return 0 end
  local kb = f:read("a"):match("VmRSS:%s*(%d+)")
  f:close()
  return tonumber(kb) or 0
end

t.test("a chain of 1,000,000 ops", function()
  local x = torch.ones(1, { requires_grad = true })
  local y = x
  for _ = 1, 1000000 do y = y + 1 end
  y:backward()
  t.eq(x.grad:item(), 1.0)
  local z = x
  for _ = 1, 1000000 do z = z * 1 end      -- dropped without a backward
end)

t.test("a graph of 100,000 branches", function()
  local x = torch.ones(1, { requires_grad = true })
  local list = {}
  for i = 1, 100000 do list[i] = x * 1 end
  torch.cat(list):sum():backward()
  t.eq(x.grad:item(), 100000.0)
end)

t.test("double backward through a chain of 20,000 ops", function()
  local x = torch.ones(1, { dtype = torch.float64, requires_grad = true })
  local y = x
  for _ = 1, 20000 do y = y * 1.0001 end
  local g = torch.autograd.grad((y * y):sum(), x, { create_graph = true })[1]
  g:sum():backward()
  t.near(x.grad:item(), 2 * 1.0001 ^ 40000, 1e-6)
end)

t.test("10,000 training steps in flat memory", function()
  torch.manual_seed(0)
  local net = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10))
  local opt = optim.Adam(net:parameters())
  local x, y = torch.randn(64, 32), torch.randint(0, 10, { 64 })
  local function step()
    opt:zero_grad()
    F.cross_entropy(net(x), y):backward()
    opt:step()
  end
  for _ = 1, 1000 do step() end
  collectgarbage()
  local rss, bytes = resident(), torch._live()
  for _ = 1, 10000 do step() end
  collectgarbage()
  t.ok(torch._live() <= bytes + 65536, ("live bytes grew from %d to %d"):format(bytes, (torch._live())))
  t.ok(resident() <= rss + 4096, ("resident memory grew from %d to %d KB"):format(rss, resident()))
end)

t.test("custom functions and hooks leave nothing behind", function()
  local Square = torch.autograd.Function:extend("Square")
  function Square.forward(ctx, v) ctx:save_for_backward(v); return v * v end
  function Square.backward(ctx, g) return 2 * g * ctx:saved_tensors() end
  local x = torch.randn(100, { requires_grad = true })
  local function step()
    local y = Square.apply(x)
    y:register_hook(function(g) return g end)
    y:sum():backward()
    x.grad = nil
  end
  for _ = 1, 1000 do step() end
  collectgarbage()
  local _, tensors = torch._live()
  for _ = 1, 20000 do step() end
  collectgarbage()
  collectgarbage()
  local _, after = torch._live()
  t.ok(after <= tensors + 10, ("%d tensors became %d"):format(tensors, after))
end)

t.done()
