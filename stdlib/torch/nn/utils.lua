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
return setmetatable(utils, {
  __index = function(t, name)
    local value
    if parts[name] then value = require("torch.nn.utils." .. parts[name])
    elseif home_of[name] then value = require("torch.nn.utils." .. home_of[name])[name] end
    rawset(t, name, value)
    return value
  end,
  __dir = dir, __names = dir,
})
