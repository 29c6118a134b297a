-- Losses, norms, embeddings and distances: first and second derivatives against finite differences, running statistics,
-- the old reduction arguments, and what must be refused.
local t = require "check"
torch.manual_seed(3)
local D = { dtype = torch.float64, requires_grad = true }
local function randn(...) return torch.randn({ ... }, D) end
local function positive(...) return (torch.rand({ ... }, { dtype = torch.float64 }) * 0.8 + 0.1):requires_grad_() end

-- name -> { function of the inputs, inputs }
local cases = {
  binary_cross_entropy = { function(x, y) return F.binary_cross_entropy(x, y) end, { positive(4, 3), positive(4, 3) } },
  binary_cross_entropy_with_logits = { function(x, y, w)
    return F.binary_cross_entropy_with_logits(x, y, { pos_weight = w }) end, { randn(4, 3), positive(4, 3), positive(3) } },
  bce_with_logits_plain = { function(x, y) return F.binary_cross_entropy_with_logits(x, y) end, { randn(4, 3), positive(4, 3) } },
  mse_loss = { function(x, y) return F.mse_loss(x, y, { reduction = "sum" }) end, { randn(4, 3), randn(4, 3) } },
  smooth_l1_loss = { function(x, y) return F.smooth_l1_loss(x, y, { beta = 0.3 }) end, { randn(7), randn(7) } },
  huber_loss = { function(x, y) return F.huber_loss(x, y, "mean", 0.7) end, { randn(7), randn(7) } },
  kl_div = { function(x, y) return F.kl_div(x, y, { reduction = "batchmean" }) end, { randn(4, 3), positive(4, 3) } },
  poisson_nll_loss = { function(x, y) return F.poisson_nll_loss(x, y, { full = true }) end, { randn(5), positive(5) } },
  gaussian_nll_loss = { function(x, y, v) return F.gaussian_nll_loss(x, y, v) end, { randn(5), randn(5), positive(5) } },
  cosine_embedding_loss = { function(a, b)
    return F.cosine_embedding_loss(a, b, torch.tensor({ 1, -1, 1 }), 0.1) end, { randn(3, 4), randn(3, 4) } },
  triplet_margin_loss = { function(a, p, n) return F.triplet_margin_loss(a, p, n, { swap = true }) end,
    { randn(3, 4), randn(3, 4), randn(3, 4) } },
  multi_margin_loss = { function(x) return F.multi_margin_loss(x, torch.tensor({ 0, 2, 1 }), 2) end, { randn(3, 4) } },
  multilabel_margin_loss = { function(x)
    return F.multilabel_margin_loss(x, torch.tensor({ { 1, 0, -1, 2 } })) end, { randn(1, 4) } },
  multilabel_soft_margin_loss = { function(x, y) return F.multilabel_soft_margin_loss(x, y) end, { randn(3, 4), positive(3, 4) } },
  cross_entropy = { function(x) return F.cross_entropy(x, torch.tensor({ 0, 2, 1 }), { label_smoothing = 0.2 }) end, { randn(3, 4) } },
  soft_cross_entropy = { function(x, y) return F.cross_entropy(x, y) end, { randn(3, 4), positive(3, 4) } },
  soft_margin_loss = { function(x) return F.soft_margin_loss(x, torch.tensor({ 1., -1, 1, 1, -1 }, { dtype = torch.float64 })) end, { randn(5) } },
  layer_norm = { function(x, w, b) return F.layer_norm(x, { 4 }, w, b) end, { randn(3, 4), randn(4), randn(4) } },
  rms_norm = { function(x, w) return F.rms_norm(x, { 4 }, w) end, { randn(3, 4), randn(4) } },
  group_norm = { function(x, w, b) return F.group_norm(x, 2, w, b) end, { randn(2, 4, 3), randn(4), randn(4) } },
  batch_norm = { function(x, w, b) return F.batch_norm(x, nil, nil, w, b, true) end, { randn(3, 2, 4), randn(2), randn(2) } },
  batch_norm_rows = { function(x, w) return F.batch_norm(x, nil, nil, w, nil, true) end, { randn(5, 3), randn(3) } },
  batch_norm_eval = { function(x, w, b) return F.batch_norm(x, torch.tensor({ 0.5, 1 }), torch.tensor({ 2., 0.3 }), w, b) end,
    { randn(3, 2, 4), randn(2), randn(2) } },
  instance_norm = { function(x, w, b) return F.instance_norm(x, nil, nil, w, b) end, { randn(2, 2, 4), randn(2), randn(2) } },
  local_response_norm = { function(x) return F.local_response_norm(x, 3, 0.5) end, { randn(2, 4, 2) } },
  cdist_2 = { function(a, b) return torch.cdist(a, b) end, { randn(2, 3, 4), randn(2, 2, 4) } },
  cdist_3 = { function(a, b) return torch.cdist(a, b, 3) end, { randn(3, 4), randn(2, 4) } },
  cdist_1_5 = { function(a, b) return torch.cdist(a, b, 1.5) end, { randn(3, 4), randn(2, 4) } },
  pdist = { function(a) return F.pdist(a) end, { randn(4, 3) } },
  embedding_bag = { function(w, p)
    return F.embedding_bag(torch.tensor({ 0, 2, 2, 1, 3 }), w, torch.tensor({ 0, 2, 2 }), { mode = "sum", per_sample_weights = p, padding_idx = 3 })
  end, { randn(4, 3), randn(5) } },
  embedding = { function(w, k) return F.embedding(torch.tensor({ { 0, 1 }, { 1, 1 } }), w, 2) * k end, { randn(3, 2), randn(2) } },
  embedding_bag_mean = { function(w) return F.embedding_bag(torch.tensor({ { 0, 1 }, { 2, 2 } }), w) end, { randn(4, 3) } },
  embedding_bag_max = { function(w) return F.embedding_bag(torch.tensor({ { 0, 1 }, { 2, 3 } }), w, { mode = "max" }) end, { randn(4, 3) } },
}
local names = {}
for name in pairs(cases) do names[#names + 1] = name end
table.sort(names)
for _, name in ipairs(names) do
  local f, inputs = cases[name][1], cases[name][2]
  t.test(name .. ": first derivative", function() assert(torch.autograd.gradcheck(f, inputs)) end)
  t.test(name .. ": second derivative", function() assert(torch.autograd.gradgradcheck(f, inputs)) end)
end

t.test("batch_norm moves the running statistics in place", function()
  local m, v = torch.zeros(1), torch.ones(1)
  F.batch_norm(torch.tensor({ { 1. }, { 3. } }), m, v, nil, nil, true, 0.5)
  t.eq(m:item(), 1.0)
  t.eq(v:item(), 1.5)
  local before = v:item()
  F.batch_norm(torch.tensor({ { 1. }, { 3. } }), m, v)
  t.eq(v:item(), before)
end)
t.test("ctc_loss: padded and concatenated targets, infinite losses", function()
  local x = torch.arange(24, { dtype = torch.float64 }):reshape(4, 2, 3):sin():log_softmax(2):requires_grad_()
  local flat, rows = torch.tensor({ 1, 2, 1 }), torch.tensor({ { 1, 2 }, { 1, 0 } })
  local a = F.ctc_loss(x, flat, { 4, 4 }, { 2, 1 })
  t.eq(a:item(), F.ctc_loss(x, rows, torch.tensor({ 4, 4 }), torch.tensor({ 2, 1 })):item())
  local g = x:clone():requires_grad_()
  g = torch.autograd.grad(F.ctc_loss(g, flat, { 4, 3 }, { 2, 1 }), g)[1]
  t.eq(g:sum(2):abs():max():item() < 1e-12, true)         -- as of log_softmax's own input
  t.eq(g[{ 3, 1 }]:abs():max():item(), 0.0)               -- past a sample's end
  local none = torch.tensor({ 1, 1, 1 })
  t.eq(F.ctc_loss(x, none, { 4, 4 }, { 0, 3 }, { reduction = "none" })[1]:item(), math.huge)
  t.eq(F.ctc_loss(x, none, { 4, 4 }, { 0, 3 }, { reduction = "none", zero_infinity = true })[1]:item(), 0.0)
  t.error_matches(function() F.ctc_loss(x, flat, { 5, 4 }, { 2, 1 }) end, "input_lengths")
  t.error_matches(function() F.ctc_loss(x, flat, { 4, 4 }, { 2, 2 }) end, "target_lengths")
end)
t.test("old reduction arguments", function()
  local x, y = torch.zeros(4), torch.ones(4)
  t.eq(F.mse_loss(x, y, false):item(), 4.0)
  t.eq(F.l1_loss(x, y, { reduce = false }).shape == { 4 }, true)
  t.eq(F.smooth_l1_loss(x, y, { size_average = true }):item(), 0.5)
end)
t.test("refused", function()
  t.error_matches(function() F.mse_loss(torch.ones(2), torch.ones(2), { reduction = "avg" }) end, "avg is not a valid value")
  t.error_matches(function() F.binary_cross_entropy(torch.ones(2) * 2, torch.ones(2)) end, "between 0 and 1")
  t.error_matches(function() F.nll_loss(torch.zeros(1, 3), torch.tensor({ 3 })) end, "out of bounds")
  t.error_matches(function() F.batch_norm(torch.ones(1, 2), nil, nil, nil, nil, true) end, "more than 1 value per channel")
  t.error_matches(function() F.batch_norm(torch.ones(2, 2)) end, "running_mean")
  t.error_matches(function() F.embedding_bag(torch.tensor({ 1 }), torch.eye(2)) end, "offsets")
  t.error_matches(function() F.embedding_bag(torch.tensor({ 5 }), torch.eye(2), torch.tensor({ 0 })) end, "out of range")
  t.error_matches(function() F.huber_loss(torch.ones(1), torch.ones(1), "mean", -1) end, "delta")
end)
t.done()
