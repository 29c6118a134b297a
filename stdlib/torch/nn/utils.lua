-- torch.nn.utils: gradients' norms, parameters as one vector, fusion, reparametrisations; parts load when first used.
local utils = {}
local parts = {
  rnn = "rnn", parametrize = "parametrize", parametrizations = "parametrizations", prune = "prune", stateless = "stateless",
}
local homes = {
  grad = "clip_grad_norm_ clip_grad_value_ get_total_norm clip_grads_with_norm_ clip_grad_norm",
  convert = "parameters_to_vector vector_to_parameters fuse_conv_bn_eval fuse_conv_bn_weights fuse_linear_bn_eval fuse_linear_bn_weights skip_init",
  oldnorm = "weight_norm remove_weight_norm spectral_norm remove_spectral_norm",
}
local home_of = {}
for file, names in pairs(homes) do for name in names:gmatch("%S+") do home_of[name] = file end end

local function dir()
  local list = {}
  for name in pairs(home_of) do list[#list + 1] = name end
  for name in pairs(parts) do list[#list + 1] = name end
  return list
end
local meta = {
  __index = function(t, name)
    local value
    if parts[name] then value = require("torch.nn.utils." .. parts[name])
    elseif home_of[name] then value = require("torch.nn.utils." .. home_of[name])[name] end
    rawset(t, name, value)
    return value
  end,
  __dir = dir, __names = dir,
}

-- ---- help ----
utils.__docs = {
  clip_grad_norm_ = { signature = "nn.utils.clip_grad_norm_(parameters, max_norm, norm_type = 2.0, error_if_nonfinite = false) -> Tensor",
    doc = "Scales all gradients together so that their norm is at most max_norm; gives back the norm before.",
    example = [=[local p = nn.Parameter(torch.zeros(2))
p.grad = torch.tensor({3., 4.})
return nn.utils.clip_grad_norm_({p}, 1.0) --> tensor(5.)]=], see = "nn.utils.get_total_norm nn.utils.clip_grad_value_" },
  clip_grads_with_norm_ = { signature = "nn.utils.clip_grads_with_norm_(parameters, max_norm, total_norm)",
    doc = "Scales all gradients by max_norm / total_norm where that is below 1.",
    example = [=[local p = nn.Parameter(torch.zeros(1))
p.grad = torch.ones(1)
nn.utils.clip_grads_with_norm_({p}, 1.0, torch.tensor(4.0))
return p.grad --> tensor([0.2500])]=], see = "nn.utils.clip_grad_norm_" },
  clip_grad_value_ = { signature = "nn.utils.clip_grad_value_(parameters, clip_value)",
    doc = "Clamps every gradient to [-clip_value, clip_value].",
    example = [=[local p = nn.Parameter(torch.zeros(1))
p.grad = torch.ones(1)
nn.utils.clip_grad_value_({p}, 0.5)
return p.grad --> tensor([0.5000])]=], see = "nn.utils.clip_grad_norm_" },
  get_total_norm = { signature = "nn.utils.get_total_norm(tensors, norm_type = 2.0, error_if_nonfinite = false) -> Tensor",
    doc = "The norm of all tensors taken together.",
    example = [=[nn.utils.get_total_norm({torch.tensor({3.}), torch.tensor({4.})}) --> tensor(5.)]=], see = "nn.utils.clip_grad_norm_" },
  parameters_to_vector = { signature = "nn.utils.parameters_to_vector(parameters) -> Tensor",
    doc = "All parameters in one vector.",
    example = [=[nn.utils.parameters_to_vector(nn.Linear(2, 3):parameters()).shape --> torch.Size([9])]=], see = "nn.utils.vector_to_parameters" },
  vector_to_parameters = { signature = "nn.utils.vector_to_parameters(vec, parameters)",
    doc = "Gives each parameter its part of vec.",
    example = [=[local m = nn.Linear(2, 2)
nn.utils.vector_to_parameters(torch.ones(6), m:parameters())
return m.bias:sum():item() --> 2.0]=], see = "nn.utils.parameters_to_vector" },
  fuse_conv_bn_eval = { signature = "nn.utils.fuse_conv_bn_eval(conv, bn, transpose = false) -> module",
    doc = "A convolution that does what conv and then bn do, in evaluation.",
    example = [=[nn.utils.fuse_conv_bn_eval(nn.Conv2d(1, 2, 3):eval(), nn.BatchNorm2d(2):eval()).bias.shape --> torch.Size([2])]=], see = "nn.utils.fuse_linear_bn_eval" },
  fuse_conv_bn_weights = { signature = "nn.utils.fuse_conv_bn_weights(conv_w, conv_b, mean, var, eps, bn_w, bn_b, transpose = false) -> weight, bias",
    doc = "The weight and bias of fuse_conv_bn_eval.",
    example = [=[(nn.utils.fuse_conv_bn_weights(torch.ones(1, 1, 1), nil, torch.zeros(1), torch.ones(1), 0.0)).shape --> torch.Size([1, 1, 1])]=], see = "nn.utils.fuse_conv_bn_eval" },
  fuse_linear_bn_eval = { signature = "nn.utils.fuse_linear_bn_eval(linear, bn) -> module",
    doc = "A linear layer that does what linear and then bn do, in evaluation.",
    example = [=[nn.utils.fuse_linear_bn_eval(nn.Linear(2, 3):eval(), nn.BatchNorm1d(3):eval()).bias.shape --> torch.Size([3])]=], see = "nn.utils.fuse_conv_bn_eval" },
  fuse_linear_bn_weights = { signature = "nn.utils.fuse_linear_bn_weights(weight, bias, mean, var, eps, bn_w, bn_b) -> weight, bias",
    doc = "The weight and bias of fuse_linear_bn_eval.",
    example = [=[(nn.utils.fuse_linear_bn_weights(torch.ones(1, 1), nil, torch.zeros(1), torch.ones(1), 0.0, torch.ones(1), torch.zeros(1))).shape --> torch.Size([1, 1])]=], see = "nn.utils.fuse_linear_bn_eval" },
  skip_init = { signature = "nn.utils.skip_init(class, ...) -> module",
    doc = "class(...) with parameters that hold nothing yet and no random numbers drawn.",
    example = [=[nn.utils.skip_init(nn.Linear, 2, 3).weight.shape --> torch.Size([3, 2])]=], see = "nn.init" },
  weight_norm = { signature = "nn.utils.weight_norm(module, name = 'weight', dim = 0) -> module",
    doc = "The weight as weight_g * weight_v / |weight_v|, computed before each call; see the newer nn.utils.parametrizations.weight_norm.",
    example = [=[nn.utils.weight_norm(nn.Linear(2, 3)).weight_g.shape --> torch.Size([3, 1])]=], see = "nn.utils.remove_weight_norm" },
  remove_weight_norm = { signature = "nn.utils.remove_weight_norm(module, name = 'weight') -> module",
    doc = "Makes the weight a parameter again.",
    example = [=[nn.utils.remove_weight_norm(nn.utils.weight_norm(nn.Linear(2, 3))).weight.shape --> torch.Size([3, 2])]=], see = "nn.utils.weight_norm" },
  spectral_norm = { signature = "nn.utils.spectral_norm(module, name = 'weight', n_power_iterations = 1, eps = 1e-12, dim = None) -> module",
    doc = "The weight divided by its largest singular value, estimated before each call; see the newer nn.utils.parametrizations.spectral_norm.",
    example = [=[nn.utils.spectral_norm(nn.Linear(2, 3)).weight_u.shape --> torch.Size([3])]=], see = "nn.utils.remove_spectral_norm" },
  remove_spectral_norm = { signature = "nn.utils.remove_spectral_norm(module, name = 'weight') -> module",
    doc = "Makes the weight a parameter again.",
    example = [=[nn.utils.remove_spectral_norm(nn.utils.spectral_norm(nn.Linear(2, 3))).weight.shape --> torch.Size([3, 2])]=], see = "nn.utils.spectral_norm" },
}

return setmetatable(utils, meta)
