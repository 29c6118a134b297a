-- newton.lua: Newton's method, with the exact Hessian and with Hessian-vector products alone.
local func = torch.func

--- Rosenbrock's valley in n dimensions; its minimum is at ones.
local function valley(x)
  local a, b = x[":-1"], x["1:"]
  return (100 * (b - a * a) ^ 2 + (1 - a) ^ 2):sum()
end

local x = torch.tensor({ -1.2, 1.0, 0.5 }, { dtype = torch.float64 })
for step = 1, 30 do
  local f, g = func.value_and_grad(valley)(x)
  if g:norm():item() < 1e-10 then break end
  local d = torch.linalg.solve(torch.autograd.functional.hessian(valley, x), -g)
  local t = 1.0                             -- shorter steps until the value falls
  while valley(x + t * d):item() > f:item() and t > 1e-8 do t = t / 2 end
  x = x + t * d
  print(("step %2d: f = %.3e"):format(step, valley(x):item()))
end
assert((x - 1):abs():max():item() < 1e-8, "Newton did not reach the minimum")

--- Solves H d = b by conjugate gradients: H is only ever multiplied, never built.
local function solve_cg(f, at, b)
  local d, r = torch.zeros_like(b), b:clone()
  local p, rr = r, r:dot(r)
  for _ = 1, 2 * b:numel() do
    local _, hp = torch.autograd.functional.hvp(f, at, p)
    local a = rr / p:dot(hp)
    d, r = d + a * p, r - a * hp
    local new = r:dot(r)
    if new:item() < 1e-24 then break end
    p, rr = r + new / rr * p, new
  end
  return d
end

local function bowl(v) return (v ^ 4):sum() + (v * v).sum(v * v) * 2 - v:sum() end
local v = torch.ones(200, { dtype = torch.float64 })
for _ = 1, 12 do v = v + solve_cg(bowl, v, -func.grad(bowl)(v)) end
local left = func.grad(bowl)(v):norm():item()
print(("200 dimensions without a matrix: gradient %.1e"):format(left))
assert(left < 1e-10)
