-- cases.lua: what the generic gradient test must know of single ops.
--
-- rules[golden name or row id]: input(args) shapes the arguments inside the function (a symmetric matrix stays one under
-- nudges), output(...) chooses what is compared, first_order says why second derivatives are not checked, skip why nothing is.
-- rows[row id]: a function that returns the arguments (or a function and its arguments) for a row that no recorded sample
-- reaches, or the reason why it is left out.
local torch = require "torch"

local rules, rows = {}, {}

local function hermitian(args)
  local a = { table.unpack(args) }
  a[1] = a[1] + a[1].mH
  return a
end

for _, name in ipairs { "linalg.eigh", "linalg.eigvalsh", "linalg.cholesky", "linalg.cholesky_ex", "cholesky" } do
  rules[name] = { input = hermitian }
end

local low = "the result has fewer digits than finite differences need"
for _, name in ipairs { "bfloat16", "half", "float", "cfloat", "chalf" } do rules[name] = { skip = low } end


-- ---- rules for recorded samples and rows ----

local function outputs(f) return function(...) return f(...) end end
for _, name in ipairs { "cholesky", "linalg_eigvalsh", "linalg.pinv.hermitian" } do rules[name] = { input = hermitian } end
local phase = "eigenvectors have a free phase: their absolute values are compared"
rules.linalg_eig = { output = outputs(function(L, V) return L, V:abs() end), why = phase }
rules["linalg.eig"] = rules.linalg_eig
rules["linalg.svd"] = { output = outputs(function(U, S, Vh)       -- columns beyond the singular values are any basis
  local k = S:size(-1)
  return U:narrow(-1, 0, k):abs(), S, Vh:narrow(-2, 0, k):abs()
end), why = phase }
rules.svd = rules["linalg.svd"]
rules["linalg.eigh"] = { input = hermitian, output = outputs(function(L, V) return L, V:abs() end), why = phase }
-- Its gradient, as PyTorch's, is that of normalised log-probabilities.
rules["nn.functional.ctc_loss"] = { first_order = "ctc_loss has no second derivative, as in PyTorch; asking raises", input = function(args)
  local a = { table.unpack(args) }
  a[1] = a[1]:log_softmax(-1)
  return a
end }
for _, n in ipairs { "1d", "2d", "3d" } do
  rules["nn.functional.max_unpool" .. n] = { skip = "samples whose indices meet are not a function; the .grad samples are checked" }
end
-- PyTorch's gradient holds for log-probabilities that sum to one: log_softmax keeps them so
rules["nn.functional.ctc_loss"] = { input = function(args)
  local a = { table.unpack(args) }
  a[1] = a[1]:log_softmax(-1)
  return a
end, first_order = "ctc_loss has no second derivative, as in PyTorch; asking raises" }
rules["nn.functional.grid_sample"] = { first_order = "grid_sample has no second derivative, as in PyTorch; asking raises" }
rules["linalg.norm.subgradients_at_zero"] = { first_order = "a norm has no second derivative at zero" }
for _, name in ipairs { "as_strided", "as_strided.partial_views" } do
  rules[name] = { compact = "windows beyond the tensor's own elements are not a function of them" }
end

rules.__rpow__ = { skip = "a number to a negative base has no real value: the samples are nan; pow is checked" }
rules.float_power = { atol2 = 1e-2, rtol2 = 1e-2 }      -- values of a million leave differences few digits
rules.as_strided_scatter = { skip = "PyTorch's gradient of self, which is kept, is the window's and not the rest's" }

-- ---- arguments of rows without a recorded sample ----

local f64, i64 = { dtype = torch.float64 }, { dtype = torch.int64 }
local function var(...) return (torch.rand({ ... }, f64) * 0.6 + 0.2):requires_grad_() end
local function complex_var(...)
  return torch.complex(torch.rand({ ... }, f64) + 0.1, torch.rand({ ... }, f64) + 0.1):requires_grad_()
end

function rows.index_copy() return var(3, 2), 0, torch.tensor({ 2, 0 }, i64), var(2, 2) end
function rows.index_fill() return var(3, 2), 0, torch.tensor({ 2, 0 }, i64), 0.5 end
function rows.index_fill_Tensor() return var(3, 2), 0, torch.tensor({ 2, 0 }, i64), var() end
function rows.index_reduce() return var(3, 2), 0, torch.tensor({ 2, 0 }, i64), var(2, 2), "prod" end
function rows.select_scatter() return var(3, 2), var(3), 1, 0 end
function rows.mv() return var(2, 3), var(3) end
function rows.imag() return complex_var(2) end
function rows.igamma() return function(x) return torch.igamma(torch.tensor({ 0.7, 1.3 }, f64), x) end, var(2) end
function rows.igammac() return function(x) return torch.igammac(torch.tensor({ 0.7, 1.3 }, f64), x) end, var(2) end
function rows.heaviside() return function(x) return x * torch.heaviside(x:detach(), torch.ones(2, f64)) end, var(2) end
rows.heaviside = "PyTorch has no derivative either; asking for one raises"
rows.nextafter = "the result moves by one unit in the last place, which finite differences do not see"
function rows.special_zeta() return function(x) return torch.special.zeta(2.5, x) end, var(2) end
function rows.gelu_tanh_grad() return var(3, 4), var(3, 4) end
function rows.lu_unpack()
  return function(a)
    local LU, pivots = torch.linalg.lu_factor(a)
    local _, l, u = torch.lu_unpack(LU, pivots)
    return l, u
  end, var(3, 3)
