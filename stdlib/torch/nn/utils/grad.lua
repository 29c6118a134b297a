-- torch.nn.utils.grad: norms of many gradients, and clipping by them or by value.
local torch = require "torch"
local parse = require "torch.kwargs"

local M = {}

local function list_of(tensors)
  if torch.is_tensor(tensors) then return { tensors } end
  local out = {}
  for _, t in ipairs(tensors) do out[#out + 1] = t end
  return out
end
local function gradients(parameters)
  local out = {}
  for _, p in ipairs(list_of(parameters)) do
    if p.grad then out[#out + 1] = p.grad end
  end
  return out
end
local function fused(tensors)
  for _, t in ipairs(tensors) do
    if t.dtype ~= torch.float32 or not t:is_contiguous() or t.device ~= torch.device("cpu") then return false end
  end
  return #tensors > 0
end

local function total_norm(tensors, p)
  if #tensors == 0 then return torch.tensor(0.0) end
  if p == 2 and fused(tensors) then return torch._total_norm(tensors) end
  local norms = {}
  for i, t in ipairs(tensors) do norms[i] = torch.linalg.vector_norm(t:detach(), p) end
  return torch.linalg.vector_norm(torch.stack(norms), p)
end
local function checked(norm, p, strict)
  if strict and (norm:isnan():item() or norm:isinf():item()) then
    error(("The total norm of order %s for gradients from `parameters` is non-finite, so it cannot be clipped. To disable this "
      .. "error and scale the gradients by the non-finite norm anyway, set `error_if_nonfinite=False`"):format(tostring(p)), 3)
  end
  return norm
end
local function clip(grads, max_norm, norm)
  local by = max_norm / (norm:item() + 1e-6)
  if by ~= by then by = 0 / 0 elseif by >= 1 then return end
  if fused(grads) then torch._scale_all(grads, by) return end
  for _, g in ipairs(grads) do g:mul_(by) end
end

--- get_total_norm(tensors, norm_type = 2.0, error_if_nonfinite = false)
function M.get_total_norm(...)
  local a = parse("get_total_norm", { "tensors", "norm_type", "error_if_nonfinite", "foreach", norm_type = 2.0 }, 2, ...)
  if a.tensors == nil then error("get_total_norm: argument 'tensors' is missing", 2) end
  return torch.no_grad(function()
    return checked(total_norm(list_of(a.tensors), a.norm_type), a.norm_type, a.error_if_nonfinite)
  end)
end
--- clip_grads_with_norm_(parameters, max_norm, total_norm)
function M.clip_grads_with_norm_(...)
  local a = parse("clip_grads_with_norm_", { "parameters", "max_norm", "total_norm", "foreach" }, 2, ...)
  if a.total_norm == nil or a.max_norm == nil then error("clip_grads_with_norm_: expected parameters, max_norm, total_norm", 2) end
  torch.no_grad(function() clip(gradients(a.parameters), a.max_norm, a.total_norm) end)
end
--- clip_grad_norm_(parameters, max_norm, norm_type = 2.0, error_if_nonfinite = false) -> the norm before
function M.clip_grad_norm_(...)
  local a = parse("clip_grad_norm_", { "parameters", "max_norm", "norm_type", "error_if_nonfinite", "foreach", norm_type = 2.0 }, 2, ...)
  if a.parameters == nil or a.max_norm == nil then error("clip_grad_norm_: expected parameters and max_norm", 2) end
  return torch.no_grad(function()
    local grads = gradients(a.parameters)
    local norm = checked(total_norm(grads, a.norm_type), a.norm_type, a.error_if_nonfinite)
    clip(grads, a.max_norm, norm)
    return norm
  end)
end
M.clip_grad_norm = M.clip_grad_norm_
--- clip_grad_value_(parameters, clip_value)
function M.clip_grad_value_(...)
  local a = parse("clip_grad_value_", { "parameters", "clip_value", "foreach" }, 2, ...)
  if a.parameters == nil or a.clip_value == nil then error("clip_grad_value_: expected parameters and clip_value", 2) end
  torch.no_grad(function()
    for _, g in ipairs(gradients(a.parameters)) do g:clamp_(-a.clip_value, a.clip_value) end
  end)
end

return M
