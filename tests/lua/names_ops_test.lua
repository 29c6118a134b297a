-- Results of less usual names against PyTorch's (tests/data/names_cases.txt), and what Lua adds to them: settings,
-- storages, errors.
local t = require "check"

local env = setmetatable({ x = torch.arange(6.):view(2, 3) / 2 + 0.25, i = torch.tensor { 0, 2, 1, 2 },
  A = torch.tensor { { 4., 1, 0.5 }, { 1, 3, 0.2 }, { 0.5, 0.2, 5 } } }, { __index = _G })

local function show(...)
  local parts = table.pack(...)
  for k = 1, parts.n do
    local v = parts[k]
    parts[k] = type(v) == "table" and not getmetatable(v) and show(table.unpack(v)) or tostring(v)
  end
  return (table.concat(parts, " | "):gsub("%s+", " "))
end

--- The same text but for the last digits of numbers and the signs of zeros.
local number = "%-?%d+%.?%d*e?[-+]?%d*"
local function agree(got, want)
  if got == want then return true end
  if got:gsub(number, "#"):gsub(" +", " ") ~= want:gsub(number, "#"):gsub(" +", " ") then return false end
  local next_want = want:gmatch(number)
  for a in got:gmatch(number) do
    local p, q = tonumber(a), tonumber((next_want()))
    if not (p and q and math.abs(p - q) <= 2e-4 * math.max(1, math.abs(q))) then return false end
  end
  return true
end

for line in io.lines("tests/data/names_cases.txt") do
  local code, want = line:match("^([^#].-) ;; (.*)$")
  if code then
    t.test(code, function()
      local f = assert(load("return " .. code, "=case", "t", env))
      local ok, got = pcall(function() return show(f()) end)
      if want == "error" then return t.ok(not ok, "expected an error, got " .. tostring(got)) end
      t.ok(ok, got)
      t.ok(agree(got, want), "got " .. got .. ", want " .. want)
    end)
  end
end

t.test("gradients of fake quantization pass inside the range only", function()
  local x = torch.tensor({ -1., 0.3, 0.7, 9. }, { requires_grad = true })
  torch.fake_quantize_per_tensor_affine(x, 0.5, 0, 0, 4):sum():backward()
  t.eq(tostring(x.grad), "tensor([0., 1., 1., 0.])")
end)

t.test("factorisations without a derivative say so", function()
  local a = torch.eye(2, { requires_grad = true })
  t.error_matches(function() (torch.geqrf(a)):sum():backward() end, "geqrf")
  t.error_matches(function() (torch.linalg.ldl_factor(a)):sum():backward() end, "ldl_factor")
end)

t.test("low-rank decompositions give back a low-rank matrix", function()
  torch.manual_seed(0)
  local a = torch.randn(20, 3, { dtype = torch.float64 }):mm(torch.randn(3, 12, { dtype = torch.float64 }))
  local U, S, V = torch.svd_lowrank(a, 4)
  t.ok((U * S):mm(V.mT):sub(a):abs():max():item() < 1e-10)
  local u, s, v = torch.pca_lowrank(a, 4)
  t.ok((u * s):mm(v.mT):sub(a - a:mean(0)):abs():max():item() < 1e-10)
  t.eq(torch.svd_lowrank(a.mT, 4).shape == torch.Size { 12, 4 }, true)
  t.error_matches(function() torch.pca_lowrank(a, 13) end, "not greater than min")
end)

t.test("lobpcg finds eigenvalues at both ends", function()
  torch.manual_seed(0)
  local a = torch.randn(12, 12, { dtype = torch.float64 })
  a = a:mm(a.mT) + torch.eye(12, { dtype = torch.float64 })
  local all = torch.linalg.eigvalsh(a)
  local e, X = torch.lobpcg(a, 2)
  t.ok((e - all["-2:"]:flip(0)):abs():max():item() < 1e-6 * all[-1]:item())
  t.ok((a:mm(X) - X * e):abs():max():item() < 1e-4 * all[-1]:item())
  e = torch.lobpcg(a, { k = 1, largest = false })
  t.ok(math.abs(e:item() - all[0]:item()) < 1e-6)
  local b = torch.diag(torch.arange(1., 13.):double())
  e = torch.lobpcg(a, 1, b)
  t.ok(math.abs(e:item() - torch.linalg.eigvals(torch.linalg.solve(b, a)).real:max():item()) < 1e-6)
  t.eq(torch.lobpcg(torch.stack { a, a * 2 }, 1).shape == torch.Size { 2, 1 }, true)
  t.error_matches(function() torch.lobpcg(a, 5) end, "smaller than 3 x")
end)