end
function rows.linalg_lstsq()
  return function(a, b)
    local x, residuals = torch.linalg.lstsq(a, b, { driver = "gelsd" })
    return x, residuals
  end, var(4, 2), var(4, 2)
end
function rows.istft()
  return function(x)
    return torch.istft(x, 4, { window = torch.hann_window(4, f64) + 0.1 })
  end, complex_var(3, 5)
end
for n, shape in pairs { ["2d"] = { 1, 1, 5, 5 }, ["3d"] = { 1, 1, 4, 4, 4 } } do
  local function pool(x) return torch.nn.functional["fractional_max_pool" .. n](x, 2, { output_size = 2 }) end
  rows["F_fractional_max_pool" .. n] = function() return pool, var(table.unpack(shape)) end
  rows["F_fractional_max_pool" .. n .. "_with_indices"] = rows["F_fractional_max_pool" .. n]
end
function rows.F_interpolate()
  return function(x) return torch.nn.functional.interpolate(x, { scale_factor = 2.0, mode = "bicubic" }) end, var(1, 1, 3, 3)
end
function rows.F_upsample() return var(1, 1, 3, 3), { 5, 4 }, torch.None, "bilinear" end
function rows.F_upsample_nearest() return var(1, 1, 3, 3), { 5, 4 } end
function rows.F_upsample_bilinear() return var(1, 1, 3, 3), { 5, 4 } end

for _, n in ipairs { "relu", "hardtanh", "leaky_relu", "elu", "celu", "selu", "threshold", "rrelu" } do
  local more = n == "threshold" and { 0.5, 0.1 } or {}
  rows["F_" .. n .. "_"] = function()          -- what is written must not be a leaf
    return function(x) return torch.nn.functional[n .. "_"](x:clone(), table.unpack(more)) end, var(4)
  end
end
function rows.F_fold() return var(1, 8, 4), { 3, 3 }, { 2, 2 } end
function rows.F_affine_grid() return function(t) return torch.nn.functional.affine_grid(t, { 1, 1, 2, 3 }, { align_corners = false }) end, var(1, 2, 3) end
function rows.F_multi_head_attention_forward()
  local F = torch.nn.functional
  return function(q, w, b, o, ob)
    return (F.multi_head_attention_forward(q, q, q, 4, 2, w, b, torch.None, torch.None, false, 0.0, o, ob))
  end, var(3, 1, 4), var(12, 4), var(12), var(4, 4), var(4)
end

function rows._neg_view() return torch._ops._neg_view, var(2) end
function rows.alias() return torch._ops.alias, var(2) end
function rows._embedding_bag_max()
  return function(w) return torch.nn.functional.embedding_bag(torch.tensor({ { 0, 1 }, { 2, 1 } }, i64), w, { mode = "max" }) end, var(3, 2)
end

function rows.F_conv_tbc() return var(3, 2, 2), var(2, 2, 3), var(3) end

function rows.F_threshold_()
  return function(x)
    local y = x:clone()
    torch.nn.functional.threshold_(y, 0.5, 0.3)
    return y
  end, var(2, 3)
end

-- recurrent layers: input of 2 steps, batch 2, 3 features, 2 hidden
local function weights(gates, hidden)
  return { var(gates * hidden, 3), var(gates * hidden, hidden), var(gates * hidden), var(gates * hidden) }
end
local function rnn(name, gates, two)
  rows[name] = function()
    local hx = two and { var(1, 2, 2), var(1, 2, 2) } or var(1, 2, 2)
    return var(2, 2, 3), hx, weights(gates, 2), true, 1, 0.0, false, false, false
  end
  rows[name .. "_data"] = function()
    local hx = two and { var(1, 2, 2), var(1, 2, 2) } or var(1, 2, 2)
    return function(data, h, w) return torch[name](data, torch.tensor({ 2, 1 }, i64), h, w, true, 1, 0.0, false, false) end,
      var(3, 3), hx, weights(gates, 2)
  end
  rows[name .. "_cell"] = function()
    return var(2, 3), two and { var(2, 2), var(2, 2) } or var(2, 2), table.unpack(weights(gates, 2))
  end
