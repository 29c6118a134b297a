-- random_test.lua: generators and random ops against PyTorch's numbers.
local t = require "check"
local function list(x) return x:tolist() end
local function near(a, b, eps)
  for i = 1, #b do if math.abs(a[i] - b[i]) > (eps or 1e-6) then error(("element %d: %g, want %g"):format(i, a[i], b[i])) end end
end

t.test("a seed gives PyTorch's draws", function()
  torch.manual_seed(42)
  near(list(torch.rand(3)), { 0.8822692633, 0.9150039554, 0.3828637600 })
  torch.manual_seed(42)
  near(list(torch.randn(4)), { 0.3366904, 0.1288094, 0.2344620, 0.2303330 })
  torch.manual_seed(42)
  t.eq(table.concat(list(torch.randperm(6)), " "), "0 3 2 4 1 5")
end)

t.test("a state brings back its draws", function()
  local g = torch.Generator():manual_seed(7)
  torch.rand(5, { generator = g })
  local s = g:get_state()
  local a = list(torch.randn(3, { generator = g }))
  g:set_state(s)
  near(list(torch.randn(3, { generator = g })), a, 0)
  t.eq(s.shape[0], 5056)
  t.eq(g:initial_seed(), 7)
end)

t.test("a generator of one's own leaves the default one alone", function()
  torch.manual_seed(1)
  local a = torch.rand(1):item()
  torch.manual_seed(1)
  torch.rand(9, { generator = torch.Generator() })
  t.eq(torch.rand(1):item(), a)
end)

t.test("strided tensors are filled in order of memory", function()
  torch.manual_seed(3)
  local a = torch.empty(2, 3):uniform_()
  torch.manual_seed(3)
  local b = torch.empty(3, 2):t():uniform_()
  t.eq(b[{ 0, 1 }]:item(), a["0, 2"]:item())
end)

t.test("meta tensors are filled without memory and without a draw", function()
  local x = torch.empty(1000000, 1000000, { device = "meta" })
  local state = torch.get_rng_state()
  for _, name in ipairs { "uniform_", "normal_", "exponential_", "random_", "bernoulli_" } do x[name](x) end
  t.eq(torch.rand_like(x).device.type, "meta")
  t.eq(torch.randn_like(x).shape[1], 1000000)
  t.eq(torch.equal(state, torch.get_rng_state()), true)
end)

t.test("wrong arguments are errors", function()
  t.error_matches(function() torch.randint(3, 3, { 2 }) end, "from")
  t.error_matches(function() torch.rand(2, { dtype = torch.int64 }) end, "floating point")
  t.error_matches(function() torch.empty(2):normal_(0, -1) end, "std")
  t.error_matches(function() torch.multinomial(torch.tensor { 0., -1. }, 1) end, "probability")
  t.error_matches(function() torch.rand(2, { generator = 3 }) end, "generator")
  t.error_matches(function() torch.set_rng_state(torch.zeros(3, { dtype = torch.uint8 })) end, "state")
end)

t.done()