t.test("functions on every element", function()
  local x = torch.tensor { { 1, 2 }, { 3, 4 } }
  t.eq(tostring(x:t():apply_(function(v) return v * v end):reshape(-1)), "tensor([ 1,  9,  4, 16])")
  t.eq(tostring(x:map2_(torch.tensor(1), x, function(a, b, c) return a + b - c end):view(-1)), "tensor([1, 1, 1, 1])")
  t.error_matches(function() x:apply_(function() return "a" end) end, "must give a number")
  t.error_matches(function() torch.ones(1, { requires_grad = true }):apply_(math.abs) end, "requires grad")
end)

t.test("storages see and make every write", function()
  local x = torch.arange(4.)
  local s, bytes = x["1:"]:storage(), x:untyped_storage()
  t.eq(#s, 4)
  t.eq(bytes:nbytes(), 16)
  t.eq(s[3], 3.0)
  s[0] = 7
  t.eq(x[0]:item(), 7.0)
  t.eq(torch.is_storage(bytes), true)
  t.eq(bytes == x["2:"]:untyped_storage(), true)
  t.error_matches(function() return s[4] end, "out of range")
end)

t.test("a default device", function()
  torch.set_default_device("meta")
  local ok, err = pcall(function()
    t.eq(torch.ones(2).device.type, "meta")
    t.eq(torch.tensor({ 1 }).device.type, "meta")
    t.eq(torch.ones(2, { device = "cpu" }).device.type, "cpu")
    t.eq(torch.get_default_device().type, "meta")
  end)
  torch.set_default_device("cpu")
  t.ok(ok, err)
  t.eq(torch.ones(2).device.type, "cpu")
  t.error_matches(function() torch.set_default_device("cuda") end, "cuda")
end)

t.test("settings are kept", function()
  torch.use_deterministic_algorithms(true, { warn_only = true })
  t.eq(torch.get_deterministic_debug_mode(), 1)
  torch.set_deterministic_debug_mode("default")
  t.eq(torch.are_deterministic_algorithms_enabled(), false)
  torch.set_float32_matmul_precision("high")
  t.eq(torch.get_float32_matmul_precision(), "high")
  torch.set_float32_matmul_precision("highest")
  t.error_matches(function() torch.set_float32_matmul_precision("low") end, "low")
  torch.set_default_tensor_type("torch.DoubleTensor")
  local d = torch.get_default_dtype()
  torch.set_default_tensor_type(torch.float32)
  t.eq(d, torch.float64)
  torch.set_anomaly_enabled(true)
  t.eq(torch.is_anomaly_enabled(), true)
  torch.set_anomaly_enabled(false)
end)

t.test("compiler's marks run as they are", function()
  local f = torch.compile(function(a) return a + 1 end, { backend = "inductor" })
  t.eq(f(2), 3)
  t.eq(torch.compile()(f), f)
  local r = torch.while_loop(function(i) return i:lt(3) end, function(i, s) return i + 1, s * 2 end,
    { torch.tensor(0), torch.tensor(1) })
  t.eq(r[2]:item(), 8)
  t.error_matches(function() torch.cond(torch.ones(2), math.abs, math.abs, {}) end, "one element")
end)

t.test("what is not there says what to do", function()
  local x = torch.ones(1)
  t.error_matches(function() x:cuda() end, "no CUDA device")
  t.error_matches(function() x:numpy() end, "tolist")
  t.error_matches(function() x:to_sparse() end, "sparse tensors are not there")
  t.error_matches(function() torch.symeig(x) end, "linalg.eigh")
  t.error_matches(function() torch.from_numpy(x) end, "NumPy")
  t.error_matches(function() x:coalesce() end, "Strided")
  t.error_matches(function() torch.frombuffer("abc", { dtype = torch.int16 }) end, "multiple of element size")
end)

t.test("asarray and as_tensor share where they can", function()
  local x = torch.ones(2)
  t.eq(torch.as_tensor(x), x)
  t.eq(torch.asarray(x, { copy = true }) ~= x, true)
  t.error_matches(function() torch.asarray(x, { dtype = torch.int64, copy = false }) end, "can't alias")
  t.eq(torch.asarray({ 1., 2. }, { requires_grad = true }).requires_grad, true)
  local y = x:new(x)
  y[0] = 5
  t.eq(x[0]:item(), 5.0)
  t.eq(x:new { 1, 2 }.dtype, torch.float32)
end)

t.done()
