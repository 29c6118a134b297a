-- implicit.lua: the gradient through a solver, by the implicit function theorem.
--
-- z(x) solves z = tanh(W z + x).  The solver's steps are not recorded: at the solution (I - J^T) u = g gives the gradient.
local W = torch.tensor({ { 0.3, -0.4 }, { 0.2, 0.5 } }, { dtype = torch.float64, requires_grad = true })

local function step(z, w, x) return (w:mv(z) + x):tanh() end

local FixedPoint = torch.autograd.Function:extend("FixedPoint")

function FixedPoint.forward(ctx, w, x)
  local z, n = torch.zeros_like(x), 0
  repeat
    local before = z
    z, n = step(z, w, x), n + 1
  until (z - before):abs():max():item() < 1e-14
  ctx:save_for_backward(z, w, x)
  ctx.steps = n
  return z
end

function FixedPoint.backward(ctx, g)
  local z, w, x = ctx:saved_tensors()
  local J = torch.autograd.functional.jacobian(function(v) return step(v, w, x) end, z:detach())
  local u = torch.linalg.solve(torch.eye(2, { dtype = z.dtype }) - J:t(), g)
  local _, grads = torch.autograd.functional.vjp(function(a, b) return step(z:detach(), a, b) end, { w, x }, u)
  return grads[1], grads[2]
end

local x = torch.tensor({ 0.5, -0.2 }, { dtype = torch.float64, requires_grad = true })
assert(torch.autograd.gradcheck(FixedPoint.apply, { W, x }))
print("the implicit gradient agrees with finite differences")

-- Use it: find the x whose solution is the target.
local target = torch.tensor({ 0.6, 0.1 }, { dtype = torch.float64 })
local opt = optim.Adam({ x }, { lr = 0.05 })
for _ = 1, 500 do
  opt:zero_grad()
  local loss = ((FixedPoint.apply(W, x) - target) ^ 2):sum()
  loss:backward()
  opt:step()
end
local z = FixedPoint.apply(W, x)
print("z(x) =", z:detach(), "wanted", target)
assert(torch.allclose(z, target, { atol = 1e-4 }))
