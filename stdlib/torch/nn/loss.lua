-- torch.nn.loss: losses as modules over the functions of F.
local torch = require "torch"
local layer = require "torch.nn.layer"
local F = torch.nn.functional

local M = {}

-- size_average and reduce, from before there was reduction.
local function reduction_of(a)
  if a.size_average == nil and a.reduce == nil then return a.reduction end
  if a.reduce == false then return "none" end
  return a.size_average == false and "sum" or "mean"
end
local buffers = { weight = true, pos_weight = true }
local old = { size_average = true, reduce = true }

-- One loss: its arguments, F's function, the names handed on as keywords, text, an example of the call's arguments.
local function loss(signature, fn, doc, call, spec)
  spec = spec or {}
  local names = {}
  for part in signature:match("%((.*)%)"):gmatch("[^,]+") do
    local name = part:match("^%s*([%w_]+)")
    if name and not old[name] then names[#names + 1] = name end
  end
  local check = spec.check
  layer.define(M, signature, {
    doc = doc, example = ("nn.%s()(%s)"):format(signature:match("^[%w_]+"), call), see = "F." .. fn,
    init = function(self, a)
      if check then check(a) end
      a.reduction = reduction_of(a)
      for _, name in ipairs(names) do
        if buffers[name] then self:register_buffer(name, a[name]) else self[name] = a[name] end
      end
      if spec.after then spec.after(self) end
    end,
    arguments = spec.arguments or "input target",
    forward = spec.forward or function(self, x, ...)
      local kw = {}
      for _, name in ipairs(names) do kw[name] = self[name] end
      local y, z = ...
      if z ~= nil then return F[fn](x, y, z, kw) end
      return F[fn](x, y, kw)
    end,
  })
end

local common = "size_average: any = None, reduce: any = None, reduction: str = 'mean'"
local two = "torch.ones(2), torch.zeros(2)"

loss("L1Loss(" .. common .. ")", "l1_loss", "The mean of |input - target|.", two)
loss("MSELoss(" .. common .. ")", "mse_loss", "The mean of (input - target)^2.", two)
loss("NLLLoss(weight: any = None, size_average: any = None, ignore_index: int = -100, reduce: any = None, reduction: str = 'mean')", "nll_loss",
  "The negative log-probability of the target class.", "torch.zeros(2, 3), torch.tensor{0, 2}")
loss("NLLLoss2d(weight: any = None, size_average: any = None, ignore_index: int = -100, reduce: any = None, reduction: str = 'mean')", "nll_loss",
  "NLLLoss under its old name for pictures.", "torch.zeros(2, 3), torch.tensor{0, 2}")
loss("CrossEntropyLoss(weight: any = None, size_average: any = None, ignore_index: int = -100, reduce: any = None, reduction: str = 'mean', label_smoothing: float = 0.0)", "cross_entropy",
  "log_softmax and nll_loss in one: input holds unnormalised scores, target class numbers or probabilities.", "torch.zeros(2, 3), torch.tensor{0, 2}")
loss("PoissonNLLLoss(log_input: bool = True, full: bool = False, size_average: any = None, eps: float = 1e-08, reduce: any = None, reduction: str = 'mean')", "poisson_nll_loss",
  "The negative log-likelihood of a Poisson distribution.", two, { arguments = "log_input target" })
loss("GaussianNLLLoss(*, full: bool = False, eps: float = 1e-06, reduction: str = 'mean')", "gaussian_nll_loss",
  "The negative log-likelihood of normal distributions of given variances.", "torch.ones(2), torch.zeros(2), torch.ones(2)", { arguments = "input target var" })
loss("KLDivLoss(" .. common .. ", log_target: bool = False)", "kl_div",
  "The Kullback-Leibler divergence; input holds log-probabilities.", "torch.zeros(1, 2), torch.ones(1, 2)")
loss("BCELoss(weight: any = None, " .. common .. ")", "binary_cross_entropy", "The cross entropy of probabilities and binary targets.",
  "torch.ones(2) * 0.5, torch.zeros(2)")
loss("BCEWithLogitsLoss(weight: any = None, " .. common .. ", pos_weight: any = None)", "binary_cross_entropy_with_logits",
  "sigmoid and BCELoss in one, computed without overflow.", two)
loss("HingeEmbeddingLoss(margin: float = 1.0, " .. common .. ")", "hinge_embedding_loss",
  "input where target is 1, max(0, margin - input) where it is -1.", "torch.ones(2), torch.ones(2)")
loss("MultiLabelMarginLoss(" .. common .. ")", "multilabel_margin_loss", "A hinge loss of several classes a sample.",
  "torch.zeros(1, 3), torch.tensor{{1, -1, 0}}")
loss("SmoothL1Loss(" .. common .. ", beta: float = 1.0)", "smooth_l1_loss", "Squared below beta, linear above.", two)
loss("HuberLoss(reduction: str = 'mean', delta: float = 1.0)", "huber_loss", "Squared below delta, linear with slope delta above.", two)
loss("SoftMarginLoss(" .. common .. ")", "soft_margin_loss", "log(1 + exp(-target * input)).", "torch.ones(2), torch.ones(2)")
loss("MultiLabelSoftMarginLoss(weight: any = None, " .. common .. ")", "multilabel_soft_margin_loss",
  "The mean binary cross entropy of several classes a sample.", "torch.zeros(1, 3), torch.ones(1, 3)")
loss("CosineEmbeddingLoss(margin: float = 0.0, " .. common .. ")", "cosine_embedding_loss",
  "1 - cos where target is 1, max(0, cos - margin) where it is -1.", "torch.ones(1, 2), torch.ones(1, 2), torch.ones(1)",
  { arguments = "input1 input2 target" })
loss("MarginRankingLoss(margin: float = 0.0, " .. common .. ")", "margin_ranking_loss",
  "max(0, -target * (input1 - input2) + margin).", "torch.ones(2), torch.zeros(2), torch.ones(2)",
  { arguments = "input1 input2 target" })
loss("MultiMarginLoss(p: int = 1, margin: float = 1.0, weight: any = None, " .. common .. ")", "multi_margin_loss",
  "A hinge loss between the target class and the others.", "torch.zeros(2, 3), torch.tensor{0, 2}", {
    check = function(a)
      if a.p ~= 1 and a.p ~= 2 then error("only p == 1 and p == 2 supported", 4) end
      if a.weight ~= nil and a.weight.ndim ~= 1 then
        error(("MultiMarginLoss: expected weight to be None or 1D tensor, got %dD instead"):format(a.weight.ndim), 4)
      end
    end,
  })
local function positive_margin(name)
  return function(a)
    if a.margin <= 0 then
      error(("%s: expected margin to be greater than 0, got %s instead"):format(name, require("torch.nn.text").py(a.margin)), 4)
    end
  end
end
loss("TripletMarginLoss(margin: float = 1.0, p: float = 2.0, eps: float = 1e-06, swap: bool = False, " .. common .. ")", "triplet_margin_loss",
  "max(0, d(anchor, positive) - d(anchor, negative) + margin).", "torch.ones(1, 2), torch.ones(1, 2), torch.zeros(1, 2)",
  { check = positive_margin "TripletMarginLoss", arguments = "anchor positive negative" })
loss("TripletMarginWithDistanceLoss(*, distance_function: any = None, margin: float = 1.0, swap: bool = False, reduction: str = 'mean')", "triplet_margin_with_distance_loss",
  "TripletMarginLoss with a distance of one's own.", "torch.ones(1, 2), torch.ones(1, 2), torch.zeros(1, 2)", {
    check = positive_margin "TripletMarginWithDistanceLoss", arguments = "anchor positive negative",
    after = function(self)
      if self.distance_function == nil then self.distance_function = torch.nn.PairwiseDistance() end
    end,
    forward = function(self, anchor, positive, negative)
      local near, far = self.distance_function(anchor, positive), self.distance_function(anchor, negative)
      if self.swap then far = torch.minimum(far, self.distance_function(positive, negative)) end
      local out = (near - far + self.margin):clamp_min(0)
      if self.reduction == "mean" then return out:mean() elseif self.reduction == "sum" then return out:sum() end
      return out
    end,
  })
loss("CTCLoss(blank: int = 0, reduction: str = 'mean', zero_infinity: bool = False)", "ctc_loss",
  "The probability of a label sequence summed over its alignments with the input.",
  "torch.zeros(4, 1, 3), torch.tensor{{1, 2}}, torch.tensor{4}, torch.tensor{2}", {
    arguments = "log_probs targets input_lengths target_lengths",
    forward = function(self, log_probs, targets, input_lengths, target_lengths)
      return F.ctc_loss(log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction, self.zero_infinity)
    end,
  })

-- ---- a classifier's last layer and its loss ----
layer.define(M, "LinearCrossEntropyLoss(in_features: int, num_classes: int, *, out_features: list = (), bias: bool = False, device = None, dtype = None, reduction: str = 'mean', weight: any = None, ignore_index: int = None, label_smoothing: float = 0.0, options: any = None)", {
  doc = "A linear layer and CrossEntropyLoss of its scores in one.", see = "nn.CrossEntropyLoss nn.Linear",
  example = "nn.LinearCrossEntropyLoss(3, 5)(torch.ones(2, 3), torch.tensor{0, 4}).shape",
  init = function(self, a)
    if a.weight ~= nil and a.weight.shape ~= { a.num_classes } then
      error(("expected weight shape to be (%d,), got %s"):format(a.num_classes, tostring(a.weight.shape)), 3)
    end
    if a.label_smoothing < 0 or a.label_smoothing > 1 then
      error("expected label_smoothing to be in range [0, 1], got " .. a.label_smoothing, 3)
    end
    local rows = a.num_classes
    for _, n in ipairs(a.out_features) do rows = rows * n end
    self:register_buffer("weight", a.weight)
    for _, name in ipairs { "num_classes", "out_features", "reduction", "ignore_index", "label_smoothing" } do
      self[name] = a[name]
    end
    self.linear = torch.nn.Linear(a.in_features, rows, { bias = a.bias, device = a.device, dtype = a.dtype })
  end,
  arguments = "input target",
  forward = function(self, x, target)
    if x.ndim < 1 or x.ndim > 2 then error("expected input with dimensionality 1 or 2, got " .. x.ndim, 2) end
    local shape = x.ndim == 2 and { x:size(0), self.num_classes } or { self.num_classes }
    for _, n in ipairs(self.out_features) do shape[#shape + 1] = n end
    return F.cross_entropy(self.linear(x):reshape(shape), target, { weight = self.weight, reduction = self.reduction,
      ignore_index = self.ignore_index or -100, label_smoothing = self.label_smoothing })
  end,
})

return M
