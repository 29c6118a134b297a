-- mlp.lua: a perceptron with two hidden layers learns two interleaved spirals.
torch.manual_seed(0)

local n = 100
local angle = torch.linspace(0, 3 * torch.pi, n)
local arm = torch.stack({ angle:cos() * angle, angle:sin() * angle }, 1) / 10
local x = torch.cat { arm, -arm } + torch.randn(2 * n, 2) * 0.01
local y = torch.cat { torch.zeros(n, { dtype = torch.int64 }), torch.ones(n, { dtype = torch.int64 }) }

local net = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
local opt = optim.Adam(net:parameters(), { lr = 1e-2 })
local criterion = nn.CrossEntropyLoss()

for step = 1, 400 do
  local loss = criterion(net(x), y)
  opt:zero_grad()
  loss:backward()
  opt:step()
  if step % 100 == 0 then print(("step %d: loss %.4f"):format(step, loss:item())) end
end

local right = torch.no_grad(function() return net(x):argmax(1):eq(y):sum():item() end)
print(("%d of %d points on the right side"):format(right, 2 * n))
assert(right >= 196, "the spirals were not told apart")
