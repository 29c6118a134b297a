-- torch.nn.init: initial values in place, drawn in PyTorch's order, so that a seed gives PyTorch's weights.
local core = require "torch.nn.core"
local torch = require "torch"

local init = {}
init.__docs = {}

-- Defines init[name]; names: its parameters in order (by position or by name), dflt: their defaults.  It runs without
-- recording and gives back the tensor.
local function define(name, names, dflt, doc, fn)
  local shown = {}
  for i, p in ipairs(names) do
    local d = dflt[p]
    if d == nil then shown[i] = p == "generator" and "generator=nil" or p
    else shown[i] = p .. "=" .. (type(d) == "string" and ("%q"):format(d) or tostring(d)) end
  end
  local call = name == "dirac_" and "torch.empty(3, 3, 3)" or "torch.empty(3, 3)"
  local more = ({ constant_ = ", 2.0", sparse_ = ", 0.5" })[name] or ""
  init.__docs[name] = { signature = ("nn.init.%s(%s)"):format(name, table.concat(shown, ", ")), doc = doc,
    example = ("nn.init.%s(%s%s).shape"):format(name, call, more) }
  init[name] = function(...)
    local a, given = {}, table.pack(core.spread(name, names, ...))
    for i, p in ipairs(names) do a[p] = given[i] == nil and dflt[p] or given[i] end
    if not torch.is_tensor(a.tensor) then error(("%s: tensor must be a Tensor, got %s"):format(name, type(a.tensor)), 2) end
    for _, p in ipairs(names) do
      if a[p] == nil and p ~= "generator" then error(("%s: argument '%s' is missing"):format(name, p), 2) end
    end
    torch.no_grad(fn, a.tensor, a)
    return a.tensor
  end
end

local function numbers(mean, std, a) return mean, std, { generator = a.generator } end
local function uniform(t, low, high, a) t:uniform_(numbers(low, high, a)) end
local function normal(t, mean, std, a) t:normal_(numbers(mean, std, a)) end

define("uniform_", { "tensor", "a", "b", "generator" }, { a = 0.0, b = 1.0 },
  "Numbers drawn evenly from [a, b).", function(t, a) uniform(t, a.a, a.b, a) end)
define("normal_", { "tensor", "mean", "std", "generator" }, { mean = 0.0, std = 1.0 },
  "Normal numbers of that mean and deviation.", function(t, a) normal(t, a.mean, a.std, a) end)
define("constant_", { "tensor", "val" }, {}, "Every element becomes val.", function(t, a) t:fill_(a.val) end)
define("ones_", { "tensor" }, {}, "Every element becomes 1.", function(t) t:fill_(1) end)
define("zeros_", { "tensor" }, {}, "Every element becomes 0.", function(t) t:zero_() end)

local function phi(x)                                 -- the normal distribution's integral
  return torch.special.ndtr(torch.tensor(x, { dtype = torch.float64 })):item()
end
-- Uniform candidates accepted with the density's probability: for intervals that hold little of the distribution.
local function by_density(t, a)
  local mode = math.max(a.a, math.min(a.mean, a.b))
  local peak = -0.5 * ((mode - a.mean) / a.std) ^ 2
  local function density(x) return x:sub(a.mean):div_(a.std):pow_(2):mul_(-0.5):sub_(peak) end
  local function accepted(x)
    return torch.empty_like(t):uniform_({ generator = a.generator }):log_():gt(density(x))
  end
  uniform(t, a.a, a.b, a)
  local pending, result = accepted(t), t
  while pending:any():item() do
    local more = torch.empty_like(t)
    uniform(more, a.a, a.b, a)
    result = torch.where(pending, more, result)
    pending = torch.where(pending, accepted(more), pending)
  end
  if result ~= t then t:copy_(result) end
end

define("trunc_normal_", { "tensor", "mean", "std", "a", "b", "generator" }, { mean = 0.0, std = 1.0, a = -2.0, b = 2.0 },
  "Normal numbers, those outside [a, b] drawn anew.", function(t, a)
    if t.is_meta then return end
    if phi((a.b - a.mean) / a.std) - phi((a.a - a.mean) / a.std) <= 0.3 then return by_density(t, a) end
    local low = torch.tensor(a.a, { dtype = t.dtype }):item()
    local high = torch.tensor(a.b, { dtype = t.dtype }):item()
    normal(t, a.mean, a.std, a)
    local result = t
    while true do
      local outside = result:lt(low) | result:gt(high)
      if not outside:any():item() then break end
      local more = torch.empty_like(result)
      normal(more, a.mean, a.std, a)
      result = torch.where(outside, more, result)
    end
    if result ~= t then t:copy_(result) end
  end)

define("eye_", { "tensor" }, {}, "A matrix of ones on the diagonal, zeros elsewhere.", function(t)
  if t.ndim ~= 2 then error("Only tensors with 2 dimensions are supported", 0) end
  t:zero_()
  t:diagonal():fill_(1)
end)

