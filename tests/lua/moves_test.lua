-- moves_test.lua: the fast paths of transforms, indexing, padding and sets against slow ways of saying the same.
local t = require "check"
local F = torch.nn.functional

-- The transform as a product with the matrix of roots of unity, in double.
local function dft(z)
  local n = z:size(-1)
  local k = torch.arange(n):double()
  local a = (k:unsqueeze(-1) * k):fmod(n) * (-2 * math.pi / n)
  return torch.matmul(z, torch.complex(a:cos(), a:sin()))
end
local function far(a, b)
  local d = (a:to(torch.complex128) - b:to(torch.complex128)):abs():max():item()
  return d / (b:abs():max():item() + 1e-30)
end

local lengths = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 31, 61, 64, 67, 97, 100, 128, 130, 134, 200, 256, 257, 400, 512 }
t.test("transforms of every kind of length, in rows and columns", function()
  for _, n in ipairs(lengths) do
    local x = torch.randn(19, n):double()
    local z = torch.complex(x, torch.randn(19, n):double())
    local want, half = dft(z), dft(torch.complex(x, torch.zeros_like(x))):narrow(1, 0, n // 2 + 1)
    for _, wide in ipairs { true, false } do
      local tol = wide and 1e-13 or 1e-6
      local zz = wide and z or z:to(torch.complex64)
      local xx = wide and x or x:float()
      local hh = wide and half or half:to(torch.complex64)
      local function near(name, a, b)
        local e = far(a, b)
        t.ok(e < tol, name .. " of length " .. n .. ": error " .. e)
      end
      near("fft", torch.fft.fft(zz), want)
      near("ifft", torch.fft.ifft(torch.fft.fft(zz)), z)
      near("rfft", torch.fft.rfft(xx), half)
      near("irfft", torch.fft.irfft(hh, n), x)
      near("fft of columns", torch.fft.fft(zz:t():contiguous(), nil, 0):t(), want)
      near("rfft of columns", torch.fft.rfft(xx:t():contiguous(), nil, 0):t(), half)
      near("irfft of columns", torch.fft.irfft(hh:t():contiguous(), n, 0):t(), x)
    end
  end
end)

t.test("real input over several dimensions is complex input without imaginary part", function()
  for _, size in ipairs { { 7, 9 }, { 3, 5, 8 }, { 4, 6, 7 }, { 1, 1 }, { 2, 1, 3 } } do
    local x = torch.randn(table.unpack(size)):double()
    local z = torch.complex(x, torch.zeros_like(x))
    for mask = 1, 2 ^ #size - 1 do
      local dims = {}
      for d = 0, #size - 1 do if mask >> d & 1 == 1 then dims[#dims + 1] = d end end
      t.ok((torch.fft.fftn(x, nil, dims) - torch.fft.fftn(z, nil, dims)):abs():max():item() < 1e-12)
    end
  end
end)

t.test("scatters and gathers along every dimension", function()
  local x, src = torch.zeros(4, 5, 6), torch.rand(3, 5, 6)
  local ix = torch.randint(0, 4, { 3, 5, 6 })
  local want = x:clone()
  for i = 0, 2 do for j = 0, 4 do for k = 0, 5 do
    local at = ix[i][j][k]:item()
    want[at][j][k] = want[at][j][k] + src[i][j][k]
  end end end
  t.ok(torch.allclose(x:scatter_add(0, ix, src), want))
  for d = 1, 2 do
    local p = d == 1 and { 1, 0, 2 } or { 1, 2, 0 }
    local back = d == 1 and { 1, 0, 2 } or { 2, 0, 1 }
    local got = x:permute(p):contiguous():scatter_add(d, ix:permute(p), src:permute(p)):permute(back)
    t.ok(torch.allclose(got, want), "scatter_add along " .. d)
    local g = want:permute(p):gather(d, ix:permute(p)):permute(back)
    t.eq(g:equal(want:gather(0, ix)), true)
  end
end)

t.test("scatter_reduce keeps nan and finds the extrema", function()
  local nan = 0 / 0
  local src = torch.tensor { 1., nan, 3., 5., 4. }
  local ix = torch.tensor { 0, 1, 1, 2, 2 }
  local got = torch.zeros(3):scatter_reduce(0, ix, src, "amax")
  t.eq(tostring(got[0]:item()) .. tostring(got[1]:item() ~= got[1]:item()) .. got[2]:item(), "1.0true5.0")
  t.eq(torch.zeros(3):scatter_reduce(0, ix, src, "amin")[2]:item(), 0.)
  local prod = torch.zeros(2):int():scatter_reduce(0, torch.tensor { 1 }, torch.tensor { 7 }:int(), "prod",
    { include_self = false })
  t.eq(prod[1]:item(), 7)
end)

t.test("whole slices by one index, from either end, and what lies outside", function()
  local x = torch.arange(24):reshape(4, 6)
  t.eq(x[torch.tensor { -1, 0 }]:equal(torch.stack { x[3], x[0] }), true)
  t.eq(x:take(torch.tensor { -1, 2 }):tolist(), { 23, 2 })
  t.eq(x:index_select(1, torch.tensor { 5, 5, 0 })[1]:tolist(), { 11, 11, 6 })
  t.error_matches(function() return x[torch.tensor { 4 }] end, "out of bounds")
  t.error_matches(function() return x[torch.tensor { -5 }] end, "out of bounds")
  t.error_matches(function() return x:index_select(0, torch.tensor { -1 }) end, "out of bounds")
  t.error_matches(function() return x:gather(1, torch.tensor { { 6 } }) end, "out of bounds")
  local y = torch.zeros(4, 3)
  y:index_add_(0, torch.tensor { 1, 1, 3 }, torch.ones(3, 3))
  t.eq(y:sum(1):tolist(), { 0., 6., 0., 3. })
  y:index_copy_(0, torch.tensor { 0 }, torch.full({ 1, 3 }, 9.))
  y:index_fill_(0, torch.tensor { -1 }, 2)
  t.eq(y:sum(1):tolist(), { 27., 6., 0., 6. })
end)

t.test("an index that lies outside leaves what was to be written in place alone", function()
  local at, rows = torch.tensor { 0, 1, 900 }, torch.ones(3, 300)
  local wide = torch.zeros(300, 300):long()
  wide[299][299] = 900
  local calls = {
    function(y) y:scatter_add_(1, wide, torch.ones(300, 300)) end,
    function(y) y:scatter_(0, wide, 1) end,
    function(y) y:scatter_reduce_(1, wide, torch.ones(300, 300), "sum") end,
    function(y) y:index_add_(0, at, rows) end,
    function(y) y:index_copy_(0, at, rows) end,
    function(y) y:index_fill_(0, at, 1) end,
    function(y) y:index_reduce_(0, at, rows, "amax") end,
    function(y) y:index_put_({ at }, torch.tensor(1.)) end,
    function(y) y:put_(torch.tensor { 0, 1, 90000 }, torch.ones(3)) end,
  }
  for i, call in ipairs(calls) do
    local y = torch.zeros(300, 300)
    t.error_matches(function() call(y) end, "out of bounds")
    t.eq(y:count_nonzero():item(), 0, "call " .. i)
  end
end)

t.test("nonzero, masked_scatter and flip", function()
  local m = torch.rand(3, 5, 1100):gt(0.5)
  local at = m:nonzero()
  t.eq(at:size(0), m:sum():item())
  t.eq(m[{ at:select(1, 0), at:select(1, 1), at:select(1, 2) }]:all():item(), true)
  t.eq(torch.zeros(3, 5, 1100):masked_scatter(m, torch.ones(20000)):sum():item(), m:sum():float():item())
  for _, d in ipairs { torch.uint8, torch.int16, torch.float32, torch.float64, torch.complex128 } do
    local x = torch.arange(37):to(d)
    local back = torch.arange(36, -1, -1):to(d)
    t.eq(x:flip { 0 }:equal(back), true)
    t.eq(x:masked_scatter(x:ne(3), back)[3]:equal(x[3]), true)
  end
end)

t.test("isin: near and far numbers, zeros, nan, nothing", function()
  local x = torch.tensor { 1, 5, 2 ^ 40 // 1, -7 }
  t.eq(torch.isin(x, torch.tensor { 5, -7 }):tolist(), { false, true, false, true })
  t.eq(torch.isin(x, torch.tensor { 5, 2 ^ 40 // 1, 2 ^ 62 // 1 }):tolist(), { false, true, true, false })
  local y = torch.tensor { 0., -0., 0 / 0, 1.5 }
  t.eq(torch.isin(y, torch.tensor { -0., 0 / 0 }):tolist(), { true, true, false, false })
  t.eq(torch.isin(y, torch.zeros(0)):any():item(), false)
end)

t.test("padding and nearest neighbours", function()
  local x = torch.arange(12):float():reshape(1, 1, 3, 4)
  t.eq(F.pad(x, { 1, 2, 1, 0 }, "reflect")[0][0][0]:tolist(), { 5., 4., 5., 6., 7., 6., 5. })
  t.eq(F.pad(x, { 2, 1, 0, 1 }, "replicate")[0][0][3]:tolist(), { 8., 8., 8., 9., 10., 11., 11. })
  t.eq(F.pad(x, { 1, 0, 1, 1 }, "constant", 7)[0][0][4]:tolist(), { 7., 7., 7., 7., 7. })
  t.eq(F.pad(x, { 1, 0, 1, 1 }, "constant", 7)[0][0][1]:tolist(), { 7., 0., 1., 2., 3. })
  t.eq(F.interpolate(x, { scale_factor = 2 })[0][0][3]:tolist(), { 4., 4., 5., 5., 6., 6., 7., 7. })
  t.eq(F.interpolate(x, { size = { 2, 3 } })[0][0][1]:tolist(), { 4., 5., 6. })
  t.eq(F.pixel_shuffle(torch.arange(16):reshape(1, 4, 2, 2), 2)[0][0][1]:tolist(), { 8, 12, 9, 13 })
end)

-- Larger than the pieces these ops are cut into.
local shapes = { { 100000 }, { 3, 40000 }, { 40000, 3 }, { 17, 19, 301 }, { 2, 20000, 2 }, { 1 }, { 0 }, { 3, 0 } }

t.test("nonzero in pieces", function()
  for _, shape in ipairs(shapes) do
    local n = torch.Size(shape):numel()
    local place = torch.arange(n)
    for _, part in ipairs { 0, 0.01, 0.5, 1 } do
      local mask = torch.rand(n):lt(part)
      local rest, columns = place:masked_select(mask), {}
      for d = #shape, 1, -1 do
        columns[d] = rest % math.max(shape[d], 1)
        rest = torch.div(rest, math.max(shape[d], 1), { rounding_mode = "floor" })
      end
      t.ok(torch.equal(mask:view(shape):nonzero(), torch.stack(columns, 1)), "shape " .. table.concat(shape, " "))
    end
  end
  t.eq(torch.tensor(3):nonzero().shape, torch.Size { 1, 0 })
end)
t.test("flip and repeat_interleave in pieces", function()
  for _, shape in ipairs(shapes) do
    local n = torch.Size(shape):numel()
    local x = torch.arange(n):view(shape)
    for d = 0, #shape - 1 do
      t.ok(torch.equal(x:flip(d), x:index_select(d, torch.arange(shape[d + 1] - 1, -1, -1))), "flip of " .. d)
      for r = 0, 3 do
        t.ok(torch.equal(x:repeat_interleave(r, d), x:repeat_interleave(torch.tensor { r }, d)), "repeated in " .. d)
      end
    end
    t.ok(torch.equal(x:flip(torch.arange(#shape):tolist()), x:flatten():flip(0):view(shape)), "flip of all")
    t.ok(torch.equal(x:repeat_interleave(3), x:flatten():repeat_interleave(torch.tensor { 3 })), "repeated")
  end
  local x = torch.arange(4)
  x:repeat_interleave(1):add_(1)
  t.eq(x:tolist(), { 0, 1, 2, 3 })
  t.error_matches(function() return x:repeat_interleave(3, { output_size = 5 }) end, "output_size 5")
end)
t.test("a running sum on one thread and on two", function()
  local x, threads = torch.rand(5000000), torch.get_num_threads()
  local want = x:double():cumsum(0)
  for n = 1, 2 do
    torch.set_num_threads(n)
    t.ok(far(x:cumsum(0), want) < 1e-7, n .. " threads")
  end
  torch.set_num_threads(threads)
end)

t.test("softmax over any dimension is that of the last one", function()
  for _, shape in ipairs { { 3, 70, 5 }, { 2, 9, 300 }, { 2, 1, 40 }, { 700, 33 }, { 4, 3, 2, 129 } } do
    for _, name in ipairs { "softmax", "log_softmax" } do
      for _, dtype in ipairs { torch.float32, torch.float64, torch.bfloat16 } do
        local x = (torch.randn(shape) * 4):to(dtype)
        x:view(-1)[3] = -math.huge
        for d = 0, #shape - 2 do
          local want = x:transpose(d, -1):contiguous()[name](x:transpose(d, -1):contiguous(), -1):transpose(d, -1)
          local got = x[name](x, d)
          local tol = dtype == torch.bfloat16 and 1e-3 or dtype == torch.float32 and 2e-6 or 1e-14
          t.ok(torch.allclose(got, want, { rtol = tol * 10, atol = tol, equal_nan = true }), name .. " over " .. d)
        end
      end
    end
  end
  t.eq(torch.full({ 2, 3 }, -math.huge):softmax(0):isnan():all():item(), true)
end)
t.test("unique_consecutive of all elements", function()
  local x = torch.tensor { 1., 1, 2, 0 / 0, 0 / 0, 3, 3, 3, 1 }
  local values, places, counts = torch.unique_consecutive(x, { return_inverse = true, return_counts = true })
  t.eq(values[":2"]:tolist(), { 1., 2. })
  t.eq(places:tolist(), { 0, 0, 1, 2, 3, 4, 4, 4, 5 })
  t.eq(counts:tolist(), { 2, 1, 1, 1, 3, 1 })
  local big = torch.randint(0, 3, { 300, 500 })
  local v, i, n = torch.unique_consecutive(big, { return_inverse = true, return_counts = true })
  t.ok(torch.equal(v:repeat_interleave(n), big:flatten()) and torch.equal(v[i], big))
  t.eq(torch.unique_consecutive(torch.tensor(5)):tolist(), { 5 })
end)
t.test("equal looks at every part", function()
  local x = torch.zeros(1000003)
  for _, at in ipairs { 0, 16383, 16384, 150000, 999999, 1000002 } do
    local y = x:clone()
    t.ok(x:equal(y), "same")
    y[at] = 1
    t.ok(not x:equal(y), "differs at " .. at)
  end
end)
t.test("elements repeated by each count, in each size of element", function()
  for _, dtype in ipairs { torch.uint8, torch.bfloat16, torch.float32, torch.int64, torch.complex128 } do
    local x = torch.arange(0, 5000):remainder(120):to(dtype)
    for _, r in ipairs { 2, 3, 4, 5, 7, 15, 16, 17, 63, 64, 65, 100 } do
      local want = x:index_select(0, torch.div(torch.arange(0, 5000 * r), r, { rounding_mode = "floor" }))
      t.ok(torch.equal(x:unsqueeze(-1):expand(5000, r):contiguous():view(-1), want), r .. " times")
    end
    local m = x[":4800"]:view(40, 120):t()
    t.ok(torch.equal(m:repeat_interleave(3, 1), m:repeat_interleave(torch.tensor { 3 }, 1)), "transposed")
  end
end)
t.test("half precision from and to every dtype", function()
  local x = torch.arange(0, 1100) / 8 - 50
  for _, dtype in ipairs { torch.float64, torch.bfloat16, torch.int8, torch.uint8, torch.int64, torch.bool,
    torch.complex64 } do
    local y = x:abs():to(dtype)
    t.ok(torch.equal(y:half(), (dtype.is_complex and torch.real(y) or y):float():half()), "to half")
    t.ok(torch.equal(x:abs():half():to(dtype), x:abs():half():float():to(dtype)), "from half")
  end
end)
t.test("index_fill of slices, in every layout", function()
  for _, shape in ipairs { { 7, 5, 3 }, { 3, 9000 }, { 2, 6, 5000 }, { 4, 1, 3, 2 } } do
    for d = 0, #shape - 1 do
      for _, dtype in ipairs { torch.float32, torch.uint8, torch.complex128 } do
        local x = torch.arange(torch.Size(shape):numel()):view(shape):to(dtype)
        local index, want = torch.randint(-shape[d + 1], shape[d + 1], { 3 }), x:clone()
        for _, k in ipairs(index:tolist()) do want:select(d, k):fill_(9) end
        t.ok(torch.equal(x:index_fill(d, index, 9), want), "contiguous")
        t.ok(torch.equal(x:transpose(0, -1):contiguous():transpose(0, -1):index_fill(d, index, 9), want), "strided")
        t.ok(torch.equal(x:clone():index_fill_(d, index, 9), want), "in place")
        local y = x:clone()
        t.error_matches(function() y:index_fill_(d, torch.tensor { 0, shape[d + 1] }, 9) end, "out of bounds")
        t.ok(torch.equal(x, y), "a wrong index leaves it alone")
      end
    end
  end
  t.eq(torch.zeros(5, 3, 0):index_fill(0, torch.tensor { 1 }, 2).shape, torch.Size { 5, 3, 0 })
end)
t.test("sign, size and running sums of half precision", function()
  local special = torch.tensor { 1.5, -2, 0 / 0, math.huge, -math.huge, 0., -0., 3e-7 }
  for _, dtype in ipairs { torch.float16, torch.bfloat16 } do
    local h, m = special:to(dtype), torch.randn(100, 70):to(dtype)
    t.eq(torch.signbit(-h):logical_xor(torch.signbit(h)):all():item(), true)
    t.ok(torch.allclose(h:abs(), h:float():abs():to(dtype), { rtol = 0, equal_nan = true }))
    t.ok(torch.equal(-m:t(), (-m):t()) and torch.equal(m:t():abs(), m:float():abs():t():to(dtype)))
    for _, name in ipairs { "cumsum", "cumprod", "logcumsumexp" } do
      t.ok(torch.equal(m[name](m, 1), m:float()[name](m:float(), 1):to(dtype)), name)
    end
  end
end)
t.test("points of few numbers, broadcast", function()
  for _, k in ipairs { 1, 2, 3, 4, 7, 8, 9 } do
    local x, v, w = torch.rand(50000, k), torch.rand(k), torch.rand(50000, 1)
    t.ok(torch.equal(x + v, x + v:expand(50000, k):contiguous()))
    t.ok(torch.equal(x * w, x * w:expand(50000, k):contiguous()))
    t.ok(torch.equal(x:narrow(1, 0, (k + 1) // 2):exp(), x:exp():narrow(1, 0, (k + 1) // 2)))
    local y = x:clone()
    y:t():add_(v:unsqueeze(1))
    t.ok(torch.equal(y, x + v))
  end
end)
t.test("one number seen as many", function()
  for _, dtype in ipairs { torch.float32, torch.bfloat16, torch.int64, torch.complex64, torch.bool } do
    local a, b = torch.tensor(3):to(dtype):expand(40, 50), torch.tensor({ { 2 } }):to(dtype):expand(40, 50)
    local c, d = a:contiguous(), b:contiguous()
    for _, f in ipairs { function(x) return x:abs() end, function(x, y) return x * y end,
      function(x, y) return x:eq(y) end, function(x, y) return torch.where(x:eq(y), x, y) end,
      function(x) return x:to(torch.float64) / 7 end,
      function(x) return x:float():sum(0) end, function(x) return x:double():sum() end,
      function(x) return x:float():mean({ 1 }, true) end, function(x) return x:logical_not() end } do
      local got, want = f(a, b), f(c, d)
      t.ok(torch.equal(got, want) and got.dtype == want.dtype and got:stride() == want:stride())
    end
  end
  local x = torch.randn(30, 20, { requires_grad = true })
  for _, f in ipairs { function() return -x end, function() return x:relu() end,
    function() return x:expand(3, 30, 20):clone() end, function() return x:tile { 2, 3 } end,
    function() return x:flatten():dot(x:flatten()) end } do
    local y = f()
    local summed = torch.autograd.grad(f():sum(), x)[1]
    t.ok(torch.allclose(summed, torch.autograd.grad(y, x, torch.ones_like(y))[1]))
  end
end)
t.test("gradients of cdist, glu and prod", function()
  local a, b = torch.randn(1, 1500, 70, { requires_grad = true }), torch.randn(1, 40, 70, { requires_grad = true })
  local y = torch.cdist(a, b, { p = 1 })
  local g = torch.rand_like(y)
  local ga, gb = table.unpack(torch.autograd.grad(y, { a, b }, g))
  local s = (a:unsqueeze(2) - b:unsqueeze(1)):detach():sgn() * g:unsqueeze(-1)   -- all at once; cdist goes in parts
  t.ok(torch.allclose(ga, s:sum(2), { rtol = 1e-4, atol = 1e-4 }))
  t.ok(torch.allclose(gb, -s:sum(1), { rtol = 1e-4, atol = 1e-3 }))
  local x = torch.randn(4, 6, { dtype = torch.float64, requires_grad = true })
  local check, again = torch.autograd.gradcheck, torch.autograd.gradgradcheck
  for _, f in ipairs { function(v) return F.glu(v, 0) end, function(v) return F.glu(v) end,
    function(v) return v:prod() end, function(v) return v:prod(1) end } do
    t.ok(check(f, { x }) and again(f, { x }))
  end
  local z = torch.tensor { 2., 0, 3 }:requires_grad_()
  z:prod():backward()
  t.eq(z.grad:tolist(), { 0., 6., 0. })
end)
t.test("atan2 of doubles is C's", function()
  local o = { dtype = torch.float64 }
  local special = torch.tensor({ 0., -0., 1, -1, math.huge, -math.huge, 0 / 0, 5e-324, -5e-324, 1e308, -1.7e308,
    2, 0.4, 1e-300 }, o)
  local far_apart = torch.randn(20000, o) * torch.exp(torch.randn(20000, o) * 3)
  local n = special:numel()
  local y = torch.cat { special:unsqueeze(1):expand(n, n):flatten(), far_apart }
  local x = torch.cat { special:expand(n, n):flatten(), far_apart:flip(0) }
  local got, yl, xl = torch.atan2(y, x):tolist(), y:tolist(), x:tolist()
  for i = 1, #got do
    local want = math.atan(yl[i], xl[i])
    local alike = want ~= want and got[i] ~= got[i] or want == 0 and 1 / got[i] == 1 / want or
      want ~= 0 and math.abs(got[i] - want) <= 4.5e-16 * math.abs(want)
    t.ok(alike, ("atan2(%g, %g) = %.17g, not %.17g"):format(yl[i], xl[i], got[i], want))
  end
end)
t.test("a long dot product", function()
  local x, y = torch.randn(1000003), torch.randn(1000003)
  t.ok(math.abs(x:dot(y):item() - x:double():dot(y:double()):item()) < 1e-2)
  t.ok(math.abs(x:double():dot(y:double()):item() - (x:double() * y:double()):sum():item()) < 1e-9)
end)
t.test("zero_ cuts the gradient", function()
  local x = torch.ones(3, { requires_grad = true })
  local y = x * 2
  y:zero_()
  y:sum():backward()
  t.eq(x.grad:tolist(), { 0., 0., 0. })
end)

t.done()
