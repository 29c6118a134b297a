-- torch.nn.utils.oldnorm: weight_norm and spectral_norm in their first form: a hook computes the weight before each call.
local torch = require "torch"
local core = require "torch.nn.core"
local F = torch.nn.functional

local M = {}
local norm_except = require("torch.nn.utils.parametrizations")._norm_except
local kept = setmetatable({}, { __mode = "k" })          -- module -> name -> what undoes it

local function keep(module, kind, name, hook)
  local of = kept[module] or {}
  kept[module] = of
  if of[kind .. name] then
    error(("Cannot register two %s hooks on the same parameter %s"):format(kind, name), 3)
  end
  of[kind .. name] = hook
end
local function drop(module, kind, name)
  local hook = kept[module] and kept[module][kind .. name]
  if not hook then
    error(("%s of '%s' not found in %s"):format(kind, name, tostring(module)), 3)
  end
  kept[module][kind .. name] = nil
  hook.handle:remove()
  return hook
end

-- ---- weight_norm ----
local function weight_of(module, name, dim)
  local g, v = module[name .. "_g"], module[name .. "_v"]
  return v * (g / norm_except(v, dim))
end
--- weight_norm(module, name = "weight", dim = 0): weight_g is the size, weight_v the direction.
function M.weight_norm(...)
  local args = table.pack(...)
  local module, name, dim = core.spread("weight_norm", { "module", "name", "dim" }, ...)
  name = name or "weight"
  if dim == nil and args[3] ~= torch.None then dim = 0 end
  local w = core.is_module(module) and module[name]
  if not torch.is_tensor(w) then error("weight_norm: no parameter '" .. tostring(name) .. "'", 2) end
  if dim and dim < 0 then dim = dim + w.ndim end
  local hook = { dim = dim }
  keep(module, "weight_norm", name, hook)
  module[name] = nil
  module[name .. "_g"] = core.Parameter(norm_except(w, dim):detach():clone())
  module[name .. "_v"] = core.Parameter(w:detach())
  module[name] = weight_of(module, name, dim)
  hook.handle = module:register_forward_pre_hook(function(m) m[name] = weight_of(m, name, dim) end)
  return module
end
function M.remove_weight_norm(module, name)
  name = name or "weight"
  local hook = drop(module, "weight_norm", name)
  local w = weight_of(module, name, hook.dim)
  module[name], module[name .. "_g"], module[name .. "_v"] = nil, nil, nil
  module[name] = core.Parameter(w:detach())
  return module
end

-- ---- spectral_norm ----
local function matrix(w, dim)
  if dim ~= 0 then
    local order = { dim }
    for i = 0, w.ndim - 1 do if i ~= dim then order[#order + 1] = i end end
    w = w:permute(order)
  end
  return w:reshape { w:size(0), -1 }
end
local function spectral_weight(module, name, h, power)
  local w, u, v = module[name .. "_orig"], module[name .. "_u"], module[name .. "_v"]
  local m = matrix(w, h.dim)
  if power then
    torch.no_grad(function()
      for _ = 1, h.n do
        v:copy_(F.normalize(torch.mv(m:t(), u), { dim = 0, eps = h.eps }))
        u:copy_(F.normalize(torch.mv(m, v), { dim = 0, eps = h.eps }))
      end
    end)
    if h.n > 0 then u, v = u:clone(), v:clone() end
  end
  return w / torch.dot(u, torch.mv(m, v))
end
--- spectral_norm(module, name = "weight", n_power_iterations = 1, eps = 1e-12, dim = None)
function M.spectral_norm(...)
  local module, name, n, eps, dim = core.spread("spectral_norm", { "module", "name", "n_power_iterations", "eps", "dim" }, ...)
  name = name or "weight"
  local w = core.is_module(module) and module[name]
  if not torch.is_tensor(w) then error("spectral_norm: no parameter '" .. tostring(name) .. "'", 2) end
  if n and n <= 0 then error("Expected n_power_iterations to be positive, but got n_power_iterations=" .. n, 2) end
  if dim == nil then dim = module:_get_name():find("^ConvTranspose%dd") and 1 or 0 end
  local h = { n = n or 1, eps = eps or 1e-12, dim = dim }
  keep(module, "spectral_norm", name, h)
  local m = matrix(w:detach(), dim)
  local u = F.normalize(torch.randn(m:size(0)):to(w.dtype), { dim = 0, eps = h.eps })
  local v = F.normalize(torch.randn(m:size(1)):to(w.dtype), { dim = 0, eps = h.eps })
  module[name] = nil
  module:register_parameter(name .. "_orig", core.is_parameter(w) and w or core.Parameter(w))
  module[name] = w:detach()
  module:register_buffer(name .. "_u", u)
  module:register_buffer(name .. "_v", v)
  h.handle = module:register_forward_pre_hook(function(self) self[name] = spectral_weight(self, name, h, self.training) end)
  return module
end
function M.remove_spectral_norm(module, name)
  name = name or "weight"
  local h = drop(module, "spectral_norm", name)
  local w = torch.no_grad(function() return spectral_weight(module, name, h, false) end)
  for _, tail in ipairs { "", "_u", "_v", "_orig" } do module[name .. tail] = nil end
  module[name] = core.Parameter(w:detach())
  return module
end

return M
