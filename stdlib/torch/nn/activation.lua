-- torch.nn.activation: elementwise functions and softmaxes as modules.
local torch = require "torch"
local layer = require "torch.nn.layer"
local nn, F = torch.nn, torch.nn.functional

local M = {}
local define = layer.define

-- Layers that only hand their input to a function of F: args lists the fields passed on.
local function simple(signature, fn, args, doc, extra, spec)
  local name = signature:match("^[%w_]+")
  spec = spec or {}
  spec.doc, spec.extra = doc, extra
  spec.example = spec.example or ("nn.%s(torch.tensor{-1.0, 2.0})"):format(signature:match("%(%)") and name .. "()" or name .. "()")
  local a, b, c = table.unpack(args)
  spec.forward = spec.forward or (not a and function(_, x) return F[fn](x) end)
    or (not b and function(self, x) return F[fn](x, self[a]) end)
    or (not c and function(self, x) return F[fn](x, self[a], self[b]) end)
    or function(self, x) return F[fn](x, self[a], self[b], self[c]) end
  return define(M, signature, spec)
end

-- ", inplace=True" where it is set.
local function with_inplace(format)
  return function(self)
    local text = require("torch.nn.text").fill(self, format)
    if not self.inplace then return text end
    return text == "" and "inplace=True" or text .. ", inplace=True"
  end
end
local function inplace_text(format) return { methods = { extra_repr = with_inplace(format) } } end

simple("Threshold(threshold: float, value: float, inplace: bool = False)", "threshold", { "threshold", "value", "inplace" },
  "The input where above threshold, else value.", nil,
  { methods = { extra_repr = with_inplace("threshold={threshold}, value={value}") },
    example = "nn.Threshold(0, 5)(torch.tensor{-1.0, 2.0})" })
simple("ReLU(inplace: bool = False)", "relu", { "inplace" }, "max(0, x).", nil, inplace_text(""))
define(M, "RReLU(lower: float = 0.125, upper: float = 0.3333333333333333, inplace: bool = False)", {
  doc = "leaky_relu with a random slope while training, the mean slope otherwise.", example = "nn.RReLU():eval()(torch.tensor{-1.0, 2.0})",
  forward = function(self, x) return F.rrelu(x, self.lower, self.upper, self.training, self.inplace) end,
  methods = { extra_repr = with_inplace("lower={lower}, upper={upper}") },
})
define(M, [[Hardtanh(min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False, min_value: float = None, max_value: float = None)]], {
  doc = "x held between min_val and max_val.", example = "nn.Hardtanh()(torch.tensor{-3.0, 0.5})",
  init = function(self, a)
    self.min_val, self.max_val, self.inplace = a.min_value or a.min_val, a.max_value or a.max_val, a.inplace
    if self.max_val <= self.min_val then
      error(("max_val (%s) must be greater than min_val (%s)"):format(self.max_val, self.min_val), 3)
    end
  end,
  forward = function(self, x) return F.hardtanh(x, self.min_val, self.max_val, self.inplace) end,
  methods = { extra_repr = with_inplace("min_val={min_val}, max_val={max_val}") },
})
define(M, "ReLU6(inplace: bool = False)", {
  base = M.Hardtanh, doc = "x held between 0 and 6.", example = "nn.ReLU6()(torch.tensor{-1.0, 9.0})",
  init = function(self, a) M.Hardtanh.init(self, 0.0, 6.0, a.inplace) end,
  forward = M.Hardtanh.forward, methods = { extra_repr = with_inplace("") },
})
define(M, "Sigmoid()", { doc = "1 / (1 + exp(-x)).", example = "nn.Sigmoid()(torch.zeros(2))",
  forward = function(_, x) return torch.sigmoid(x) end })
define(M, "Tanh()", { doc = "The hyperbolic tangent.", example = "nn.Tanh()(torch.zeros(2))",
  forward = function(_, x) return torch.tanh(x) end })
