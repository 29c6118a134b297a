-- torch.nn.norm: batch, instance, layer, group and other norms.
local torch = require "torch"
local layer = require "torch.nn.layer"
local nn, F = torch.nn, torch.nn.functional

local M = {}
local define = layer.define

local function affine_parameters(self, a, on, ...)
  if on then self.weight = layer.parameter(a, ...) else self:register_parameter("weight", nil) end
  if on and a.bias ~= false then self.bias = layer.parameter(a, ...) else self:register_parameter("bias", nil) end
end
local function reset_affine(self)
  if self.weight ~= nil then nn.init.ones_(self.weight) end
  if self.bias ~= nil then nn.init.zeros_(self.bias) end
end

-- ---- norms with running statistics ----
local function build(self, a)
  self.num_features, self.eps, self.momentum = a.num_features, a.eps, a.momentum
  self.affine, self.track_running_stats = a.affine, a.track_running_stats
  affine_parameters(self, a, a.affine, a.num_features)
  local kw = { dtype = a.dtype, device = a.device }
  local on = a.track_running_stats
  self:register_buffer("running_mean", on and torch.zeros({ a.num_features }, kw) or nil)
  self:register_buffer("running_var", on and torch.ones({ a.num_features }, kw) or nil)
  self:register_buffer("num_batches_tracked", on and torch.tensor(0, { dtype = torch.int64, device = a.device }) or nil)
  self:reset_parameters()
end

local function reset_running_stats(self)
  if not self.track_running_stats then return end
  self.running_mean:zero_()
  self.running_var:fill_(1)
  self.num_batches_tracked:zero_()
end
local function reset_parameters(self)
  self:reset_running_stats()
  reset_affine(self)
end

local function describe(self)
  return require("torch.nn.text").fill(self, "{num_features}, eps={eps}, momentum={momentum}, affine={affine}, bias="
    .. (self.bias ~= nil and "True" or "False") .. ", track_running_stats={track_running_stats}")
end

local function wanted(self, x, low, high)
  if x.ndim < low or x.ndim > high then
    local text = low == high and low .. "D" or low .. "D or " .. high .. "D"
    if high > 99 then text = "at least " .. low .. "D" end
    error(("expected %s input (got %dD input)"):format(text, x.ndim), 3)
  end
end

local function batch_forward(low, high)
  return function(self, x)
    if x.ndim < low or x.ndim > high then wanted(self, x, low, high) end
    local factor, training, tracked = self.momentum or 0.0, self.training, self.track_running_stats
    if training and tracked and self.num_batches_tracked ~= nil then
      self.num_batches_tracked:add_(1)
      if self.momentum == nil then factor = 1.0 / self.num_batches_tracked:item() end
    end
    local mean, var = self.running_mean, self.running_var
    local by_batch = training or (mean == nil and var == nil)
    if training and not tracked then mean, var = nil, nil end
    return F.batch_norm(x, mean, var, self.weight, self.bias, by_batch, factor, self.eps)
  end
end

-- Old checkpoints have no num_batches_tracked: the own one stays.
local function load_old(self, state, prefix)
  local key = prefix .. "num_batches_tracked"
  if self.track_running_stats and state[key] == nil and state[prefix .. "running_mean"] ~= nil then
    state[key] = self.num_batches_tracked
  end
end

local methods = { reset_running_stats = reset_running_stats, reset_parameters = reset_parameters, extra_repr = describe,
  _load_from_state_dict = load_old }
local batch_arguments = "num_features: int, eps: float = 1e-05, momentum: float = 0.1, affine: bool = True, "
  .. "track_running_stats: bool = True, %sdevice = None, dtype = None, *, bias: bool = True"
local shapes = { { 2, 3, "4, 2" }, { 4, 4, "4, 2, 3, 3" }, { 5, 5, "4, 2, 3, 3, 3" } }

for n = 1, 3 do
  local name, low, high = "BatchNorm" .. n .. "d", shapes[n][1], shapes[n][2]
  define(M, ("%s(%s)"):format(name, batch_arguments:format("")), {
    doc = "Channels brought to mean 0 and variance 1 over the batch, then scaled and shifted; running statistics in eval mode.",
    example = ("nn.%s(2)(torch.ones(%s)).shape"):format(name, shapes[n][3]), see = "nn.LayerNorm F.batch_norm",
    init = build, forward = batch_forward(low, high), methods = methods,
  })
