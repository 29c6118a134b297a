-- torch.nn.utils.prune: entries of a parameter kept at zero by a mask.
--
-- While pruned, NAME_orig is the parameter, NAME_mask the buffer, and NAME their product, made anew before each call.
local torch = require "torch"
local core = require "torch.nn.core"

local M = {}
local hooks = setmetatable({}, { __mode = "k" })

local function parameter_of(module, name, fn)
  local t = core.is_module(module) and (core.fields(module)[name .. "_orig"] or module[name])
  if not torch.is_tensor(t) then error(("%s: no parameter '%s'"):format(fn, tostring(name)), 3) end
  return t
end
local function count_of(amount, n, fn)
  if type(amount) ~= "number" or amount < 0 then error(fn .. ": amount must be a number that is not negative", 3) end
  if math.type(amount) == "integer" then
    if amount > n then error(("%s: amount=%d should be smaller than the number of parameters to prune=%d"):format(fn, amount, n), 3) end
    return amount
  end
  if amount > 1 then error(fn .. ": a fraction must be between 0.0 and 1.0", 3) end
  local k = amount * n                                 -- Python's round: halves to even
  local f = math.floor(k)
  if k - f > 0.5 or (k - f == 0.5 and f % 2 == 1) then f = f + 1 end
  return math.tointeger(f)
end

local function apply_mask(module, name, mask)
  local orig = core.fields(module)[name .. "_orig"]
  if not orig then
    orig = module[name]
    module[name] = nil
    module:register_parameter(name .. "_orig", orig)
    module:register_buffer(name .. "_mask", mask)
    hooks[module] = hooks[module] or {}
    hooks[module][name] = module:register_forward_pre_hook(function(m)
      m[name] = m[name .. "_mask"]:to(m[name .. "_orig"].dtype) * m[name .. "_orig"]
    end)
  else module[name .. "_mask"] = mask end
  module[name] = mask:to(orig.dtype) * orig
  return module
end
local function old_mask(module, name, t)
  return core.fields(module)[name .. "_mask"] or torch.ones_like(t)
end

--- custom_from_mask(module, name, mask)
function M.custom_from_mask(module, name, mask)
  local t = parameter_of(module, name, "custom_from_mask")
  if mask.shape ~= t.shape then error("custom_from_mask: mask and parameter differ in shape", 2) end
  return apply_mask(module, name, old_mask(module, name, t) * mask:to(t.dtype))
end
function M.identity(module, name)
  local t = parameter_of(module, name, "identity")
  return apply_mask(module, name, old_mask(module, name, t))
end

-- Zeroes the entries that `choose` names among those still kept.
local function unstructured(fn, choose)
  return function(module, name, amount, scores)
    local t = parameter_of(module, name, fn)
    local mask = old_mask(module, name, t):clone()
    torch.no_grad(function()
      local kept = mask:flatten():eq(1)
      local at = kept:nonzero():flatten()
      local n = count_of(amount, at:numel(), fn)
      if n > 0 then
        local out = choose((scores or t):detach():flatten():index_select(0, at), n)
        mask:view { -1 }:index_fill_(0, at:index_select(0, out), 0)
      end
    end)
    return apply_mask(module, name, mask)
  end
end
--- random_unstructured(module, name, amount), l1_unstructured(module, name, amount, importance_scores)
M.l1_unstructured = unstructured("l1_unstructured", function(t, n)
  local _, i = t:abs():topk(n, { largest = false })
  return i
end)
M.random_unstructured = unstructured("random_unstructured", function(t, n)
  local _, i = torch.rand_like(t):topk(n)
  return i
end)