define("dirac_", { "tensor", "groups" }, { groups = 1 }, "A convolution's weight that hands channels through.", function(t, a)
  if t.ndim < 3 or t.ndim > 5 then error("Only tensors with 3, 4, or 5 dimensions are supported", 0) end
  if t:size(0) % a.groups ~= 0 then error("dim 0 must be divisible by groups", 0) end
  local each = t:size(0) // a.groups
  t:zero_()
  for g = 0, a.groups - 1 do
    for d = 0, math.min(each, t:size(1)) - 1 do
      local at = { g * each + d, d }
      for k = 2, t.ndim - 1 do at[#at + 1] = t:size(k) // 2 end
      t[at] = 1
    end
  end
end)

-- ---- fans and gains ----
local function fans(t)
  if t.ndim < 2 then
    error("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions", 0)
  end
  local area = 1
  for k = 2, t.ndim - 1 do area = area * t:size(k) end
  return t:size(1) * area, t:size(0) * area
end
init._calculate_fan_in_and_fan_out = fans

local gains = { linear = 1, conv1d = 1, conv2d = 1, conv3d = 1, conv_transpose1d = 1, conv_transpose2d = 1,
  conv_transpose3d = 1, sigmoid = 1, tanh = 5.0 / 3, relu = math.sqrt(2.0), selu = 3.0 / 4 }
init.__docs.calculate_gain = { signature = "nn.init.calculate_gain(nonlinearity, param=nil)",
  doc = "The factor by which an activation's weights should be larger: tanh 5/3, relu sqrt(2), leaky_relu, selu 3/4, else 1.",
  example = 'nn.init.calculate_gain("relu")' }
function init.calculate_gain(...)
  local name, param = core.spread("calculate_gain", { "nonlinearity", "param" }, ...)
  if name == "leaky_relu" then
    local slope = param == nil and 0.01 or param
    if type(slope) ~= "number" then error("negative_slope " .. tostring(slope) .. " not a valid number", 2) end
    return math.sqrt(2.0 / (1 + slope ^ 2))
  end
  return gains[name] or error("Unsupported nonlinearity " .. tostring(name), 2)
end

local function fan_for(t, mode)
  mode = type(mode) == "string" and mode:lower() or mode
  if mode ~= "fan_in" and mode ~= "fan_out" then
    error("Mode " .. tostring(mode) .. " not supported, please use one of ['fan_in', 'fan_out']", 0)
  end
  local fan_in, fan_out = fans(t)
  return mode == "fan_in" and fan_in or fan_out
end

define("xavier_uniform_", { "tensor", "gain", "generator" }, { gain = 1.0 },
  "Uniform numbers whose deviation is gain * sqrt(2 / (fan_in + fan_out)).", function(t, a)
    local fan_in, fan_out = fans(t)
    local bound = math.sqrt(3.0) * (a.gain * math.sqrt(2.0 / (fan_in + fan_out)))
    uniform(t, -bound, bound, a)
  end)
define("xavier_normal_", { "tensor", "gain", "generator" }, { gain = 1.0 },
  "Normal numbers whose deviation is gain * sqrt(2 / (fan_in + fan_out)).", function(t, a)
    local fan_in, fan_out = fans(t)
    normal(t, 0.0, a.gain * math.sqrt(2.0 / (fan_in + fan_out)), a)
  end)
local kaiming = { "tensor", "a", "mode", "nonlinearity", "generator" }
local kaiming_defaults = { a = 0, mode = "fan_in", nonlinearity = "leaky_relu" }
define("kaiming_uniform_", kaiming, kaiming_defaults, "Uniform numbers whose deviation is gain / sqrt(fan).", function(t, a)
  if t:numel() == 0 then return end
  local fan = fan_for(t, a.mode)
  local bound = math.sqrt(3.0) * (init.calculate_gain(a.nonlinearity, a.a) / math.sqrt(fan))
  uniform(t, -bound, bound, a)
end)
define("kaiming_normal_", kaiming, kaiming_defaults, "Normal numbers whose deviation is gain / sqrt(fan).", function(t, a)
  if t:numel() == 0 then return end
  local fan = fan_for(t, a.mode)
  normal(t, 0.0, init.calculate_gain(a.nonlinearity, a.a) / math.sqrt(fan), a)
end)

define("orthogonal_", { "tensor", "gain", "generator" }, { gain = 1 }, "A (semi-)orthogonal matrix times gain.", function(t, a)
  if t.ndim < 2 then error("Only tensors with 2 or more dimensions are supported", 0) end
  if t:numel() == 0 then return end
  local rows = t:size(0)
  local cols = t:numel() // rows
  local flat = torch.empty({ rows, cols }, { dtype = t.dtype })
  normal(flat, 0, 1, a)
  if rows < cols then flat = flat:t() end
  local q, r = torch.linalg.qr(flat)
  q = q * r:diagonal():sign()
  if rows < cols then q = q:t() end
  t:copy_(q:reshape(t.shape))
  t:mul_(a.gain)
end)

define("sparse_", { "tensor", "sparsity", "std", "generator" }, { std = 0.01 },
  "Normal numbers, of which a fraction `sparsity` of every column is zero.", function(t, a)
    if t.ndim ~= 2 then error("Only tensors with 2 dimensions are supported", 0) end
    local rows, cols = t:size(0), t:size(1)
    local zeros = math.ceil(a.sparsity * rows)
    normal(t, 0, a.std, a)
    for col = 0, cols - 1 do
      local at = torch.randperm(rows, { generator = a.generator })[torch.slice(nil, zeros)]
      t[{ at, col }] = 0
    end
  end)

-- The old names without the underscore.
for _, name in ipairs { "uniform", "normal", "constant", "eye", "dirac", "xavier_uniform", "xavier_normal", "kaiming_uniform",
  "kaiming_normal", "orthogonal", "sparse" } do init[name] = init[name .. "_"] end

return init
