-- torch.optim: fills the table torch.optim when one of its names is first used; lr_scheduler and swa_utils wait until asked for.
local torch = require "torch"
local optim = torch.optim

setmetatable(optim, nil)
local Optimizer = require "torch.optim.optimizer"
optim.Optimizer = Optimizer
optim.optimizer = Optimizer._namespace
for name, class in pairs(require "torch.optim.classes") do optim[name] = class end
optim.LBFGS = require "torch.optim.lbfgs"

local later = { lr_scheduler = true, swa_utils = true }
setmetatable(optim, { __fields = later, __index = function(t, name)
  if not later[name] then return nil end
  local module = require("torch.optim." .. name)
  rawset(t, name, module)
  return module
end })
return optim
