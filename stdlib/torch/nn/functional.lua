-- torch.nn.functional's functions that take functions; the others are ops (tensor/ops_*.def).
local torch = require "torch"
local kwargs = require "torch.kwargs"
local F = torch.nn.functional

local options = { "anchor", "positive", "negative", distance_function = torch.None, margin = 1.0, swap = false, reduction = "mean" }
local reduce = {
  mean = function(x) return x:mean() end,
  sum = function(x) return x:sum() end,
  none = function(x) return x end,
}

--- triplet_margin_with_distance_loss(anchor, positive, negative, {distance_function, margin = 1, swap = false, reduction = "mean"}):
--- max(0, d(anchor, positive) - d(anchor, negative) + margin) for a distance function d (the Euclidean one by default).
local function triplet_margin_with_distance_loss(...)
  local a = kwargs("triplet_margin_with_distance_loss", options, 2, ...)
  local margin, fold, d = a.margin, reduce[a.reduction], a.distance_function
  for i = 1, 3 do
    if not torch.is_tensor(a[options[i]]) then error(("triplet_margin_with_distance_loss: %s must be a tensor"):format(options[i]), 2) end
  end
  if not fold then error(("%s is not a valid value for reduction"):format(a.reduction), 2) end
  if margin <= 0 then error(("margin must be greater than 0, got %s"):format(margin), 2) end
  if d == torch.None then d = F.pairwise_distance end
  if a.anchor.ndim ~= a.positive.ndim or a.anchor.ndim ~= a.negative.ndim then
    error(("the anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: anchor %dD, positive %dD, and negative %dD inputs")
      :format(a.anchor.ndim, a.positive.ndim, a.negative.ndim), 2)
  end
  local near, far = d(a.anchor, a.positive), d(a.anchor, a.negative)
  if a.swap then far = torch.minimum(far, d(a.positive, a.negative)) end
  return fold(torch.clamp_min(near + margin - far, 0))
end

local linear_options = { "input", "linear_weight", "target", linear_bias = torch.None, weight = torch.None,
  reduction = "mean", ignore_index = torch.None, label_smoothing = 0.0, options = torch.None }

--- linear_cross_entropy(input, linear_weight, target, {linear_bias, weight, reduction = "mean", ignore_index,
--- label_smoothing = 0, options}): cross_entropy of linear(input, linear_weight, linear_bias); a weight of shape
--- (C, d1 .., in) makes scores of shape (N, C, d1 ..).
local function linear_cross_entropy(...)
  local a = kwargs("linear_cross_entropy", linear_options, 2, ...)
  for i = 1, 3 do
    local name = linear_options[i]
    if not torch.is_tensor(a[name]) then error(("linear_cross_entropy: %s must be a tensor"):format(name), 2) end
  end
  local function given(v) if v ~= torch.None then return v end end
  local x, w, bias = a.input, a.linear_weight, given(a.linear_bias)
  local shape = { table.unpack(w.shape:totable(), 1, w.ndim - 1) }
  if x.ndim == 2 then table.insert(shape, 1, x:size(0)) end
  local scores = F.linear(x, w:reshape(-1, w:size(-1)), bias and bias:reshape(-1)):reshape(shape)
  return F.cross_entropy(scores, a.target, { weight = given(a.weight), reduction = a.reduction,
    ignore_index = given(a.ignore_index) or -100, label_smoothing = a.label_smoothing })
end

return { triplet_margin_with_distance_loss = triplet_margin_with_distance_loss,
  linear_cross_entropy = linear_cross_entropy }
