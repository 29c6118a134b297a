-- Reductions by rows, by columns, in groups, in pieces and through buffers against sums over a Lua table.
local t = dofile((arg[0]:match("^(.*)/[^/]*$") or ".") .. "/check.lua")
local torch = require "torch"
torch.manual_seed(5)

-- The elements of x along dims, one table per kept index, in the result's order.
local function slices(x, dims)
  local gone, keep, order = {}, {}, {}
  for _, d in ipairs(dims) do gone[d] = true end
  for d = 0, x:dim() - 1 do if not gone[d] then keep[#keep + 1] = d end end
  for _, d in ipairs(keep) do order[#order + 1] = d end
  for _, d in ipairs(dims) do order[#order + 1] = d end
  local kept = 1
  for _, d in ipairs(keep) do kept = kept * x:size(d) end
  local flat, rows = x:permute(order):contiguous():double():flatten():tolist(), {}
  local n = #flat // math.max(kept, 1)
  for i = 1, kept do rows[i] = table.move(flat, (i - 1) * n + 1, i * n, 1, {}) end
  return rows
end

local function fold(init, step, finish)
  return function(row)
    local a = init
    for _, v in ipairs(row) do a = step(a, v) end
    if finish then return finish(a) end
    return a
  end
end
local function power(p)
  return fold(0, function(a, v) return a + math.abs(v) ^ p end, function(a) return a ^ (1 / p) end)
end
local sum = fold(0, function(a, v) return a + v end, function(a) return a end)
local ops = {
  sum = { sum, function(x, d) return x:sum(d) end },
  mean = { function(r) return sum(r) / #r end, function(x, d) return x:mean(d) end },
  amax = { fold(-math.huge, math.max), function(x, d) return x:amax(d) end },
  amin = { fold(math.huge, math.min), function(x, d) return x:amin(d) end },
  nnz = { fold(0, function(a, v) return a + (v ~= 0 and 1 or 0) end),
    function(x, d) return x:count_nonzero(d) end },
  var = { function(r)
    local m = sum(r) / #r
    return fold(0, function(a, v) return a + (v - m) ^ 2 end)(r) / (#r - 1)
  end, function(x, d) return x:var(d) end },
  lse = { fold(0, function(a, v) return a + math.exp(v) end, math.log),
    function(x, d) return x:logsumexp(d) end },
  norm1 = { power(1), function(x, d) return torch.linalg.vector_norm(x, 1, d) end },
  norm2 = { power(2), function(x, d) return torch.linalg.vector_norm(x, 2, d) end },
  norm3 = { power(3), function(x, d) return torch.linalg.vector_norm(x, 3, d) end },
  norm25 = { power(2.5), function(x, d) return torch.linalg.vector_norm(x, 2.5, d) end },
  norminf = { fold(0, function(a, v) return math.max(a, math.abs(v)) end),
    function(x, d) return torch.linalg.vector_norm(x, math.huge, d) end },
}
local shapes = {
  { { 7 }, { 0 } }, { { 3, 5 }, { 1 } }, { { 3, 5 }, { 0 } }, { { 70, 33 }, { 1 } }, { { 70, 33 }, { 0 } },
  { { 5, 2100 }, { 1 } }, { { 2100, 5 }, { 0 } }, { { 3, 700 }, { 0 } }, { { 700, 3 }, { 1 } },
  { { 4, 9, 7 }, { 0, 2 } }, { { 4, 9, 7 }, { 1 } }, { { 4, 9, 7 }, { 0, 1, 2 } }, { { 6, 1, 40, 31 }, { 1, 3 } },
  { { 6, 8, 9, 5 }, { 1, 3 } }, { { 40, 6, 100 }, { 0, 2 } }, { { 2, 3, 4, 5 }, { 0, 2 } }, { { 300, 600 }, { 0, 1 } },
  { { 9, 1, 70 }, { 0 } }, { { 600, 2, 3 }, { 0 } },
}
local tolerance = { float32 = 2e-5, float64 = 1e-12, float16 = 4e-3, bfloat16 = 2e-2 }

-- The same elements lying otherwise in memory.
local function layouts(x)
  local n, back = x:dim(), {}
  for d = 0, n - 1 do back[d + 1] = n - 1 - d end
  local wide = torch.stack({ x, torch.zeros_like(x) }, -1)
  return { plain = x, turned = x:permute(back):contiguous():permute(back), stepped = wide:select(-1, 0) }
end

for name, op in pairs(ops) do
  t.test(name, function()
    for _, case in ipairs(shapes) do
      for dtype, tol in pairs(tolerance) do
        local base = (torch.rand(table.unpack(case[1])) * 4 - 2):to(torch[dtype])
        local want
        for layout, x in pairs(layouts(base)) do
          local rows = want or slices(x, case[2])
          local scale = name == "sum" and (#rows[1]) ^ 0.5 or 1
          want = rows
          local got = op[2](x, case[2]):double():flatten():tolist()
          if type(got) ~= "table" then got = { got } end
          for i, row in ipairs(rows) do
            local w = op[1](row)
            if math.abs(got[i] - w) > tol * (1 + math.abs(w)) * scale
               and math.abs(w) < 60000 then
              error(("%s %s %s dims %s: %d: got %.9g, want %.9g"):format(dtype, layout, table.concat(case[1], "x"),
                table.concat(case[2], ","), i, got[i], w))
            end
          end
          assert(#got == #rows)
        end
      end
    end
  end)
end

t.test("integers and bools", function()
  for _, case in ipairs(shapes) do
    for _, dtype in ipairs { "bool", "uint8", "int8", "int16", "int32", "int64" } do
      local base = torch.randint(0, 3, case[1]):to(torch[dtype])
      for _, x in pairs(layouts(base)) do
        local rows = slices(base, case[2])
        local function same(got, f)
          got = got:long():flatten():tolist()
          for i, row in ipairs(rows) do t.eq(got[i], math.tointeger(f(row))) end
        end
        same(x:sum(case[2]), sum)
        same(x:amax(case[2]), ops.amax[1])
        same(x:all(case[2]), function(r) return math.min(1, ops.amin[1](r)) end)
        same(x:any(case[2]), function(r) return math.min(1, ops.amax[1](r)) end)
      end
    end
  end
end)

t.test("nan and infinities", function()
  local nan, inf = 0 / 0, math.huge
  for _, n in ipairs { 3, 31, 32, 33, 100, 1024, 3000 } do
    for _, at in ipairs { 0, n // 2, n - 1 } do
      for _, dtype in ipairs { "float32", "float64", "float16", "bfloat16" } do
        local x = torch.rand(n, 5):to(torch[dtype])
        x:select(0, at):fill_(nan)
        for _, y in ipairs { x, x:t():contiguous():t() } do
          assert(y:amax(0):isnan():all():item() and y:amin():isnan():item())
          assert(torch.linalg.vector_norm(y, inf, 0):isnan():all():item())
          assert(y:logsumexp(0):isnan():all():item() and y:var(0):isnan():all():item())
          assert(y:nansum(0):isfinite():all():item() and y:nanmean():isfinite():item())
        end
        x:select(0, at):fill_(inf)
        for _, y in ipairs { x, x:t():contiguous():t() } do
          t.eq(y:amax():item(), inf)
          t.eq(y:logsumexp({ 0, 1 }):item(), inf)
          assert(y:logsumexp(0):eq(inf):all():item())
        end
        x:fill_(-inf)
        assert(x:logsumexp(0):eq(-inf):all():item() and x:logsumexp({ 0, 1 }):item() == -inf)
      end
    end
  end
  t.eq(torch.zeros(0):sum():item(), 0.0)
  t.eq(torch.zeros(3, 0):logsumexp(1):tolist(), { -inf, -inf, -inf })
end)

t.test("the same bits with any number of threads", function()
  local before = torch.get_num_threads()
  for _, x in ipairs { torch.randn(1200, 700), torch.randn(300000), torch.randn(40, 50, 300) } do
    local last = x:dim() - 1
    local function results() return { x:sum(), x:sum(0), x:sum(last), x:var(), x:norm(), x:logsumexp(0) } end
    torch.set_num_threads(1)
    local one = results()
    torch.set_num_threads(3)
    for i, y in ipairs(results()) do assert(y:equal(one[i]), "result " .. i) end
  end
  torch.set_num_threads(before)
end)

t.done()