end
rnn("lstm", 4, true)
rnn("gru", 3)
rnn("rnn_tanh", 1)
rnn("rnn_relu", 1)

function rows._pick() return var(2, 3), 1, torch.tensor({ 2, 0 }, i64), false end
rows.as_strided_scatter = rules.as_strided_scatter.skip
for _, n in ipairs { "1d", "2d", "3d" } do
  rows["F_max_unpool" .. n] = function()
    local F = torch.nn.functional
    local x = var(1, 1, table.unpack(n == "1d" and { 6 } or n == "2d" and { 4, 4 } or { 2, 4, 4 }))
    local _, at = F["max_pool" .. n](x:detach(), 2, { return_indices = true })
    return function(v) return F["max_unpool" .. n](v, at, 2) end, torch.rand(at.shape, f64):requires_grad_()
  end
end
local single = "computes in float32 only; the public op does float64 through ops that are checked, its own gradient stands in golden cases"
rows._rnn_layer, rows._sdpa = single, single

-- ---- second forms, copies, segments, reflectors (ops_torch.def, ops_copies.def, ops_data.def, ops_factor.def) ----

local function with(name, ...)
  local args = table.pack(...)
  return function(...)
    local n, all = select("#", ...), { ... }
    for i = 1, args.n do all[n + i] = args[i] end
    return torch[name](table.unpack(all, 1, n + args.n))
  end
end
for name, args in pairs { as_strided_copy = { { 2 }, { 2 } }, diagonal_copy = {}, expand_copy = { { 2, 2, 3 } }, permute_copy = { { 1, 0 } },
  select_copy = { 0, 1 }, slice_copy = { 1, 0, 2 }, squeeze_copy_dim = { 0 }, transpose_copy = { 0, 1 }, unfold_copy = { 1, 2, 1 },
  unsqueeze_copy = { 0 }, view_copy = { { 3, 2 } }, narrow_copy = { 1, 1, 2 }, split_copy = { 2, 1 }, split_with_sizes_copy = { { 1, 2 }, 1 },
  unbind_copy = {}, unsafe_chunk = { 2, 1 }, unsafe_split = { 2, 1 }, unsafe_split_with_sizes = { { 1, 2 }, 1 } } do
  rows[name] = function() return with((name:gsub("_dim$", "")), table.unpack(args)), var(2, 3) end
end
rows.view_copy_dtype = "bytes read as another dtype have no derivative"
function rows.view_as_complex_copy() return with("view_as_complex_copy"), var(2, 2) end
function rows.view_as_real_copy() return with("view_as_real_copy"), complex_var(2) end
function rows.resize() return function(x) return x:resize({ 3, 2 }) end, var(2, 3) end
function rows.resize_as() return function(x) return x:resize_as(torch.ones(3, 2)) end, var(2, 3) end
function rows.fill_diagonal_() return function(x) return x:clone():fill_diagonal_(0.5) end, var(3, 3) end
function rows.polygamma_self() return function(x) return x:polygamma(1) end, var(3) end

function rows.kl_div() return var(2, 3), var(2, 3), 1 end
function rows.binary_cross_entropy_with_logits() return var(2, 3), var(2, 3), torch.None, torch.None, 2 end
function rows.margin_ranking_loss() return with("margin_ranking_loss", torch.ones(3, f64), 2.0, 2), var(3), var(3) end
function rows.hinge_embedding_loss() return with("hinge_embedding_loss", torch.tensor({ 1., -1., 1. }, f64), 2.0), var(3) end
function rows.cosine_embedding_loss() return with("cosine_embedding_loss", torch.tensor({ 1., -1. }, f64), -2.0, 0), var(2, 3), var(2, 3) end
function rows.triplet_margin_loss() return with("triplet_margin_loss", 5.0), var(2, 3), var(2, 3), var(2, 3) end
function rows.poisson_nll_loss() return with("poisson_nll_loss", true, false, 1e-8, 2), var(3), var(3) end
local function ctc(lengths)
  return function(x) return torch.ctc_loss(x:log_softmax(-1), torch.tensor({ { 1 } }, i64), lengths({ 3 }), lengths({ 1 })) end, var(3, 1, 3)
end
function rows.ctc_loss() return ctc(function(l) return l end) end
function rows.ctc_loss_Tensor() return ctc(function(l) return torch.tensor(l, i64) end) end
for _, name in ipairs { "ctc_loss", "ctc_loss_Tensor" } do rules[name] = { first_order = "ctc_loss has no second derivative, as in PyTorch; asking raises" } end
function rows.batch_norm() return with("batch_norm", torch.None, torch.None, true, 0.1, 1e-5, false), var(4, 2), var(2), var(2) end
function rows.instance_norm() return with("instance_norm", torch.None, torch.None, true, 0.1, 1e-5, false), var(2, 2, 4), var(2), var(2) end
local function first(f) return function(...) return (f(...)) end end
function rows.native_batch_norm() return first(with("native_batch_norm", torch.None, torch.None, true, 0.1, 1e-5)), var(4, 2), var(2), var(2) end
function rows.native_layer_norm()
  return function(x, w, b) return (torch.native_layer_norm(x, { 3 }, w, b, 1e-5)) end, var(2, 3), var(3), var(3)
