-- conv_grid_test.lua: float convolutions, their gradients and transposes against complex ones (through columns).
local t = require "check"
local torch = require "torch"
local F = torch.nn.functional
local plain = { F.conv1d, F.conv2d, F.conv3d }
local turned = { F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d }

local function gradients(f, x, w, options, dtype, gy)
  x, w = x:to(dtype):requires_grad_(), w:to(dtype):requires_grad_()
  local y = f(x, w, options)
  gy = gy or torch.randn_like(y)
  local dx, dw = table.unpack(torch.autograd.grad(y, { x, w }, { grad_outputs = gy:to(dtype) }))
  return { y = y:detach(), dx = dx, dw = dw }, gy
end

local function close(f, xs, ws, options, dtype)
  local x, w = torch.randn(xs, { dtype = dtype }), torch.randn(ws, { dtype = dtype })
  local tolerance = dtype == torch.float32 and 2e-5 or 1e-13
  local got, gy = gradients(f, x, w, options, dtype)
  local want = gradients(f, x, w, options, torch.complex128, gy)
  for _, name in ipairs { "y", "dx", "dw" } do
    local right = torch.real(want[name])
    local off = (got[name]:to(torch.float64) - right):abs():max():item()
    t.eq(off <= tolerance * right:abs():max():item(), true)
  end
  local threads = torch.get_num_threads()
  for _, n in ipairs { 1, 3 } do
    torch.set_num_threads(n)
    local again = gradients(f, x, w, options, dtype, gy)
    for _, name in ipairs { "dx", "dw" } do t.eq(torch.equal(again[name], got[name]), true) end
  end
  torch.set_num_threads(threads)
end

-- input, weight, options; with T the transposed convolution of the same.
local cases = {
  { { 2, 5, 13, 17 }, { 37, 5, 3, 3 }, { padding = 1 } },
  { { 3, 8, 32, 32 }, { 40, 8, 1, 1 }, {} },
  { { 2, 20, 9, 9 }, { 12, 20, 3, 3 }, { stride = 2, padding = 1 } },
  { { 2, 9, 23, 11 }, { 33, 9, 4, 5 }, { stride = { 2, 3 }, padding = { 1, 2 } } },
  { { 2, 8, 19, 30 }, { 8, 8, 3, 2 }, { stride = { 3, 2 }, dilation = { 2, 3 }, padding = 2 } },
  { { 7, 3, 7, 7 }, { 16, 3, 3, 3 }, { padding = 3 } },
  { { 2, 1, 28, 28 }, { 6, 1, 5, 5 }, { padding = 2 } },
  { { 2, 6, 21, 35 }, { 12, 1, 3, 3 }, { groups = 6, padding = 1 } },
  { { 2, 6, 21, 35 }, { 6, 1, 7, 9 }, { groups = 6, stride = 2, padding = 3 } },
  { { 2, 12, 15, 15 }, { 66, 4, 3, 3 }, { groups = 3, padding = 1 } },
  { { 2, 16, 10, 10 }, { 16, 2, 3, 3 }, { groups = 8, stride = 2 } },
  { { 2, 10, 1000 }, { 18, 10, 5 }, { padding = 2 } },
  { { 2, 4, 700 }, { 4, 1, 11 }, { groups = 4, stride = 4 } },
  { { 2, 6, 7, 8, 9 }, { 17, 6, 3, 3, 3 }, { padding = 1 } },
  { { 2, 8, 7, 8, 9 }, { 8, 8, 3, 2, 3 }, { stride = 2, padding = 1 } },
  { { 2, 5, 6, 8, 9 }, { 5, 1, 2, 3, 3 }, { groups = 5, dilation = { 1, 2, 1 } } },
  { { 2, 16, 8, 8 }, { 16, 12, 4, 4 }, { stride = 2, padding = 1 }, T = true },
  { { 2, 8, 9, 5 }, { 8, 9, 3, 3 }, {}, T = true },
  { { 2, 9, 7, 6 }, { 9, 11, 3, 5 }, { stride = 2, dilation = 2, output_padding = 1 }, T = true },
  { { 2, 8, 40 }, { 8, 2, 6 }, { stride = 3, groups = 4 }, T = true },
  { { 2, 8, 3, 4, 5 }, { 8, 8, 3, 3, 3 }, { stride = 2, padding = 1 }, T = true },
}
torch.manual_seed(5)
for _, c in ipairs(cases) do
  for _, dtype in ipairs { torch.float32, torch.float64 } do
    local name = (c.T and "transposed " or "") .. table.concat(c[1], "x") .. " by " .. table.concat(c[2], "x")
    t.test(name .. " " .. tostring(dtype), function()
      close((c.T and turned or plain)[#c[1] - 2], c[1], c[2], c[3], dtype)
    end)
  end
end

t.test("infinite inputs reach only the taps that read them", function()
  local x, y = torch.zeros(1, 1, 6, 6), torch.ones(1, 16, 4, 4)
  x[0][0][5][5] = math.huge
  local w = torch.zeros(16, 1, 3, 3):requires_grad_()
  local dw = torch.autograd.grad(F.conv2d(x, w), w, { grad_outputs = y })[1]
  t.eq(torch.isnan(dw):any():item(), false)
  t.eq(torch.isinf(dw):sum():item(), 16)
end)
t.done()