simple("Hardsigmoid(inplace: bool = False)", "hardsigmoid", { "inplace" }, "x / 6 + 1 / 2 held between 0 and 1.")
simple("SiLU(inplace: bool = False)", "silu", { "inplace" }, "x * sigmoid(x).", nil, inplace_text(""))
simple("Mish(inplace: bool = False)", "mish", { "inplace" }, "x * tanh(softplus(x)).", nil, inplace_text(""))
simple("Hardswish(inplace: bool = False)", "hardswish", { "inplace" }, "x * relu6(x + 3) / 6.")
simple("ELU(alpha: float = 1.0, inplace: bool = False)", "elu", { "alpha", "inplace" },
  "x where positive, else alpha * (exp(x) - 1).", nil, inplace_text("alpha={alpha}"))
simple("CELU(alpha: float = 1.0, inplace: bool = False)", "celu", { "alpha", "inplace" },
  "max(0, x) + min(0, alpha * (exp(x / alpha) - 1)).", nil, inplace_text("alpha={alpha}"))
simple("SELU(inplace: bool = False)", "selu", { "inplace" }, "The self-normalising exponential linear unit.", nil, inplace_text(""))
simple("GLU(dim: int = -1)", "glu", { "dim" }, "The first half of a dimension times the sigmoid of the second.", "dim={dim}")
define(M, "GELU(approximate: str = 'none')", {
  doc = "x times the normal distribution's integral at x; approximate = 'tanh' for the older formula.",
  example = "nn.GELU()(torch.tensor{0.0, 1.0})", extra = "approximate={approximate}",
  forward = function(self, x)
    if self.approximate == "none" then return F.gelu(x) end
    return F.gelu(x, { approximate = self.approximate })
  end,
})
simple("Hardshrink(lambd: float = 0.5)", "hardshrink", { "lambd" }, "0 where |x| <= lambd, else x.", "{lambd}")
simple("LeakyReLU(negative_slope: float = 0.01, inplace: bool = False)", "leaky_relu", { "negative_slope", "inplace" },
  "x where positive, else negative_slope * x.", nil, inplace_text("negative_slope={negative_slope}"))
simple("LogSigmoid()", "logsigmoid", {}, "log(sigmoid(x)).")
simple("Softplus(beta: float = 1.0, threshold: float = 20.0)", "softplus", { "beta", "threshold" },
  "log(1 + exp(beta * x)) / beta.", "beta={beta}, threshold={threshold}")
simple("Softshrink(lambd: float = 0.5)", "softshrink", { "lambd" }, "x pulled towards 0 by lambd.", "{lambd}")
simple("Softsign()", "softsign", {}, "x / (1 + |x|).")
simple("Tanhshrink()", "tanhshrink", {}, "x - tanh(x).")
define(M, "PReLU(num_parameters: int = 1, init: float = 0.25, device = None, dtype = None)", {
  doc = "x where positive, else weight * x with a learned weight, one for all or one a channel.",
  example = "nn.PReLU()(torch.tensor{-1.0, 2.0})", extra = "num_parameters={num_parameters}",
  init = function(self, a)
    self.num_parameters = a.num_parameters
    self.init_value = a.init
    self.weight = layer.parameter(a, a.num_parameters)
    self:reset_parameters()
  end,
  forward = function(self, x) return F.prelu(x, self.weight) end,
  methods = { reset_parameters = function(self) nn.init.constant_(self.weight, self.init_value) end },
})
simple("Softmin(dim: int = None)", "softmin", { "dim" }, "softmax of -x.", "dim={dim}", { example = "nn.Softmin(0)(torch.zeros(2))" })
simple("Softmax(dim: int = None)", "softmax", { "dim" }, "exp(x_i) / sum_j exp(x_j) along dim.", "dim={dim}",
  { example = "nn.Softmax(0)(torch.zeros(2))" })
simple("LogSoftmax(dim: int = None)", "log_softmax", { "dim" }, "The logarithm of softmax.", "dim={dim}",
  { example = "nn.LogSoftmax(0)(torch.zeros(2))" })