end
define(M, ("SyncBatchNorm(%s)"):format(batch_arguments:format("process_group: any = None, ")), {
  doc = "BatchNorm whose statistics cover all processes; there is one process here.",
  example = "nn.SyncBatchNorm(2)(torch.ones(4, 2)).shape", see = "nn.BatchNorm2d",
  init = build, forward = batch_forward(2, 1000), methods = methods,
})
--- Replaces the batch norms below a module by SyncBatchNorm.
function M.SyncBatchNorm.convert_sync_batchnorm(m)
  local new, core = m, require "torch.nn.core"
  for n = 1, 3 do
    if m:isinstance(M["BatchNorm" .. n .. "d"]) then
      new = M.SyncBatchNorm(m.num_features, m.eps, m.momentum == nil and torch.None or m.momentum, m.affine,
        m.track_running_stats, { bias = m.bias ~= nil })
      for _, name in ipairs { "weight", "bias" } do if m[name] ~= nil then new[name] = m[name] end end
      for _, name in ipairs { "running_mean", "running_var", "num_batches_tracked" } do
        if m[name] ~= nil then new[name] = m[name] end
      end
      new.training = m.training
    end
  end
  for name, child in m:named_children() do core.put(new, "child", name, M.SyncBatchNorm.convert_sync_batchnorm(child)) end
  return new
end

-- ---- InstanceNorm ----
local instance_arguments = "num_features: int, eps: float = 1e-05, momentum: float = 0.1, affine: bool = False, "
  .. "track_running_stats: bool = False, device = None, dtype = None, *, bias: bool = True"
local function instance_apply(self, x)
  return F.instance_norm(x, self.running_mean, self.running_var, self.weight, self.bias,
    self.training or not self.track_running_stats, self.momentum or 0.0, self.eps)
end
for n = 1, 3 do
  local name = "InstanceNorm" .. n .. "d"
  define(M, ("%s(%s)"):format(name, instance_arguments), {
    doc = "Each channel of each sample brought to mean 0 and variance 1.",
    example = ("nn.%s(2)(torch.ones(1, 2, %s)).shape"):format(name, table.concat(layer.tuple(3, n), ", ")),
    init = build,
    forward = function(self, x)
      wanted(self, x, n + 1, n + 2)
      local dim = x.ndim - n - 1
      if x:size(dim) ~= self.num_features then
        if self.affine then
          error(("expected input's size at dim=%d to match num_features (%d), but got: %d.")
            :format(dim, self.num_features, x:size(dim)), 2)
        end
        warn(("input's size at dim=%d does not match num_features. You can silence this warning by not passing in "):format(dim)
          .. "num_features, which is not used because affine=False")
      end
      if dim == 0 then return instance_apply(self, x:unsqueeze(0)):squeeze(0) end
      return instance_apply(self, x)
    end,
    methods = { reset_running_stats = reset_running_stats, reset_parameters = reset_parameters, extra_repr = describe },
  })
end

for n = 1, 3 do
  local lazy = require "torch.nn.lazy"
  for _, kind in ipairs { "BatchNorm", "InstanceNorm" } do
    local base = M[kind .. n .. "d"]
    local signature = base.__doc.signature:gsub("^nn%.", "Lazy"):gsub("num_features: int, ", "")
    lazy.define(M, signature, base, { "num_features" }, function(x)
      local dim = kind == "InstanceNorm" and x.ndim - n - 1 or 1
      return { num_features = x:size(dim) }
    end)
  end
end

-- ---- norms of one sample ----
local function shape_list(v) return type(v) == "table" and v or { v } end

