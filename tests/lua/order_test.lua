-- order_test.lua: sorting, selection, sets, scans and transforms on cases whose answers are known.
local t = require "check"
local function text(x) return table.concat(x:tolist(), " ") end

t.test("sort is stable and puts nan last", function()
  local v, i = torch.tensor { 2., 0 / 0, 1., 2. }:sort()
  t.eq(text(i), "2 0 3 1")
  local _, d = torch.tensor { 2., 0 / 0, 1., 2. }:sort { descending = true }
  t.eq(text(d), "1 0 3 2")
  t.eq(v[0]:item(), 1.)
end)

t.test("a long sort agrees with its own order", function()
  local x = torch.randn(100000)
  local v, i = x:sort()
  t.eq((v["1:"] - v[":-1"]):lt(0):any():item(), false)
  t.eq(x:gather(0, i):eq(v):all():item(), true)
  local k, j = x:topk(50, { largest = false })
  t.eq(k:eq(v[":50"]):all():item(), true)
  t.eq(j:eq(i[":50"]):all():item(), true)
end)

t.test("unique gives what was asked for", function()
  local x = torch.tensor { 3, 1, 3 }
  t.eq(select("#", torch.unique(x)), 1)
  local v, inv, n = torch.unique(x, { return_inverse = true, return_counts = true })
  t.eq(text(v) .. "/" .. text(inv) .. "/" .. text(n), "1 3/1 0 1/1 2")
  local u, c = torch.unique(x, { return_counts = true })
  t.eq(text(u) .. "/" .. text(c), "1 3/1 2")
end)

t.test("a running sum of a long row equals its pieces'", function()
  local s = torch.ones(100001):cumsum(0)
  t.eq(s[-1]:item(), 100001.)
  t.eq((s["1:"] - s[":-1"]):eq(1):all():item(), true)
end)

t.test("transforms invert each other at every kind of length", function()
  for _, n in ipairs { 1, 2, 3, 8, 15, 49, 61, 67, 120, 127, 1009 } do
    local x = torch.randn(n, { dtype = torch.complex128 })
    local e = (torch.fft.ifft(torch.fft.fft(x)) - x):abs():sum():item()
    t.eq(e < 1e-10, true)
    local r = torch.randn(n, { dtype = torch.float64 })
    t.eq((torch.fft.irfft(torch.fft.rfft(r), n) - r):abs():sum():item() < 1e-10, true)
  end
end)

t.test("a transform is the sum it stands for", function()
  local y = torch.fft.fft(torch.tensor { 1., 2., 4. })
  t.eq(math.abs(y[0].real:item() - 7) < 1e-6 and math.abs(y[1].imag:item() - math.sqrt(3)) < 1e-6, true)
end)

t.test("gradients flow through what was picked", function()
  local x = torch.tensor { 3., 1., 2. }:requires_grad_()
  local v = x:topk(2)
  v:sum():backward()
  t.eq(text(x.grad), "1.0 0.0 1.0")
end)

t.test("wrong arguments are errors", function()
  local x = torch.tensor { 1., 2. }
  t.error_matches(function() x:topk(3) end, "k")
  t.error_matches(function() x:kthvalue(0) end, "k")
  t.error_matches(function() torch.zeros(0):argmax() end, "empty")
  t.error_matches(function() torch.fft.fft(x, 0) end, "data points")
  t.error_matches(function() torch.fft.fft(x, { norm = "odd" }) end, "odd")
  t.error_matches(function() torch.bincount(torch.tensor { -1 }) end, "negative")
end)

t.done()
