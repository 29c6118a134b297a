-- physics.lua: a small network fits a differential equation: u'' + u = 0, u(0) = 0, u'(0) = 1, whose solution is sin t.
torch.manual_seed(0)
local net = nn.Sequential(nn.Linear(1, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 1))
local opt = optim.Adam(net:parameters(), { lr = 5e-3 })
local t = torch.linspace(0, 3, 40):unsqueeze(1):requires_grad_()

--- u and its first two derivatives at t, as parts of one graph.
local function derivatives(at)
  local u = at + at * at * net(at)          -- u(0) = 0 and u'(0) = 1 hold by form
  local du = torch.autograd.grad(u:sum(), at, { create_graph = true })[1]
  local d2u = torch.autograd.grad(du:sum(), at, { create_graph = true })[1]
  return u, du, d2u
end

for step = 1, 600 do
  opt:zero_grad()
  local u, _, d2u = derivatives(t)
  local loss = ((d2u + u) ^ 2):mean()
  loss:backward()
  opt:step()
  if step % 150 == 0 then print(("step %d: residual %.2e"):format(step, loss:item())) end
end

local u = derivatives(t)
local worst = (u - t:sin()):abs():max():item()
print(("largest distance from sin t: %.4f"):format(worst))
assert(worst < 0.05, "the network did not find the sine")
