-- neural_ode.lua: a differential equation learned from one trajectory, by hand: Runge-Kutta steps are ordinary tensor code,
-- so the gradient of the whole path is one backward.
torch.manual_seed(0)

--- One step of the classical Runge-Kutta method.
local function rk4(f, y, h)
  local k1 = f(y)
  local k2 = f(y + h / 2 * k1)
  local k3 = f(y + h / 2 * k2)
  local k4 = f(y + h * k3)
  return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
end

local function path(f, y, h, steps)
  local out = { y }
  for i = 1, steps do
    y = rk4(f, y, h)
    out[i + 1] = y
  end
  return torch.stack(out)
end

-- The world: a damped oscillation.
local A = torch.tensor { { -0.1, 2.0 }, { -2.0, -0.1 } }
local y0 = torch.tensor { 2.0, 0.0 }
local truth = path(function(y) return A:mv(y) end, y0, 0.05, 60)

-- The model: y' = W y with W unknown; short stretches of the path are fitted, all at once.
local W = torch.zeros(2, 2):requires_grad_()
local opt = optim.Adam({ W }, { lr = 0.05 })
local starts = truth[":-10"]
for epoch = 1, 200 do
  opt:zero_grad()
  local y, loss = starts, 0
  for k = 1, 10 do
    y = rk4(function(v) return v:matmul(W:t()) end, y, 0.05)
    loss = loss + ((y - truth[torch.slice(k, truth:size(0) - 10 + k)]) ^ 2):mean()
  end
  loss:backward()
  opt:step()
  if epoch % 50 == 0 then print(("epoch %d: loss %.2e"):format(epoch, loss:item())) end
end

local found = path(function(y) return W:mv(y) end, y0, 0.05, 60)
print("W =", W:detach())
assert((found - truth):abs():max():item() < 0.05, "the learned path leaves the true one")
