-- float32 powers by one exponent against float64, over all of float32, at each CPU level this machine has.
local t = dofile((arg[0]:match("^(.*)/[^/]*$") or ".") .. "/check.lua")
local torch = require "torch"
local moth = os.getenv("MOTH") or arg[-1]
local exponents = { 1.7, -1.7, 0.3, -0.3, 1, 1.5, 2.5, 4, 5, -3, -4, -5, 6.99, 7, -7, 8, -8, 0.1, 1e-6, -1e-30, 1e-40,
  11, 20.5 }

-- PyTorch's own vectors reach one ulp; without fma the polynomials leave more.
local ALLOWED = os.getenv("MOTH_CPU") == "base" and 1.6 or 1.2

local function sample()
  torch.manual_seed(3)
  local any = torch.randint(-2 ^ 31, 2 ^ 31 - 1, { 20000 }, { dtype = torch.int32 }):view(torch.float32)
  local one = torch.rand(10000) * 0.1 + 0.95
  local mid = torch.rand(10003) * 4
  local special = torch.tensor({ 0., -0., 1., -1., math.huge, -math.huge, 0 / 0, 1e-45, -1e-45, 1e-38, 3.4e38, -3.4e38,
    2., -2., -1.5, 0.5 })
  return torch.cat({ special, any, one, mid })
end

-- The largest distance of got from want in units of want's last place; huge where kind or sign differ.
local function ulps(got, want)
  local near = want:float()
  local plain = near:isfinite() & near:ne(0)
  local alike = (got:isnan() & near:isnan()) | (got:eq(near) & got:signbit():eq(near:signbit()))
  local place = torch.nextafter(near:abs(), torch.tensor(math.huge)):double() - near:abs():double()
  local off = torch.where(plain, (got:double() - want):abs() / place, torch.where(alike, 0., math.huge):double())
  -- beyond the largest float, and among the least ones, either neighbour will do
  off = off:masked_fill(got:isinf() & want:abs():gt(3.4028233e38) & got:gt(0):eq(want:gt(0)), 0.)
  off = off:masked_fill(got:eq(0) & want:abs():lt(1.5e-45) & got:signbit():eq(want:signbit()), 0.)
  off = off:masked_fill(near:eq(0) & got:abs():lt(2e-45) & got:signbit():eq(near:signbit()), 0.)
  return off:nan_to_num(math.huge):max():item()
end

local x = sample()
for _, e in ipairs(exponents) do
  t.test("pow by " .. e, function()
    local f = torch.tensor(e):item()                               -- the exponent as float32 has it
    local worst = ulps(x:pow(e), x:double():pow(f))
    t.eq(worst <= ALLOWED, true, ("%g ulp"):format(worst))
    local out = x:clone()
    t.eq(torch.equal(out:pow_(e):nan_to_num(), x:pow(e):nan_to_num()), true)
    t.eq(torch.equal(x["::3"]:pow(e):nan_to_num(), x:pow(e)["::3"]:nan_to_num()), true)
  end)
end
t.test("pow by 1 is a copy", function() t.eq(torch.equal(x:pow(1):view(torch.int32), x:view(torch.int32)), true) end)

if not os.getenv("MOTH_CPU") then
  for _, level in ipairs { "base", "avx2" } do
    t.test("the same at " .. level, function()
      local p = io.popen(("MOTH_CPU=%s MOTH=%s %s %s 2>&1"):format(level, moth, moth, arg[0]))
      local said = p:read "a"
      p:close()
      t.eq(said:match("(%d+) failed") == "0" or said, true)
    end)
  end
end
t.done()
