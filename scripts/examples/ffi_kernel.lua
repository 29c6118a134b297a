-- ffi_kernel.lua: a C kernel of one's own as a differentiable op: moth scripts/examples/ffi_kernel.lua
local ffi = require "ffi"
local here = arg[0]:match("^(.*)/") or "."
local so = os.tmpname()
assert(os.execute(("%s -shared -fPIC -O2 -o %s %s/scale_kernel.c"):format(os.getenv("CC") or "cc", so, here)))
local lib = ffi.load(so, [[
  void bend(const double *x, double *y, size_t n);
  void bend_backward(const double *x, const double *g, double *gx, size_t n);
]])
os.remove(so)

local bend = torch.library.custom_op("my::bend(Tensor x) -> Tensor", {
  forward = function(x)
    x = x:contiguous()
    local y = torch.empty_like(x)
    lib.bend(x, y, x:numel())
    return y
  end,
  backward = function(ctx, g)
    local x, gx = ctx.inputs[1]:contiguous(), torch.empty_like(ctx.inputs[1])
    lib.bend_backward(x, g:contiguous(), gx, x:numel())
    return gx
  end,
  doc = "x^3 / (1 + x^2), computed by a C kernel of one's own.",
  example = "torch.ops.my.bend(torch.ones(2, {dtype = torch.float64}))",
})

torch.manual_seed(0)
local x = torch.randn(4, { dtype = torch.float64 }):requires_grad_()
bend(x):sum():backward()
print(bend(x))
print("gradient  ", x.grad)
print("by differences:", torch.library.opcheck(bend, { x }))