end
function rows.native_group_norm()
  return function(x, w, b) return (torch.native_group_norm(x, w, b, 2, 4, 3, 2, 1e-5)) end, var(2, 4, 3), var(4), var(4)
end
function rows.native_dropout() return first(with("native_dropout", 0.4, true)), var(2, 3) end
for _, name in ipairs { "feature_dropout", "alpha_dropout", "feature_alpha_dropout" } do
  rows[name] = function() return with(name, 0.4, true), var(3, 4) end
end
function rows.embedding() return with("embedding", torch.tensor({ 0, 2, 0 }, i64)), var(3, 2) end
function rows.embedding_bag()
  return first(with("embedding_bag", torch.tensor({ 0, 2, 1 }, i64), torch.tensor({ 0, 2 }, i64), false, 1)), var(3, 2)
end
function rows.affine_grid_generator() return with("affine_grid_generator", { 1, 1, 2, 3 }, false), var(1, 2, 3) end
for _, name in ipairs { "grid_sampler", "grid_sampler_2d", "grid_sampler_3d" } do
  rules[name] = { first_order = "grid_sample has no second derivative, as in PyTorch; asking raises" }
  rows[name] = function()
    if name:find("3d") then return with(name, 0, 0, false), var(1, 1, 3, 3, 3), var(1, 1, 1, 2, 3) end
    return with(name, 0, 0, false), var(1, 1, 4, 4), var(1, 2, 2, 2)
  end
end
function rows.convolution() return with("convolution", { 1 }, { 0 }, { 1 }, true, { 0 }, 1), var(1, 2, 3), var(2, 2, 2), var(2) end
function rows.frobenius_norm() return with("frobenius_norm", { 1 }), var(2, 3) end
function rows.nuclear_norm() return with("nuclear_norm"), var(3, 2) end
function rows.nuclear_norm_dim() return with("nuclear_norm", { 0, 1 }), var(3, 2) end
function rows.norm_except_dim() return with("norm_except_dim", 2, 1), var(2, 3) end

function rows.segment_reduce()
  return function(x)
    local lengths = { lengths = torch.tensor({ 2, 1, 1 }, i64) }
    return torch.segment_reduce(x, "prod", lengths), torch.segment_reduce(x, "max", lengths), torch.segment_reduce(x, "mean", lengths)
  end, var(4, 2)
end
function rows.vander() return with("vander", 3), var(3) end
function rows.corrcoef() return with("corrcoef"), var(3, 4) end
local steps = "a result that moves in steps: its gradient is not the slope of differences; tests/lua/names_ops_test.lua compares it with PyTorch's"
for _, name in ipairs { "_fake_quantize", "fake_quantize_per_tensor_affine", "fake_quantize_per_tensor_affine_tensor_qparams", "fake_quantize_per_channel_affine" } do
  rows[name] = steps
end
local none = "PyTorch has no derivative either; asking for one raises"
for _, name in ipairs { "geqrf", "linalg_ldl_factor", "linalg_ldl_factor_ex", "linalg_ldl_solve", "_ldl_solve" } do rows[name] = none end
function rows.F_grouped_mm()
  return function(a, b) return torch.nn.functional.grouped_mm(a, b, { offs = torch.tensor({ 1, 3 }, { dtype = torch.int32 }) }) end, var(3, 2), var(2, 2, 3)
end
function rows.linalg_householder_product() return torch.linalg.householder_product, var(4, 3), var(2) end
function rows.orgqr() return torch.orgqr, var(4, 3), var(2) end
function rows.ormqr() return with("ormqr", false, true), var(3, 2), var(2), var(2, 3) end
function rows.lu()
  return function(a) return (torch.lu(a)) end, var(3, 3)
end
function rows.lu_solve()
  return function(b, a)
    local LU, pivots = torch.lu(a)
    return torch.lu_solve(b, LU, pivots)
  end, var(3, 2), var(3, 3)
end

-- arguments that their name tells: indices, masks
local function index(shape)
  if #shape == 1 then return torch.tensor { 2, 0, 3 } end
  return torch.zeros(shape, { dtype = torch.int64 })
end
local named = { index = index, indices = index,
  mask = function(shape) return torch.rand(shape) > 0.4 end,
  mode = function() return "reduced" end, reduction = function() return "mean" end, reduce = function() return "amax" end }

return { rules = rules, rows = rows, named = named }
