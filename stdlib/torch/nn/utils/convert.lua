-- torch.nn.utils.convert: parameters as one vector, batch norm folded into the layer before it, layers without values.
local torch = require "torch"
local core = require "torch.nn.core"

local M = {}

function M.parameters_to_vector(parameters)
  local out = {}
  for i, p in ipairs(parameters) do out[i] = p:reshape { -1 } end
  return torch.cat(out, 0)
end
--- Gives each parameter its part of vec, as a view of it.
function M.vector_to_parameters(vec, parameters)
  if not torch.is_tensor(vec) then error("expected torch.Tensor, but got: " .. type(vec), 2) end
  local at = 0
  for _, p in ipairs(parameters) do
    local n = p:numel()
    p.data = vec:narrow(0, at, n):reshape(p.shape).data
    at = at + n
  end
end

--- New weight and bias of a convolution whose output a batch norm would scale and shift.
function M.fuse_conv_bn_weights(conv_w, conv_b, mean, var, eps, bn_w, bn_b, transpose)
  local dtype = conv_w.dtype
  conv_b, bn_w, bn_b = conv_b or torch.zeros_like(mean), bn_w or torch.ones_like(mean), bn_b or torch.zeros_like(mean)
  local scale = bn_w * torch.rsqrt(var + eps)
  local shape = {}
  for i = 1, conv_w.ndim do shape[i] = 1 end
  shape[transpose and 2 or 1] = -1
  local w = (conv_w * scale:reshape(shape)):to(dtype)
  local b = ((conv_b - mean) * scale + bn_b):to(dtype)
  return core.Parameter(w:detach(), conv_w.requires_grad), core.Parameter(b:detach(), conv_b.requires_grad)
end
function M.fuse_linear_bn_weights(w, b, mean, var, eps, bn_w, bn_b)
  b = b or torch.zeros_like(mean)
  local scale = bn_w * torch.rsqrt(var + eps)
  return core.Parameter((w * scale:unsqueeze(-1)):detach(), w.requires_grad),
    core.Parameter(((b - mean) * scale + bn_b):detach(), b.requires_grad)
end

local function fuse(name, fuse_weights)
  return function(layer, bn, transpose)
    if layer.training or bn.training then error(name .. ": Fusion only for eval!", 2) end
    if bn.running_mean == nil or bn.running_var == nil then error(name .. ": the norm keeps no running statistics", 2) end
    local fused = layer:clone()
    local w, b = fuse_weights(fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, transpose)
    fused.weight = w
    fused.bias = nil
    fused.bias = b
    return fused
  end
end
M.fuse_conv_bn_eval = fuse("fuse_conv_bn_eval", M.fuse_conv_bn_weights)
M.fuse_linear_bn_eval = fuse("fuse_linear_bn_eval", M.fuse_linear_bn_weights)

--- Class(...) without values in its parameters, and without drawing random numbers.
function M.skip_init(class, ...)
  local args = table.pack(...)
  local last, given = args[args.n], {}
  if args.n > 0 and type(last) == "table" and getmetatable(last) == nil and type(next(last)) == "string" then
    for k, v in pairs(last) do given[k] = v end
    args.n = args.n - 1
  end
  local device = given.device or "cpu"
  given.device = "meta"
  args[args.n + 1] = given
  return class(table.unpack(args, 1, args.n + 1)):to_empty { device = device }
end

return M