local function structured(fn, score)
  return function(module, name, amount, p, dim)
    if dim == nil then p, dim = nil, p end
    local t = parameter_of(module, name, fn)
    local mask = old_mask(module, name, t):clone()
    dim = (dim or -1) % t.ndim
    torch.no_grad(function()
      local n = count_of(amount, t:size(dim), fn)
      if n == 0 then return end
      local dims = {}
      for i = 0, t.ndim - 1 do if i ~= dim then dims[#dims + 1] = i end end
      local _, i = score((t * mask):detach(), p, dims, t:size(dim)):topk(n, { largest = false })
      mask:index_fill_(dim, i, 0)
    end)
    return apply_mask(module, name, mask)
  end
end
--- ln_structured(module, name, amount, n, dim): whole channels, smallest norm first; random_structured(module, name, amount, dim)
M.ln_structured = structured("ln_structured", function(t, p, dims) return torch.linalg.vector_norm(t, p, dims) end)
M.random_structured = structured("random_structured", function(_, _, _, n) return torch.rand(n) end)

--- Makes the pruning final: NAME is a parameter again, with zeros.
function M.remove(module, name)
  local handle = hooks[module] and hooks[module][name]
  if not handle then
    error(("Parameter '%s' of module %s has to be pruned before pruning can be removed"):format(tostring(name),
      tostring(module)), 2)
  end
  hooks[module][name] = nil
  handle:remove()
  local orig = module[name .. "_orig"]
  torch.no_grad(function() orig.data = (orig * module[name .. "_mask"]:to(orig.dtype)).data end)
  module[name .. "_orig"], module[name .. "_mask"], module[name] = nil, nil, nil
  module[name] = orig
  return module
end
function M.is_pruned(module)
  for _, m in ipairs(module:modules()) do
    if hooks[m] and next(hooks[m]) then return true end
  end
  return false
end
--- global_unstructured({{module, name}, ...}, amount): the smallest entries of all of them together.
function M.global_unstructured(parameters, amount)
  torch.no_grad(function()
    local values, masks = {}, {}
    for i, p in ipairs(parameters) do
      local t = parameter_of(p[1], p[2], "global_unstructured")
      masks[i] = old_mask(p[1], p[2], t)
      values[i] = t:detach():abs():flatten():masked_fill(masks[i]:flatten():eq(0), math.huge)
    end
    local all = torch.cat(values)
    local n = count_of(amount, all:isfinite():sum():item(), "global_unstructured")
    local mask = torch.ones_like(all)
    if n > 0 then
      local _, i = all:topk(n, { largest = false })
      mask:index_fill_(0, i, 0)
    end
    local at = 0
    for i, p in ipairs(parameters) do
      local m = mask:narrow(0, at, masks[i]:numel()):reshape(masks[i].shape):clone()
      at = at + masks[i]:numel()
      M.custom_from_mask(p[1], p[2], m)
    end
  end)
end

-- ---- help ----
M.__docs = {
  l1_unstructured = { signature = "nn.utils.prune.l1_unstructured(module, name, amount) -> module",
    doc = "Zeroes the amount (a number of entries or a fraction) of entries smallest in magnitude.",
    example = [=[local m = nn.utils.prune.l1_unstructured(nn.Linear(2, 2), "weight", 1)
return m.weight_mask:sum():item() --> 3.0]=], see = "nn.utils.prune.remove" },
  random_unstructured = { signature = "nn.utils.prune.random_unstructured(module, name, amount) -> module",
    doc = "Zeroes entries at random.",
    example = [=[local m = nn.utils.prune.random_unstructured(nn.Linear(2, 2), "weight", 0.5)
return m.weight_mask:sum():item() --> 2.0]=], see = "nn.utils.prune.remove" },
  ln_structured = { signature = "nn.utils.prune.ln_structured(module, name, amount, n, dim) -> module",
    doc = "Zeroes the slices along dim whose norm of order n is smallest.",
    example = [=[local m = nn.utils.prune.ln_structured(nn.Linear(2, 2), "weight", 1, 2, 0)
return m.weight_mask:sum():item() --> 2.0]=], see = "nn.utils.prune.remove" },
  random_structured = { signature = "nn.utils.prune.random_structured(module, name, amount, dim) -> module",
    doc = "Zeroes slices along dim at random.",
    example = [=[local m = nn.utils.prune.random_structured(nn.Linear(2, 2), "weight", 1, 0)
return m.weight_mask:sum():item() --> 2.0]=], see = "nn.utils.prune.remove" },
  custom_from_mask = { signature = "nn.utils.prune.custom_from_mask(module, name, mask) -> module",
    doc = "Zeroes where mask is 0.",
    example = [=[local m = nn.utils.prune.custom_from_mask(nn.Linear(2, 1), "bias", torch.zeros(1))
return m.bias:abs():item() --> 0.0]=], see = "nn.utils.prune.remove" },
  identity = { signature = "nn.utils.prune.identity(module, name) -> module",
    doc = "Prunes nothing, but makes mask and original.",
    example = [=[local m = nn.utils.prune.identity(nn.Linear(2, 1), "bias")
return m.bias_mask:item() --> 1.0]=], see = "nn.utils.prune.remove" },
  global_unstructured = { signature = "nn.utils.prune.global_unstructured(parameters, amount)",
    doc = "Zeroes the smallest entries of all parameters, a list of {module, name}, together.",
    example = [=[local m = nn.Linear(2, 2)
nn.utils.prune.global_unstructured({{m, "weight"}, {m, "bias"}}, 0.5)
return (m.weight_mask:sum() + m.bias_mask:sum()):item() --> 3.0]=], see = "nn.utils.prune.remove" },
  remove = { signature = "nn.utils.prune.remove(module, name) -> module",
    doc = "Makes the pruning final.",
    example = [=[local m = nn.utils.prune.identity(nn.Linear(2, 1), "bias")
return nn.utils.prune.remove(m, "bias").bias.shape --> torch.Size([1])]=], see = "nn.utils.prune.remove" },
  is_pruned = { signature = "nn.utils.prune.is_pruned(module) -> boolean",
    doc = "Is anything below the module pruned?",
    example = [=[nn.utils.prune.is_pruned(nn.Linear(2, 1)) --> false]=], see = "nn.utils.prune.remove" },
}

return M