define(M, "Softmax2d()", { doc = "softmax over the channels of [N, C, H, W] or [C, H, W].",
  example = "nn.Softmax2d()(torch.zeros(1, 2, 1, 1))",
  forward = function(_, x)
    if x.ndim ~= 3 and x.ndim ~= 4 then
      error(("Softmax2d: expected input to be 3D or 4D, got %dD instead"):format(x.ndim), 2)
    end
    return F.softmax(x, -3)
  end,
})

-- ---- AdaptiveLogSoftmaxWithLoss ----
local function check_cutoffs(cutoffs, n_classes)
  if #cutoffs == 0 then error("cutoffs should be a sequence of length larger than 0", 4) end
  for i, c in ipairs(cutoffs) do
    if c ~= math.floor(c) or c <= (cutoffs[i - 1] or 0) or c > n_classes - 1 then
      error("cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each value is "
        .. "between 1 and n_classes-1", 4)
    end
  end
end

local function full_log_prob(self, x, head)
  local logp, n = F.log_softmax(head, 1), self.shortlist_size
  local parts = { logp:narrow(1, 0, n) }
  for i = 1, self.n_clusters do
    local cluster = F.log_softmax(self.tail[i - 1](x), 1)
    parts[#parts + 1] = cluster + logp:select(1, n + i - 1):unsqueeze(1)
  end
  return torch.cat(parts, 1)
end

define(M, [[AdaptiveLogSoftmaxWithLoss(in_features: int, n_classes: int, cutoffs: list, div_value: float = 4.0, head_bias: bool = False, device = None, dtype = None)]], {
  doc = "Softmax of many classes, rare ones grouped in clusters of smaller size; returns the target's log-probabilities and the loss.",
  example = "nn.AdaptiveLogSoftmaxWithLoss(4, 10, {3})",
  init = function(self, a)
    check_cutoffs(a.cutoffs, a.n_classes)
    self.in_features, self.n_classes, self.div_value, self.head_bias = a.in_features, a.n_classes, a.div_value, a.head_bias
    self.cutoffs = table.move(a.cutoffs, 1, #a.cutoffs, 1, {})
    self.cutoffs[#self.cutoffs + 1] = a.n_classes
    self.shortlist_size, self.n_clusters = self.cutoffs[1], #self.cutoffs - 1
    self.head_size = self.shortlist_size + self.n_clusters
    local kw = { bias = false, device = a.device, dtype = a.dtype }
    self.head = nn.Linear(a.in_features, self.head_size, { bias = a.head_bias, device = a.device, dtype = a.dtype })
    self.tail = nn.ModuleList()
    for i = 1, self.n_clusters do
      local hidden = math.floor(a.in_features // a.div_value ^ i)
      local out = self.cutoffs[i + 1] - self.cutoffs[i]
      self.tail:append(nn.Sequential(nn.Linear(a.in_features, hidden, kw), nn.Linear(hidden, out, kw)))
    end
  end,
  arguments = "input_ target_",
  forward = function(self, x, target)
    local batched = target.ndim > 0
    if target.ndim > 1 then error("0D or 1D target tensor expected, multi-target not supported", 2) end
    if batched and x:size(0) ~= target:size(0) then
      error("Input and target should have the same size in the batch dimension.", 2)
    end
    if not batched then x, target = x:unsqueeze(0), target:unsqueeze(0) end
    local low, high = target:min():item(), target:max():item()
    if low < 0 or high >= self.n_classes then
      error(("Target values should be in [0, %d], but values in range [%d, %d] were found. ")
        :format(self.n_classes - 1, low, high), 2)
    end
    local output = full_log_prob(self, x, self.head(x)):gather(1, target:unsqueeze(1)):squeeze(1)
    local loss = (-output):mean()
    return batched and output or output:squeeze(0), loss
  end,
  methods = {
    log_prob = function(self, x) return full_log_prob(self, x, self.head(x)) end,
    predict = function(self, x) return torch.argmax(full_log_prob(self, x, self.head(x)), 1) end,
    reset_parameters = function(self)
      self.head:reset_parameters()
      for _, pair in pairs(self.tail) do for _, m in pairs(pair) do m:reset_parameters() end end
    end,
  },
})

return M