define(M, "LayerNorm(normalized_shape: size, eps: float = 1e-05, elementwise_affine: bool = True, bias: bool = True, device = None, dtype = None)", {
  doc = "The last dimensions brought to mean 0 and variance 1, then scaled and shifted elementwise.",
  example = "nn.LayerNorm(4)(torch.ones(2, 4)).shape", see = "nn.RMSNorm F.layer_norm",
  init = function(self, a)
    self.normalized_shape, self.eps, self.elementwise_affine = shape_list(a.normalized_shape), a.eps, a.elementwise_affine
    affine_parameters(self, a, a.elementwise_affine, table.unpack(self.normalized_shape))
    self:reset_parameters()
  end,
  forward = function(self, x) return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps) end,
  methods = {
    reset_parameters = reset_affine,
    extra_repr = function(self)
      return require("torch.nn.text").fill(self, "{normalized_shape}, eps={eps}, elementwise_affine={elementwise_affine}, bias="
        .. (self.bias ~= nil and "True" or "False"))
    end,
  },
})

define(M, "RMSNorm(normalized_shape: size, eps: float = None, elementwise_affine: bool = True, device = None, dtype = None)", {
  doc = "The last dimensions divided by their root mean square, then scaled elementwise.",
  example = "nn.RMSNorm(4)(torch.ones(2, 4)).shape", see = "nn.LayerNorm F.rms_norm",
  init = function(self, a)
    self.normalized_shape, self.eps, self.elementwise_affine = shape_list(a.normalized_shape), a.eps, a.elementwise_affine
    if a.elementwise_affine then self.weight = layer.parameter(a, table.unpack(self.normalized_shape))
    else self:register_parameter("weight", nil) end
    self:reset_parameters()
  end,
  arguments = "x",
  forward = function(self, x) return F.rms_norm(x, self.normalized_shape, self.weight, self.eps) end,
  extra = "{normalized_shape}, eps={eps}, elementwise_affine={elementwise_affine}",
  methods = { reset_parameters = reset_affine },
})

define(M, "GroupNorm(num_groups: int, num_channels: int, eps: float = 1e-05, affine: bool = True, device = None, dtype = None, *, bias: bool = True)", {
  doc = "Groups of channels brought to mean 0 and variance 1, then scaled and shifted by channel.",
  example = "nn.GroupNorm(2, 4)(torch.ones(1, 4, 3)).shape", see = "nn.LayerNorm F.group_norm",
  init = function(self, a)
    if a.num_groups <= 0 or a.num_channels % a.num_groups ~= 0 then
      error(("num_channels (%d) must be divisible by num_groups (%d)"):format(a.num_channels, a.num_groups), 3)
    end
    self.num_groups, self.num_channels, self.eps, self.affine = a.num_groups, a.num_channels, a.eps, a.affine
    affine_parameters(self, a, a.affine, a.num_channels)
    self:reset_parameters()
  end,
  forward = function(self, x) return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps) end,
  methods = {
    reset_parameters = reset_affine,
    extra_repr = function(self)
      return require("torch.nn.text").fill(self, "{num_groups}, {num_channels}, eps={eps}, affine={affine}, bias="
        .. (self.bias ~= nil and "True" or "False"))
    end,
  },
})

define(M, "LocalResponseNorm(size: int, alpha: float = 0.0001, beta: float = 0.75, k: float = 1.0)", {
  doc = "Each channel divided by a power of the squares of its neighbours' mean.",
  example = "nn.LocalResponseNorm(2)(torch.ones(1, 4, 3)).shape", see = "nn.CrossMapLRN2d",
  forward = function(self, x) return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k) end,
  extra = "{size}, alpha={alpha}, beta={beta}, k={k}",
})
define(M, "CrossMapLRN2d(size: int, alpha: float = 0.0001, beta: float = 0.75, k: float = 1)", {
  doc = "LocalResponseNorm of [N, C, H, W].", example = "nn.CrossMapLRN2d(3)(torch.ones(1, 4, 3, 3)).shape",
  see = "nn.LocalResponseNorm",
  forward = function(self, x)
    if x.ndim ~= 4 then error(("CrossMapLRN2d: Expected input to be 4D, got %dD instead."):format(x.ndim), 2) end
    local before = (self.size - 1) // 2 + 1                -- windows are centred, one wider before for even sizes
    local squares = F.pad(x * x, { 0, 0, 0, 0, before - 1, self.size - before })
    local sum = squares:unfold(1, self.size, 1):sum(-1)
    return x * (sum * (self.alpha / self.size) + self.k) ^ -self.beta
  end,
  extra = "{size}, alpha={alpha}, beta={beta}, k={k}",
})

return M
